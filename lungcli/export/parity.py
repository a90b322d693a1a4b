"""Whether an exported file gives the verdicts of the model file it was made of: both judge the same slices."""

import itertools
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from lungcli.core import paths
from lungcli.datasets.files import Advance
from lungcli.datasets.manifest import Manifest
from lungcli.datasets.phantom import dataset
from lungcli.export.formats import PROBABILITIES, SUFFIXES, Exported, Form, require_openvino
from lungcli.imaging import preprocessing
from lungcli.metrics.classification import Floats
from lungcli.modelfile import model_file
from lungcli.modelfile.model_file import INPUT, Model

Slices = NDArray[np.uint8]
Judge = Callable[[Slices], Floats]

PHANTOMS, SLICES = 40, 200


class Parity(msgspec.Struct, frozen=True, kw_only=True):
    """Agreement of an exported file with its model file on `n` prepared slices of `pixels`.

    `largest_change` is that of any probability, `same_verdicts` the share of slices with the same class; `tolerance`
    and `least_agreement` are what they were held against.
    """

    pixels: str
    n: int
    largest_change: float
    same_verdicts: float
    tolerance: float
    least_agreement: float

    @property
    def met(self) -> bool:
        """Whether both are within the limits."""
        return self.largest_change <= self.tolerance and self.same_verdicts >= self.least_agreement


def phantoms(size: int, count: int = PHANTOMS, advance: Advance | None = None) -> Slices:
    """Draw and prepare slices of as many made-up patients, at most 40, always the same: uint8 (count, size, size)."""
    patients = itertools.islice(dataset.patients(PHANTOMS * dataset.SLICES_A_PATIENT, seed=0), count)
    return _stacked((preprocessing.prepare(_grey(one), size) for one in patients), count, advance)


def slices_of(data: Manifest, folder: Path, size: int, advance: Advance | None = None) -> Slices:
    """Prepare 200 slices of a data set in `folder`, evenly spread, or all of fewer: uint8 (n, size, size).

    Raises UnreadableInputError for a slice that is gone or damaged.
    """
    places = np.unique(np.linspace(0, len(data.slices) - 1, SLICES).round().astype(int)).tolist()
    paths = [folder / data.slices[place].path for place in places]
    return _stacked((preprocessing.prepare_file(path, size) for path in paths), len(paths), advance)


def check(
    model: Model, made: Exported, slices: Slices, pixels: str, *, tolerance: float, least_agreement: float
) -> Parity:
    """Hold what was exported against `model` on prepared slices, n ≥ 1, one by one as `predict` judges them.

    `pixels` says whose slices they are. Raises what `judge_of` raises.
    """
    with paths.scratch("parity") as scratch:
        named = scratch / f"model{SUFFIXES[made.form]}"
        for suffix, content in made.files.items():
            named.with_suffix(suffix).write_bytes(content)
        return compare(model, judge_of(named, made.form), slices, pixels, tolerance, least_agreement)


def compare(
    model: Model, judge: Judge, slices: Slices, pixels: str, tolerance: float, least_agreement: float
) -> Parity:
    """Judge every slice twice and say how far the two are apart."""
    ours = np.concatenate([model.probabilities(each[None]) for each in slices])
    theirs = np.concatenate([judge(each[None]) for each in slices])
    return Parity(
        pixels=pixels,
        n=len(slices),
        largest_change=float(np.abs(ours - theirs).max()),
        same_verdicts=float((ours.argmax(axis=1) == theirs.argmax(axis=1)).mean()),
        tolerance=tolerance,
        least_agreement=least_agreement,
    )


def judge_of(path: Path, form: Form) -> Judge:
    """Start an exported file as the example that comes with it does: from prepared slices to probabilities (n, K).

    Raises LungcliError where its runtime is missing or refuses it.
    """
    if form == "openvino":
        compiled = require_openvino().Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        return lambda slices: np.asarray(compiled(slices[:, None])[PROBABILITIES], dtype=np.float64)
    session = model_file.start(path.read_bytes(), path, model_file.session_options(1))
    return lambda slices: np.asarray(session.run([PROBABILITIES], {INPUT: slices[:, None]})[0], dtype=np.float64)


def _grey(patient: dataset.Patient) -> NDArray[np.float32]:
    return dataset.render(patient, patient.positions()[0]).astype(np.float32) / np.float32(255)


def _stacked(made: Iterable[Slices], total: int, advance: Advance | None) -> Slices:
    done = []
    for each in made:
        done.append(each)
        if advance:
            advance(len(done), total)
    return np.stack(done)
