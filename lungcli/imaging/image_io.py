"""Reading one slice: any picture or DICOM file in, grey values between 0 and 1 out."""

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from lungcli.core.errors import UnreadableInputError
from lungcli.imaging import dicom
from lungcli.imaging.picture import DAMAGED, QUIET, Grey, Picture, check_size, content_of, damaged, printable

_FORMATS = ("PNG", "JPEG", "TIFF", "BMP")
_MIN_IS_WHITE_TAG = 262


def read(source: Path | bytes, name: str = "", *, colour: bool = True) -> Picture:
    """Read a PNG, JPEG, TIFF, BMP or DICOM file, told apart by content, from its path or its bytes.

    Colour becomes Rec. 601 luminance and alpha is ignored. 16-bit pictures are scaled by 65,535 whatever the largest
    value in them, so that a dark slice stays dark. DICOM becomes Hounsfield units, padding becomes air,
    and then comes the lung window (centre -600, width 1500). `name` stands for the source in messages; it defaults to
    the path. Without `colour`, a JPEG is read in two thirds of the time.

    Raises UnreadableInputError for anything that is not one whole slice of at least 32×32 and at most 64 million
    pixels; no value of a DICOM tag gets into its message.
    """
    shown = printable(name or ("the picture" if isinstance(source, bytes) else str(source)))
    content = source if isinstance(source, bytes) else content_of(source, shown)
    if not content:
        raise UnreadableInputError(f"cannot read {shown}: it is empty", "copy or download it again")
    if dicom.is_dicom(content[: dicom.HEAD], name or ("" if isinstance(source, bytes) else source.name)):
        return dicom.read_dicom(content, shown)
    return _read_picture(content, shown, colour=colour)


def _read_picture(content: bytes, shown: str, *, colour: bool) -> Picture:
    try:
        with QUIET, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(content), formats=_FORMATS)
            pages = getattr(image, "n_frames", 1) if image.format == "TIFF" else 1
    except Image.DecompressionBombError as error:
        raise UnreadableInputError(
            f"cannot read {shown}: it is too large to be one slice", "one slice has at most 64 million pixels"
        ) from error
    except UnidentifiedImageError as error:
        raise UnreadableInputError(
            f"cannot read {shown}: it is not a picture", "use PNG, JPEG, TIFF, BMP or DICOM"
        ) from error
    except (OSError, *DAMAGED) as error:
        raise damaged(shown) from error
    check_size(*image.size, shown)
    if pages > 1:
        raise UnreadableInputError(f"cannot read {shown}: it holds {pages} pages", "save each slice as its own file")
    try:
        grey, found = _pixels(image, shown, colour=colour)
    except (OSError, *DAMAGED) as error:
        raise damaged(shown) from error
    return Picture(grey=grey, size=image.size, kind=_kind(image), colour=found)


def _kind(image: Image.Image) -> str:
    # Pillow calls a JPEG with a second, embedded picture MPO.
    return "jpeg" if image.format == "MPO" else (image.format or "").lower()


def _pixels(image: Image.Image, shown: str, *, colour: bool) -> tuple[Grey, float]:
    """Decode into grey values 0..1 and the colour measure. Raises what Pillow raises, and UnreadableInputError."""
    if _has_luma(image):
        # Luminance is what such a file holds: to make colours of it and take them back costs as much as the rest.
        image.draft("YCbCr" if colour else "L", image.size)
    image.load()
    if image.mode.startswith("I"):
        return _deep_pixels(image, shown), 0.0
    if image.mode == "F":
        raise UnreadableInputError(
            f"cannot read {shown}: floating-point values have no agreed range", "save it with 8 or 16 bits a pixel"
        )
    found = 0.0
    if image.mode not in ("1", "L", "LA"):
        image.info.pop("transparency", None)
        image = image if image.mode in ("RGB", "YCbCr") else image.convert("RGB")
        found = _colour(image) if colour else 0.0
    grey = image.getchannel(0) if image.mode == "YCbCr" else image.convert("L")
    values = np.asarray(grey).astype(np.float32)
    values *= np.float32(1 / 255)
    return values, found


def _has_luma(image: Image.Image) -> bool:
    """Say whether a file holds luminance and colour differences: a JFIF file of three channels does, by definition."""
    return image.format in ("JPEG", "MPO") and image.mode == "RGB" and "jfif" in image.info


def _colour(image: Image.Image) -> float:
    # 64×64 of the pixels tell as much as all of them, for a tenth of the time.
    sample = np.asarray(image.resize((64, 64), Image.Resampling.NEAREST).convert("RGB"))
    channels = np.ascontiguousarray(sample.reshape(-1, 3).T)
    return float((channels.max(axis=0) - channels.min(axis=0)).mean() / 255)


def _deep_pixels(image: Image.Image, shown: str) -> Grey:
    """Grey values of a picture with 16 bits a pixel, whichever way Pillow holds them."""
    values = np.asarray(image)
    if values.min() < 0 or values.max() > 65_535:
        raise UnreadableInputError(
            f"cannot read {shown}: values outside 0..65535 have no agreed range", "save it with 8 or 16 bits a pixel"
        )
    grey = values.astype(np.float32) / np.float32(65_535)
    tags: Any = getattr(image, "tag_v2", {})
    return 1 - grey if tags.get(_MIN_IS_WHITE_TAG) == 0 else grey
