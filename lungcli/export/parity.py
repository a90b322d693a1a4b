"""Whether an exported file predicts as the model file that it was made of: both classify the same slices."""

import itertools
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from lungcli.core import names, paths, registry
from lungcli.core.recipe import Resize
from lungcli.datasets.files import Advance
from lungcli.datasets.manifest import Manifest
from lungcli.datasets.phantom import dataset
from lungcli.export.formats import PROBABILITIES, Exported, require_openvino
from lungcli.imaging import preprocessing
from lungcli.metrics.classification import Floats
from lungcli.modelfile import model_file, trial_run
from lungcli.modelfile.model_file import INPUT, Model

Slices = NDArray[np.uint8]
Predict = Callable[[Slices], Floats]

PHANTOMS, SLICES = 40, 200
# Of probabilities; more than float32 rounds.
_TIE = 1e-6


class Parity(msgspec.Struct, frozen=True, kw_only=True):
    """Agreement of an exported file with its model file on `n` prepared slices of `pixels`.

    `largest_change` is that of any probability, `agreement` the share of slices with the same class; `tolerance` and
    `least_agreement` are their limits. `pixels` says whose slices they are.
    """

    pixels: str
    n: int
    largest_change: float
    agreement: float = msgspec.field(name="same_verdicts")
    tolerance: float
    least_agreement: float

    @property
    def met(self) -> bool:
        """Whether both are within the limits."""
        return self.largest_change <= self.tolerance and self.agreement >= self.least_agreement


def phantoms(size: int, count: int = PHANTOMS, advance: Advance | None = None) -> Slices:
    """Draw and prepare a slice of each of `count` phantoms, at most 40, always the same: uint8 (count, size, size)."""
    patients = itertools.islice(dataset.patients(PHANTOMS * dataset.SLICES_A_PATIENT, seed=0), count)
    return _stack((preprocessing.prepare(_grey(patient), size) for patient in patients), count, advance)


def slices_of(
    data: Manifest, folder: Path, size: int, advance: Advance | None = None, resize: Resize = "lungs"
) -> Slices:
    """Prepare 200 slices of a data set in `folder`, evenly spread, or all of fewer: uint8 (n, size, size).

    Raises UnreadableInputError for a slice that is missing or damaged.
    """
    places = np.unique(np.linspace(0, len(data.slices) - 1, SLICES).round().astype(int)).tolist()
    paths = [folder / data.slices[place].path for place in places]
    return _stack((preprocessing.prepare_file(path, size, resize) for path in paths), len(paths), advance)


def check(
    model: Model, exported: Exported, slices: Slices, pixels: str, *, tolerance: float, least_agreement: float
) -> Parity:
    """Compare what was exported with `model` on prepared slices, n ≥ 1, one by one as `lungcli predict` does.

    `pixels` says whose slices they are. Raises LungcliError where the format's runtime is missing or refuses the file.
    """
    with paths.scratch("parity") as scratch:
        row = registry.EXPORT_FORMATS[exported.form]
        for suffix, content in exported.files.items():
            (scratch / f"model{suffix}").write_bytes(content)
        predict = names.imported(row.start)(scratch / f"model{row.suffixes[0]}")
        return compare(model, predict, slices, pixels, tolerance, least_agreement)


def compare(
    model: Model, predict: Predict, slices: Slices, pixels: str, tolerance: float, least_agreement: float
) -> Parity:
    """Classify every slice by `model` and by `predict`, and return how far they agree.

    Where classes are tied, they agree on either.
    """
    ours = np.concatenate([model.probabilities(slice_[None]) for slice_ in slices])
    theirs = np.concatenate([predict(slice_[None]) for slice_ in slices])
    return Parity(
        pixels=pixels,
        n=len(slices),
        largest_change=float(np.abs(ours - theirs).max()),
        agreement=float((ours[np.arange(len(ours)), theirs.argmax(axis=1)] >= ours.max(axis=1) - _TIE).mean()),
        tolerance=tolerance,
        least_agreement=least_agreement,
    )


def start_openvino(path: Path) -> Predict:
    """Start an IR; return the function from prepared slices (n, S, S) to its probabilities (n, K).

    Raises LungcliError where the extra is missing.
    """
    compiled = require_openvino().Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda slices: np.asarray(compiled(slices[:, None])[PROBABILITIES], dtype=np.float64)


def start_onnx(path: Path) -> Predict:
    """The same for what ONNX Runtime reads: .onnx and .ort files. Raises ModelFileError where it refuses the file."""
    session = model_file.start(path.read_bytes(), path, model_file.session_options(1))
    return lambda slices: np.asarray(
        trial_run.run(session, [PROBABILITIES], {INPUT: slices[:, None]})[0], dtype=np.float64
    )


def _grey(patient: dataset.Patient) -> NDArray[np.float32]:
    return dataset.render(patient, patient.positions()[0]).astype(np.float32) / np.float32(255)


def _stack(prepared: Iterable[Slices], total: int, advance: Advance | None) -> Slices:
    stacked = []
    for slice_ in prepared:
        stacked.append(slice_)
        if advance:
            advance(len(stacked), total)
    return np.stack(stacked)
