"""DICOM files for tests: a phantom as scanners store it, with every tag to be changed."""

import io
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    generate_uid,
)

from tests.imaging import intruders

SIDE = 96
AXIAL: list[float] = [1, 0, 0, 0, 1, 0]
NAME, NUMBER = "Musterfrau^Erika", "PID4711X"


def hounsfield(seed: int = 1) -> NDArray[np.int16]:
    """A drawn slice of a chest in Hounsfield units, int16 (96, 96)."""
    grey = np.asarray(Image.fromarray(intruders.slices(1)[0]).resize((SIDE, SIDE)))
    hu: NDArray[np.int16] = np.rint(grey * 1500 - 1350 + seed).astype(np.int16)
    return hu


def windowed(hu: NDArray[Any]) -> NDArray[Any]:
    return np.clip((hu.astype(np.float64) + 1350) / 1500, 0, 1)


def dataset(stored: NDArray[Any] | None = None, **tags: Any) -> FileDataset:
    """One CT slice, stored as Hounsfield units plus 1024 of signed 16 bits; a tag that is None is left out."""
    values = hounsfield() + np.int16(1024) if stored is None else stored
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = tags.pop("syntax", ExplicitVRLittleEndian)
    made = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    fields: dict[str, Any] = {
        "SOPClassUID": CTImageStorage,
        "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
        "PatientName": NAME,
        "PatientID": NUMBER,
        "PatientBirthDate": "19640812",
        "Modality": "CT",
        "Rows": values.shape[-2],
        "Columns": values.shape[-1],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 8 * values.itemsize,
        "BitsStored": 8 * values.itemsize,
        "HighBit": 8 * values.itemsize - 1,
        "PixelRepresentation": int(values.dtype.kind == "i"),
        "RescaleSlope": 1,
        "RescaleIntercept": -1024,
        "PixelData": values.tobytes(),
    } | tags
    for name, value in fields.items():
        if value is not None:
            setattr(made, name, value)
    return made


def written(made: FileDataset) -> bytes:
    file = io.BytesIO()
    pydicom.dcmwrite(file, made, enforce_file_format=True)
    return file.getvalue()


def dicom(stored: NDArray[Any] | None = None, **tags: Any) -> bytes:
    return written(dataset(stored, **tags))


def wrapped(encoded: bytes, syntax: str, stored: NDArray[Any] | None = None, **tags: Any) -> bytes:
    """A slice whose pixels are `encoded` already."""
    made = dataset(stored, syntax=syntax, **tags)
    made.PixelData = encapsulate([encoded])
    made["PixelData"].is_undefined_length = True
    return written(made)


def jpeg(**tags: Any) -> bytes:
    grey = np.rint(windowed(hounsfield()) * 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(grey).save(file, format="JPEG", quality=98)
    rescale = {"RescaleSlope": 1500 / 255, "RescaleIntercept": -1350}
    return wrapped(file.getvalue(), JPEGBaseline8Bit, grey, **{**rescale, **tags})


def jpeg2000(**tags: Any) -> bytes:
    stored = (hounsfield() + 2000).astype(np.uint16)
    file = io.BytesIO()
    Image.fromarray(stored).save(file, format="JPEG2000", no_jp2=True, irreversible=False)
    return wrapped(file.getvalue(), JPEG2000Lossless, stored, **{"RescaleIntercept": -2000, **tags})


def run_lengths() -> bytes:
    made = dataset()
    made.compress(pydicom.uid.RLELossless)
    return written(made)
