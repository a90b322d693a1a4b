"""One slice in every encoding that hospitals and people send becomes the same prepared pixels."""

from collections.abc import Callable

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom.uid import JPEGLosslessSV1, JPEGLSLossless

from lungcli.imaging import hounsfield, lung_segmentation, volumes
from lungcli.imaging.image_io import read
from lungcli.imaging.picture import Picture, quantized
from lungcli.imaging.preprocessing import prepare
from tests.imaging import dicoms, test_dicom
from tests.imaging.pictures import encoded

SIZE = 80
HU = dicoms.hounsfield()
SHOWN = quantized(hounsfield.windowed(HU))
PREPARED = prepare(SHOWN, SIZE)
TWELVE_BITS = (np.maximum(HU, -1024) + 1024).astype(np.uint16)


def colour(values: NDArray[np.uint8], mode: str) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(values).convert(mode))


def turned() -> bytes:
    """Stored on its side, with the EXIF orientation 6 that turns it back."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(np.ascontiguousarray(np.rot90(SHOWN)), exif=exif)


def volume() -> Picture:
    content = bytes(nibabel.Nifti1Image(HU[::-1, ::-1].T[..., None], np.eye(4)).to_bytes())
    return volumes.read_slice(volumes.opened(content, "x.nii", "x.nii"), 0, "x")


LOSSLESS: dict[str, Callable[[], Picture | bytes]] = {
    "DICOM": lambda: dicoms.dicom(),
    "DICOM, unsigned": test_dicom.unsigned,
    "DICOM, 12 bits": lambda: test_dicom.twelve_bits(signed=True),
    "DICOM, deflated": test_dicom.deflated,
    "DICOM, run lengths": dicoms.run_lengths,
    "DICOM, JPEG 2000": dicoms.jpeg2000,
    "DICOM, JPEG lossless": lambda: test_dicom.transcoded(JPEGLosslessSV1),
    "DICOM, JPEG-LS": lambda: test_dicom.transcoded(JPEGLSLossless),
    "NIfTI": volume,
    "PNG": lambda: encoded(SHOWN),
    "PNG, RGB": lambda: encoded(colour(SHOWN, "RGB")),
    "PNG, grey and alpha": lambda: encoded(colour(SHOWN, "LA")),
    "PNG, turned by EXIF": turned,
    "TIFF": lambda: encoded(SHOWN, "TIFF"),
    "TIFF, LZW": lambda: encoded(SHOWN, "TIFF", compression="tiff_lzw"),
    "TIFF, 16 bits, HU + 32768": lambda: encoded((HU.astype(np.int32) + 32_768).astype(np.uint16), "TIFF"),
    "TIFF, signed HU": lambda: encoded(HU.astype(np.int32), "TIFF"),
    "TIFF, float HU": lambda: encoded(HU.astype(np.float32), "TIFF"),
    "BMP": lambda: encoded(SHOWN, "BMP"),
}
# Mean change of a pixel, of 255.
LOSSY: dict[str, tuple[Callable[[], bytes], float]] = {
    "JPEG of 95": (lambda: encoded(SHOWN, "JPEG", quality=95), 3.0),
    "JPEG of 75, in colour": (lambda: encoded(colour(SHOWN, "RGB"), "JPEG", quality=75), 6.0),
    # Below -1024 HU there is nothing in 12 bits.
    "DICOM, raw values": (lambda: dicoms.dicom(TWELVE_BITS, RescaleSlope=None, RescaleIntercept=None), 0.1),
    "PNG, 16 bits, HU + 1024": (lambda: encoded(TWELVE_BITS), 0.1),
    "PNG, all of 16 bits": (lambda: encoded(SHOWN.astype(np.uint16) * 257), 1.0),
    "PNG, window 2000 at -400": (lambda: encoded(quantized(((HU + 1400) / 2000).astype(np.float32))), 3.0),
}


def prepared(source: Picture | bytes) -> NDArray[np.uint8]:
    return prepare((source if isinstance(source, Picture) else read(source, "x")).pixels, SIZE)


def test_lungs_are_found_in_the_slice() -> None:
    assert not lung_segmentation.segment(SHOWN).failure_reason
    assert len(np.unique(PREPARED)) > 20


@pytest.mark.parametrize("name", LOSSLESS)
def test_the_same_pixels_from_every_encoding_without_loss(name: str) -> None:
    np.testing.assert_array_equal(prepared(LOSSLESS[name]()), PREPARED)


@pytest.mark.parametrize("name", LOSSY)
def test_nearly_the_same_pixels_from_encodings_with_loss(name: str) -> None:
    encode, tolerance = LOSSY[name]
    difference = np.abs(prepared(encode()).astype(int) - PREPARED)

    assert difference.mean() < tolerance
