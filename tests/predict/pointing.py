"""The pointing game (Zhang et al., 1608.00507) on phantoms, whose nodules lie where they were drawn."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lungcli.datasets.phantom import dataset
from lungcli.datasets.phantom.dataset import Patient
from lungcli.imaging import lung_segmentation
from lungcli.imaging.preprocessing import prepare_in
from lungcli.modelfile.model_file import Model
from lungcli.predict import explain
from lungcli.predict.predict import SliceImage
from tests.datasets.phantom.nodules import Spot, spot_of

SIDE = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A slice of `SIDE` pixels each way, its nodule, and the number of pixels of its lungs."""

    image: SliceImage
    spot: Spot
    lungs: int


def cases_of(patient: Patient, size: int) -> list[Case]:
    """The middle slice of a patient, prepared for a net of `size` pixels, if it shows a malignant nodule."""
    z = patient.positions()[len(patient.positions()) // 2]
    spot = spot_of(patient, z, SIDE)
    if patient.label != "malignant" or spot is None:
        return []
    grey = dataset.render(patient, z, SIDE).astype(np.float32) / np.float32(255)
    around = lung_segmentation.segment(grey)
    image = SliceImage(grey=grey, chest=around, prepared=prepare_in(lung_segmentation.as_image(grey), size, around))
    return [Case(image=image, spot=spot, lungs=int(around.lungs.sum()) * around.factor**2)]


def won(model: Model, cases: Sequence[Case], tolerance: float = 0.03) -> tuple[float, float]:
    """The share of peaks on the nodule, or within `tolerance` sides of its middle; and of throws into the lungs."""
    hits, chances = [], []
    for case in cases:
        peak = explain.explained(model, case.image, "malignant").peak
        disc = _disc(case, tolerance * SIDE)
        hits.append(peak is not None and bool(disc[peak.y, peak.x]))
        chances.append(float(disc.sum()) / case.lungs)
    return float(np.mean(hits)), float(np.mean(chances))


def _disc(case: Case, tolerance: float) -> NDArray[np.bool_]:
    """Pixels of the nodule, and within a tolerance, in pixels, from its middle."""
    rows, columns = np.mgrid[:SIDE, :SIDE] + 0.5
    far = np.hypot(columns - case.spot.x, rows - case.spot.y)
    disc: NDArray[np.bool_] = far <= max(case.spot.radius, tolerance)
    return disc
