"""Volumes (NIfTI; MetaImage and NRRD with an extra) as axial slices in the lung window, from feet to head."""

import contextlib
import logging
import re
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lungcli.core.errors import UnreadableInputError
from lungcli.imaging import dicom_decoder, hounsfield, itk_images
from lungcli.imaging.picture import (
    DAMAGED,
    MAX_BYTES,
    QUIET,
    VOLUME_SUFFIXES,
    Picture,
    TooMuchError,
    check_size,
    content_of,
    damaged,
    quantized,
)

_GZIP = b"\x1f\x8b"
# Sizes of the headers of NIfTI 1 and 2, which begin both.
_NIFTI_2 = 540


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Volume:
    """A volume whose slices are decoded one by one.

    `axes` are the array's axes to the right, the front and the head of the patient, and `flips` whether each of them
    runs the other way (to the left, the back and the feet).
    """

    values: Any
    axes: tuple[int, int, int]
    flips: tuple[bool, bool, bool]

    @property
    def slices(self) -> int:
        """How many axial slices there are."""
        return int(self.values.shape[self.axes[2]])


def is_volume(name: str) -> bool:
    """Tell a volume by its name."""
    return name.lower().endswith(VOLUME_SUFFIXES)


def opened(source: Path | bytes, name: str, shown: str) -> Volume:
    """Read the header of a volume, or all of what is no NIfTI; messages call it `shown`. Raises UnreadableInputError.

    `name` tells its kind.
    """
    if name.lower().endswith(itk_images.SUFFIXES):
        values, towards = itk_images.read(source, name, shown)
        right, front, head = (re.search(letters, towards) for letters in ("R|L", "A|P", "S|I"))
        if not (right and front and head):
            raise damaged(shown)
        volume = Volume(
            values=values,
            axes=(right.start(), front.start(), head.start()),
            flips=(right[0] == "L", front[0] == "P", head[0] == "I"),
        )
    else:
        volume = _nifti(source, shown)
    check_size(volume.values.shape[volume.axes[0]], volume.values.shape[volume.axes[1]], shown)
    return volume


def _nifti(source: Path | bytes, shown: str) -> Volume:
    """Read the header of a NIfTI volume. Raises UnreadableInputError."""
    content = source if isinstance(source, bytes) else content_of(source, shown)
    dicom_decoder.load_pydicom()
    # 1.5 s, scipy among it.
    import nibabel
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError
    from nibabel.wrapstruct import WrapStructError

    failures = (OSError, ImageFileError, HeaderDataError, WrapStructError, *DAMAGED)
    try:
        with _silence():
            plain = _inflated(content) if content.startswith(_GZIP) else content
            kind = nibabel.Nifti2Image if _header_size(plain) == _NIFTI_2 else nibabel.Nifti1Image
            image = kind.from_bytes(plain)
            why_not = _unusable(image, len(plain))
            orientation = None if why_not else nibabel.io_orientation(image.affine)
    except failures as error:
        raise damaged(shown, error) from error
    if orientation is None or not np.isfinite(orientation).all():
        why_not = why_not or "nothing in it says how the patient lies (neither sform nor qform)"
        raise UnreadableInputError(f"cannot read {shown}: {why_not}", "name one CT volume, or its slices as DICOM")
    axes = tuple(int(np.flatnonzero(orientation[:, 0] == axis)[0]) for axis in range(3))
    return Volume(
        values=image.dataobj,
        axes=(axes[0], axes[1], axes[2]),
        flips=(bool(orientation[axes[0], 1] < 0), bool(orientation[axes[1], 1] < 0), bool(orientation[axes[2], 1] < 0)),
    )


def read_slice(volume: Volume, number: int, shown: str) -> Picture:
    """Return the axial slice `number`, 0 the lowest, as radiologists see it: the front above, the right on the left.

    Values are Hounsfield units as stored, after the scale of the header. Raises UnreadableInputError.
    """
    right, front, head = volume.axes
    place = volume.slices - 1 - number if volume.flips[2] else number
    where: list[Any] = [slice(None)] * 3 + [0] * (len(volume.values.shape) - 3)
    where[head] = place
    try:
        with _silence():
            plane = np.asarray(volume.values[tuple(where)], dtype=np.float32)
    except (OSError, *DAMAGED) as error:
        raise damaged(shown) from error
    if right < front:
        plane = plane.T
    # Rows run to the back and columns to the left of the patient.
    plane = plane[slice(None) if volume.flips[1] else slice(None, None, -1)]
    plane = plane[:, slice(None) if volume.flips[0] else slice(None, None, -1)]
    if not np.isfinite(plane).all():
        raise damaged(shown)
    shift = 0.0 if plane.min() < hounsfield.BELOW_TISSUE else hounsfield.offset(plane)
    if shift is None:
        raise hounsfield.unknown_scale(shown)
    grey = hounsfield.windowed(plane - np.float32(shift))
    return Picture(
        pixels=quantized(grey), size=(grey.shape[1], grey.shape[0]), kind="volume", scale=hounsfield.scale_name(shift)
    )


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep what nibabel logs and warns of, which quotes the header, from the terminal."""
    logger = logging.getLogger("nibabel.global")
    with QUIET, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logger.disabled = True
        try:
            yield
        finally:
            logger.disabled = False


def _header_size(content: bytes) -> int:
    sizes = (int.from_bytes(content[:4], "little"), int.from_bytes(content[:4], "big"))
    return _NIFTI_2 if _NIFTI_2 in sizes else 348


def _inflated(content: bytes) -> bytes:
    inflater = zlib.decompressobj(16 + zlib.MAX_WBITS)
    plain = inflater.decompress(content, MAX_BYTES)
    if inflater.unconsumed_tail:
        raise TooMuchError(f"it inflates to more than {MAX_BYTES >> 20:,} MiB")
    if not inflater.eof:
        raise ValueError("cut off")
    return plain


def _unusable(image: Any, length: int) -> str:
    """Say why an image holds no CT volume; empty when it may. Raises ValueError where the file lies."""
    shape = image.shape
    if len(shape) < 3 or any(size != 1 for size in shape[3:]):
        return "it is no volume of three dimensions"
    if image.get_data_dtype().kind not in "iuf":
        return "its values are not grey"
    if max(shape[:3]) > itk_images.MAX_SLICES:
        return f"it claims more than {itk_images.MAX_SLICES:,} slices"
    if image.dataobj.offset + image.get_data_dtype().itemsize * int(np.prod(shape)) > length:
        raise ValueError("fewer values than it claims")
    if not (image.header["sform_code"] or image.header["qform_code"]):
        return "nothing in it says how the patient lies (neither sform nor qform)"
    return ""
