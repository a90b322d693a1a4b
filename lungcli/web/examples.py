"""Slices that the page offers to try, by class."""

from PIL import Image

from lungcli.core import package_data
from lungcli.datasets.phantom import dataset
from lungcli.imaging.picture import encoded
from lungcli.web.slice_worker import Upload

CLASSES = ("malignant", "benign", "normal")


def real(label: str) -> Upload:
    """The real slice of a class that comes with the program."""
    return Upload(name=f"real slice ({label})", content=package_data.slices()[label].read_bytes())


def phantom(label: str) -> Upload:
    """Draw a phantom of a class."""
    patient = next(patient for patient in dataset.patients(dataset.FEWEST, seed=7) if patient.label == label)
    drawn = Image.fromarray(dataset.render(patient, patient.positions()[0]))
    return Upload(name=f"drawn phantom ({label})", content=encoded(drawn))
