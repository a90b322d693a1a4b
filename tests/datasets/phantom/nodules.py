"""Where phantoms show their nodules, worked out from how they are drawn."""

from dataclasses import dataclass

from lungcli.datasets.phantom import anatomy
from lungcli.datasets.phantom.dataset import Patient


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """Where a slice shows its nodule: column `x`, row `y` and `radius`, in pixels."""

    x: float
    y: float
    radius: float


def spot_of(patient: Patient, z: float, side: int = 512) -> Spot | None:
    """Return where the slice at `z` shows the patient's nodule, None where it shows none."""
    if patient.nodule is None or not (radius := patient.nodule.section(z)):
        return None
    x, y = anatomy.pixel_of(patient.body, patient.nodule.u, patient.nodule.v, side)
    return Spot(x=x, y=y, radius=radius * side / patient.body.fov)
