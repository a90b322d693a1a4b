"""Reading one slice: any picture or DICOM file in, grey values between 0 and 1 out."""

import io
import stat
import struct
import threading
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from lungcli.core.errors import UnreadableInputError

Grey = NDArray[np.float32]

MAX_PIXELS = 64_000_000
MAX_BYTES = 1 << 30
MIN_SIDE = 32

DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
_FORMATS = ("PNG", "JPEG", "TIFF", "BMP")
_MIN_IS_WHITE_TAG = 262

# What decoders raise on damaged content, besides OSError.
DAMAGED = (
    SyntaxError,
    ValueError,
    EOFError,
    struct.error,
    zlib.error,
    LookupError,
    ArithmeticError,
    TypeError,
    AttributeError,
    RuntimeError,
    MemoryError,
    AssertionError,
)

# Warning filters belong to the process: two threads that change them at once would leave them changed.
QUIET = threading.Lock()


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One slice as read: `grey` float32 [H, W] in 0..1, `size` (width, height) in pixels, `kind` as `png` or `dicom`.

    `colour` is the mean difference between the largest and the smallest channel, 0 for a grey picture, at most 1; it
    is 0, too, where nobody asked for it.
    """

    grey: Grey
    size: tuple[int, int]
    kind: str
    colour: float = 0.0


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
    suffix = Path(name or ("" if isinstance(source, bytes) else source)).suffix.lower()
    if content[128:132] == b"DICM" or suffix in DICOM_SUFFIXES:
        from lungcli.imaging.dicom import read_dicom

        return read_dicom(content, shown)
    return _read_picture(content, shown, colour=colour)


def printable(name: str) -> str:
    """Return `name` on one line, with what a terminal can't show replaced by `?`."""
    if name.isprintable():
        return name
    return "".join(letter if letter.isprintable() else "?" for letter in name)


def content_of(path: Path, shown: str) -> bytes:
    """Return the bytes of a file that messages call `shown`. Raises UnreadableInputError."""
    try:
        found = path.stat()
        if stat.S_ISDIR(found.st_mode):
            raise UnreadableInputError(f"cannot read {shown}: it is a folder", "name the picture in it")
        if not stat.S_ISREG(found.st_mode):
            raise UnreadableInputError(f"cannot read {shown}: it is not a file", "name a picture")
        if found.st_size > MAX_BYTES:
            raise UnreadableInputError(f"cannot read {shown}: it is larger than 1 GiB", "name one slice, not a volume")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise UnreadableInputError(f"cannot read {shown}: there is no such file", "check the path") from error
    except PermissionError as error:
        raise UnreadableInputError(f"cannot read {shown}: permission denied", "make the file readable") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "the path cannot be used"
        raise UnreadableInputError(f"cannot read {shown}: {reason}", "check the path") from error


def check_size(width: int, height: int, shown: str) -> None:
    """Raise UnreadableInputError where a picture is too large or too small to be a slice."""
    if width * height > MAX_PIXELS:
        raise UnreadableInputError(
            f"cannot read {shown}: it is too large, {width}×{height} pixels", "one slice has at most 64 million pixels"
        )
    if min(width, height) < MIN_SIDE:
        raise UnreadableInputError(
            f"cannot read {shown}: it is too small, {width}×{height} pixels", "a slice has at least 32×32 pixels"
        )


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


def damaged(shown: str) -> UnreadableInputError:
    """The error of a file that no decoder could make sense of."""
    return UnreadableInputError(f"cannot read {shown}: it is damaged or cut off", "copy or download it again")


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
