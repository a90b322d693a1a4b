"""Reading one slice: any picture or DICOM file in, grey values between 0 and 1 out."""

import io
import struct
import threading
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from lungcli.core.errors import UnreadableInputError

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset

Grey = NDArray[np.float32]

MAX_PIXELS = 64_000_000
MAX_BYTES = 1 << 30
MIN_SIDE = 32

# Centre -600 HU and width 1500 HU, the usual lung window.
WINDOW_LOW = -1350.0
WINDOW_WIDTH = 1500.0
AIR = -1000.0

DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
_FORMATS = ("PNG", "JPEG", "TIFF", "BMP")
_MIN_IS_WHITE_TAG = 262

# What decoders raise on damaged content, besides OSError.
_DAMAGED = (
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
_quiet = threading.Lock()


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One slice as read: `grey` float32 [H, W] in 0..1, `size` (width, height) in pixels, `kind` as `png` or `dicom`.

    `colour` is the mean difference between the largest and the smallest channel, 0 for a grey picture, at most 1.
    """

    grey: Grey
    size: tuple[int, int]
    kind: str
    colour: float = 0.0


def read(source: Path | bytes, name: str = "") -> Picture:
    """Read a PNG, JPEG, TIFF, BMP or DICOM file, told apart by content, from its path or its bytes.

    Colour becomes Rec. 601 luminance and alpha is ignored. 16-bit pictures are scaled by 65,535 whatever the largest
    value in them, so that a dark slice stays dark. DICOM becomes Hounsfield units, padding becomes air,
    and then comes the lung window (centre -600, width 1500). `name` stands for the source in messages; it defaults to
    the path.

    Raises UnreadableInputError for anything that is not one whole slice of at least 32×32 and at most 64 million
    pixels; no value of a DICOM tag gets into its message.
    """
    shown = printable(name or ("the picture" if isinstance(source, bytes) else str(source)))
    content = source if isinstance(source, bytes) else content_of(source, shown)
    if not content:
        raise UnreadableInputError(f"cannot read {shown}: it is empty", "copy or download it again")
    suffix = Path(name or ("" if isinstance(source, bytes) else source)).suffix.lower()
    if content[128:132] == b"DICM" or suffix in DICOM_SUFFIXES:
        return _read_dicom(content, shown)
    return _read_picture(content, shown)


def printable(name: str) -> str:
    """Return `name` on one line, with what a terminal can't show replaced by `?`."""
    return "".join(letter if letter.isprintable() else "?" for letter in name)


def content_of(path: Path, shown: str) -> bytes:
    """Return the bytes of a file that messages call `shown`. Raises UnreadableInputError."""
    try:
        if path.is_dir():
            raise UnreadableInputError(f"cannot read {shown}: it is a folder", "name the picture in it")
        if path.exists() and not path.is_file():
            raise UnreadableInputError(f"cannot read {shown}: it is not a file", "name a picture")
        if path.stat().st_size > MAX_BYTES:
            raise UnreadableInputError(f"cannot read {shown}: it is larger than 1 GiB", "name one slice, not a volume")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise UnreadableInputError(f"cannot read {shown}: there is no such file", "check the path") from error
    except PermissionError as error:
        raise UnreadableInputError(f"cannot read {shown}: permission denied", "make the file readable") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "the path cannot be used"
        raise UnreadableInputError(f"cannot read {shown}: {reason}", "check the path") from error


def _check_size(width: int, height: int, shown: str) -> None:
    if width * height > MAX_PIXELS:
        raise UnreadableInputError(
            f"cannot read {shown}: it is too large, {width}×{height} pixels", "one slice has at most 64 million pixels"
        )
    if min(width, height) < MIN_SIDE:
        raise UnreadableInputError(
            f"cannot read {shown}: it is too small, {width}×{height} pixels", "a slice has at least 32×32 pixels"
        )


def _read_picture(content: bytes, shown: str) -> Picture:
    try:
        with _quiet, warnings.catch_warnings():
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
    except (OSError, *_DAMAGED) as error:
        raise _damaged(shown) from error
    _check_size(*image.size, shown)
    if pages > 1:
        raise UnreadableInputError(f"cannot read {shown}: it holds {pages} pages", "save each slice as its own file")
    try:
        grey, colour = _pixels(image, shown)
    except (OSError, *_DAMAGED) as error:
        raise _damaged(shown) from error
    return Picture(grey=grey, size=image.size, kind=_kind(image), colour=colour)


def _damaged(shown: str) -> UnreadableInputError:
    return UnreadableInputError(f"cannot read {shown}: it is damaged or cut off", "copy or download it again")


def _kind(image: Image.Image) -> str:
    # Pillow calls a JPEG with a second, embedded picture MPO.
    return "jpeg" if image.format == "MPO" else (image.format or "").lower()


def _pixels(image: Image.Image, shown: str) -> tuple[Grey, float]:
    """Decode into grey values 0..1 and the colour measure. Raises what Pillow raises, and UnreadableInputError."""
    image.load()
    if image.mode.startswith("I"):
        return _deep_pixels(image, shown), 0.0
    if image.mode == "F":
        raise UnreadableInputError(
            f"cannot read {shown}: floating-point values have no agreed range", "save it with 8 or 16 bits a pixel"
        )
    colour = 0.0
    if image.mode not in ("1", "L", "LA"):
        image.info.pop("transparency", None)
        image = image if image.mode == "RGB" else image.convert("RGB")
        # 64×64 of the pixels tell as much as all of them, for a tenth of the time.
        sample = np.asarray(image.resize((64, 64), Image.Resampling.NEAREST))
        colour = float((sample.max(axis=2) - sample.min(axis=2)).mean() / 255)
    return np.asarray(image.convert("L")).astype(np.float32) * np.float32(1 / 255), colour


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


def _read_dicom(content: bytes, shown: str) -> Picture:
    import pydicom
    from pydicom.errors import InvalidDicomError

    with _quiet, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            dataset = pydicom.dcmread(io.BytesIO(content), force=content[128:132] != b"DICM")
            why_not = _unusable(dataset)
        except (InvalidDicomError, OSError, NotImplementedError, *_DAMAGED) as error:
            raise _damaged(shown) from error
        if why_not:
            raise UnreadableInputError(f"cannot read {shown}: {why_not}", "export one CT slice as DICOM or PNG")
        _check_size(int(dataset.Columns), int(dataset.Rows), shown)
        try:
            _name_encoding(dataset)
            values = np.asarray(dataset.pixel_array, dtype=np.float32)
            grey = _windowed(dataset, values)
        except (OSError, *_DAMAGED) as error:
            raise UnreadableInputError(
                f"cannot read {shown}: its pixels are damaged or compressed in an unknown way",
                "export it uncompressed (Explicit VR Little Endian) or as PNG",
            ) from error
    if grey.ndim != 2 or not np.isfinite(grey).all():
        raise _damaged(shown)
    return Picture(grey=grey, size=(grey.shape[1], grey.shape[0]), kind="dicom")


def _windowed(dataset: "FileDataset", values: NDArray[np.float32]) -> Grey:
    """Stored values as Hounsfield units (PS3.3 C.11.1.1.2) in the lung window; padding becomes air."""
    slope, intercept = getattr(dataset, "RescaleSlope", None), getattr(dataset, "RescaleIntercept", None)
    hounsfield = values * np.float32(slope or 1) + np.float32(intercept or 0)
    grey: Grey = np.clip((hounsfield - np.float32(WINDOW_LOW)) / np.float32(WINDOW_WIDTH), 0, 1)
    # MONOCHROME1 wants the smallest value shown white after windowing (PS3.3 C.7.6.3.1.2): a wish for the display,
    # which leaves Hounsfield units as they are. Without a rescale there are none, only what is shown.
    if dataset.PhotometricInterpretation == "MONOCHROME1" and intercept is None:
        grey = 1 - grey
    grey[_padding(dataset, values)] = (AIR - WINDOW_LOW) / WINDOW_WIDTH
    return grey


def _padding(dataset: "FileDataset", values: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Where stored values say that nothing was measured (PS3.3 C.7.5.1.1.2), limits included, in either order."""
    first = _stored(dataset, "PixelPaddingValue")
    if first is None:
        return np.zeros(values.shape, dtype=np.bool_)
    last = _stored(dataset, "PixelPaddingRangeLimit")
    low, high = sorted((first, first if last is None else last))
    return (values >= low) & (values <= high)


def _stored(dataset: "FileDataset", name: str) -> int | None:
    """Return a tag that holds a stored value, None where it is missing; some scanners write signed ones unsigned."""
    found = getattr(dataset, name, None)
    if found is None:
        return None
    value = int(found)
    bits = int(dataset.BitsAllocated)
    signed = int(dataset.PixelRepresentation) == 1
    return value - (1 << bits) if signed and value >= 1 << (bits - 1) else value


def _name_encoding(dataset: "FileDataset") -> None:
    """Give a data set that came without a file header the uncompressed encoding it was found to have."""
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit, little = dataset.original_encoding
        explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit


def _unusable(dataset: "FileDataset") -> str:
    """Say why a DICOM data set is not one grey CT slice; empty when it is."""
    if "PixelData" not in dataset or "Rows" not in dataset or "Columns" not in dataset:
        return "it holds no pixels, or is cut off"
    if int(getattr(dataset, "NumberOfFrames", None) or 1) > 1:
        return "it holds more than one frame"
    if int(getattr(dataset, "SamplesPerPixel", None) or 1) > 1:
        return "it is in colour"
    if getattr(dataset, "PhotometricInterpretation", "") not in ("MONOCHROME1", "MONOCHROME2"):
        return "it is not grey"
    if getattr(dataset, "Modality", "CT") not in ("CT", "", None):
        return "it is not a CT slice"
    return ""
