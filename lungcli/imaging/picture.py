"""One slice as it was read, the bounds it keeps to, and the errors of files that hold none."""

import io
import stat
import struct
import threading
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from lungcli.core.errors import UnreadableInputError

if TYPE_CHECKING:
    from PIL import Image

Grey = NDArray[np.float32]
Pixels = NDArray[np.uint8]

MAX_PIXELS = 64_000_000
MAX_BYTES = 1 << 30
# The largest slice, 64 million pixels of 16 bits, and its tags.
MAX_SLICE_BYTES = 192 << 20
MIN_SIDE = 32
# Of a strip of 2,000,000 by 32 pixels, what looks for lungs would take 16 s and 2.6 GB.
MAX_SIDE, MAX_ASPECT = 16_384, 16

DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
VOLUME_SUFFIXES = (".nii", ".nii.gz", ".mha", ".mhd", ".nrrd", ".nhdr")

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
    """One slice as read: `pixels` uint8 [H, W], `size` (width, height) in pixels, `kind` as `png` or `dicom`.

    8 bits are what nearly all pictures have; of Hounsfield units in the lung window a level is 6 HU, less than noise.
    `colour` is the mean difference between the largest and the smallest channel, 0 for a grey picture, at most 1; it
    is 0, too, where nobody asked for it, and of a JPEG that of its first rows alone. `region` is the part of the body
    that a DICOM header names where it is not the chest, as `the HEAD`. `scale` says what the values of the file are
    where that is Hounsfield units, as `HU + 1024`; it is empty where they are greys of an unknown window.
    """

    pixels: Pixels
    size: tuple[int, int]
    kind: str
    colour: float = 0.0
    region: str = ""
    scale: str = ""

    @property
    def grey(self) -> Grey:
        """The slice as float32 [H, W] in 0..1: a copy."""
        grey = self.pixels.astype(np.float32)
        grey *= np.float32(1 / 255)
        return grey


def quantized(slice_: Grey | Pixels) -> Pixels:
    """Return a slice, any shape, in levels of grey: float32 in 0..1 rounded, and uint8 as it is."""
    if slice_.dtype == np.uint8:
        return cast(Pixels, slice_)
    levels: Pixels = np.rint(np.clip(cast(Grey, slice_), 0, 1) * np.float32(255)).astype(np.uint8)
    return levels


def printable(name: str) -> str:
    """Return `name` on one line, with what a terminal can't show replaced by `?`."""
    if name.isprintable():
        return name
    return "".join(letter if letter.isprintable() else "?" for letter in name)


def content_of(path: Path, shown: str, first: int = -1) -> bytes:
    """Return the bytes of a file that messages call `shown`, or the `first` so many. Raises UnreadableInputError."""
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise UnreadableInputError(f"cannot read {shown}: it is a folder", "name the picture in it")
        if not stat.S_ISREG(status.st_mode):
            raise UnreadableInputError(f"cannot read {shown}: it is not a file", "name a picture")
        if status.st_size > MAX_BYTES:
            raise UnreadableInputError(f"cannot read {shown}: it is larger than 1 GiB", "name one slice, not a volume")
        if first < 0:
            return path.read_bytes()
        with path.open("rb") as file:
            return file.read(first)
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
    if max(width, height) > min(MAX_SIDE, MAX_ASPECT * min(width, height)):
        raise UnreadableInputError(
            f"cannot read {shown}: {width}×{height} pixels are no slice",
            f"a slice has at most {MAX_SIDE:,} pixels a side, and no side {MAX_ASPECT} times as long as the other",
        )


class TooMuchError(ValueError):
    """What a file has more of than a slice needs and than is decoded in time: a message that begins with `it`."""


def damaged(shown: str, error: Exception | None = None) -> UnreadableInputError:
    """The error of a file that no decoder could make sense of, or that holds too much, as the `error` says."""
    if isinstance(error, TooMuchError):
        return UnreadableInputError(f"cannot read {shown}: {error}, more than a slice needs", "export the slice again")
    return UnreadableInputError(f"cannot read {shown}: it is damaged or cut off", "copy or download it again")


def encoded(image: "Image.Image", kind: str = "PNG", **options: Any) -> bytes:
    """Return an image as the content of a file of this kind; `options` are those that Pillow saves it with."""
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()
