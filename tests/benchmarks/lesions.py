"""Does a model see lesions, or where a slice was taken? Slices of one patient, and slices with a lesion transplanted.

Run: python -m tests.benchmarks.lesions [MODEL] [--lesions DATA] [--part val|test] [--picture FILE]
AUC of malignant against the rest at each institution and within each patient that has both; and of slices that are not
malignant against the same with a lesion that no training uses, with the share of pairs in which that raises the
probability. The picture shows twenty such pairs, evenly drawn, each slice above the same slice with a lesion.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from lungcli.datasets import lesions
from lungcli.evaluation import evaluate
from lungcli.metrics import calibration, institutions
from lungcli.metrics.classification import Floats, Ints
from lungcli.metrics.predictions import MALIGNANT
from lungcli.modelfile import model_file, model_paths
from lungcli.modelfile.model_file import Model
from lungcli.pipeline import stages
from lungcli.pipeline.stages import RunData
from lungcli.training.transplant import transplant

SEED = 7
SPECIFICITY = 0.95
ACROSS, SHOWN, SIDE = 10, 20, 160
# Slices whose terms we have not read are not shown.
NOT_SHOWN = "CTset"


def main() -> None:
    """Print both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default=model_paths.BUNDLED)
    parser.add_argument("--lesions", default="lidc-nodules")
    parser.add_argument("--part", choices=("val", "test"), default="test")
    parser.add_argument("--picture", type=Path)
    asked = parser.parse_args()
    model = model_file.load(model_paths.resolve(asked.model))
    run_data = stages.load_run_data(model.card.recipe)
    rows = np.array(getattr(run_data.split, asked.part))
    if not len(rows):
        parser.error("a final fit has no test part: name the run that it is of, or --part val")
    print(f"{asked.part} part of {run_data.manifest.name}")
    malignant = np.array(run_data.manifest.labels())[rows] == model.card.classes.index(MALIGNANT)
    scores = probabilities(model, evaluate.predict_logits(model, run_data.pixels, rows))
    print_institutions(run_data, rows, malignant, scores)
    print_patients(run_data, rows, malignant, scores)
    print_pairs(model, run_data, rows[~malignant], scores[~malignant], asked.lesions)
    if asked.picture:
        where = run_data.manifest.institutions()
        draw_pairs(run_data, np.array([row for row in rows[~malignant] if NOT_SHOWN not in where[row]]), asked)


def print_institutions(run_data: RunData, rows: Ints, malignant: Ints, scores: Floats) -> None:
    """The AUC of all slices and of those of each institution that has both kinds, and a point of the ROC curve."""
    where = np.array(run_data.manifest.institutions())[rows]
    for name in ("", *np.unique(where)):
        of_it = where == name if name else np.ones(len(rows), dtype=np.bool_)
        if 0 < malignant[of_it].sum() < of_it.sum():
            auc = institutions.auc(scores[of_it], malignant[of_it])
            found = scores[of_it & malignant] >= np.quantile(scores[of_it & ~malignant], SPECIFICITY)
            print(f"{name or 'all'}: AUC {auc:.3f}, sensitivity {found.mean():.3f} at a specificity of {SPECIFICITY}")


def print_patients(run_data: RunData, rows: Ints, malignant: Ints, scores: Floats) -> None:
    """A line for each patient with slices of both kinds."""
    patients = np.array([run_data.manifest.slices[row].patient for row in rows])
    for patient in sorted(set(patients) - {""}):
        of_patient = patients == patient
        if 0 < malignant[of_patient].sum() < of_patient.sum():
            auc = institutions.auc(scores[of_patient], malignant[of_patient])
            where = run_data.manifest.institutions()[rows[of_patient][0]]
            print(f"a patient of {where}: {of_patient.sum()} slices, AUC {auc:.3f}")


def print_pairs(model: Model, run_data: RunData, rows: Ints, without: Floats, name: str) -> None:
    """Put a lesion that no training uses into each slice that shows a lung."""
    shown, pixels = with_lesions(run_data, rows, name)
    having = probabilities(model, evaluate.predict_logits(model, pixels, np.arange(len(pixels))))
    auc = institutions.auc(np.concatenate([having, without[shown]]), np.arange(2 * len(having)) < len(having))
    raised = float((having > without[shown]).mean())
    print(f"{len(having)} transplanted pairs: AUC {auc:.3f}, {raised:.0%} in the right order")
    print(f"of the slices with a lesion, {(having >= 0.5).mean():.0%} have a probability of at least one half")


def with_lesions(run_data: RunData, rows: Ints, name: str) -> tuple[NDArray[np.bool_], NDArray[np.uint8]]:
    """Which of the slices `rows` show a lung (n,), and these with a lesion (m, S, S)."""
    slices = torch.from_numpy(np.ascontiguousarray(run_data.pixels[rows])[:, np.newaxis])
    changed, masks = transplant(slices, lesions.load(name, "val"), torch.Generator().manual_seed(SEED))
    shown = masks.flatten(1).any(dim=1).numpy()
    return shown, changed[:, 0].numpy()[shown]


def draw_pairs(run_data: RunData, rows: Ints, asked: argparse.Namespace) -> None:
    """Draw evenly chosen pairs in rows, each slice above the same slice with a lesion."""
    shown, changed = with_lesions(run_data, rows, asked.lesions)
    chosen = np.linspace(0, len(changed) - 1, SHOWN).round().astype(np.int64)
    picture = Image.new("L", (ACROSS * SIDE, 2 * SHOWN // ACROSS * SIDE))
    for place, index in enumerate(chosen):
        left, top = place % ACROSS * SIDE, place // ACROSS * 2 * SIDE
        for pixels, below in ((run_data.pixels[rows[shown][index]], 0), (changed[index], SIDE)):
            picture.paste(Image.fromarray(np.asarray(pixels)).resize((SIDE, SIDE)), (left, top + below))
    picture.save(asked.picture, quality=85)


def probabilities(model: Model, logits: NDArray[np.floating]) -> Floats:
    """Calibrated probabilities of malignant (n,)."""
    values: Floats = calibration.softmax(logits, model.card.temperature)[:, model.card.classes.index(MALIGNANT)]
    return values


if __name__ == "__main__":
    main()
