"""Reading one slice: any picture or DICOM file in, grey values between 0 and 1 out."""

import contextlib
import functools
import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from lungcli.core.errors import UnreadableInputError
from lungcli.imaging import dicom, hounsfield, jpeg_header
from lungcli.imaging.picture import (
    DAMAGED,
    QUIET,
    VOLUME_SUFFIXES,
    Grey,
    Picture,
    Pixels,
    TooMuchError,
    check_size,
    content_of,
    damaged,
    printable,
    quantized,
)

_FORMATS = ("PNG", "JPEG", "TIFF", "BMP")
_TIFF = (b"II", b"MM")
_MIN_IS_WHITE_TAG = 262
_MOST_PAGES = 99
_EXIF_IN = {"exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif"}
# Pictures of 12 bits in 16 are nearly black by the whole range; no slice in a window is so dark.
_LEAST_OF_16_BITS = 4096
# Darker than this is no more than what compression leaves of black.
_BLACK = 16
_SAY_SCALE = (
    "say what it shows, black to white, with --window CENTER,WIDTH, or what HU lie higher by with --hu-offset N"
)
_END_OF_JPEG = b"\xff\xd9"
# A chunk of each row of pixels, and more; 15 MB of empty ones took 4 s.
_MOST_CHUNKS = 1 << 16
_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_PNG_HEADER = _PNG_MAGIC + b"\0\0\0\rIHDR"
_JPEG = b"\xff\xd8\xff"
PLAIN_BYTES = 1 << 20
"""Bytes of the largest plain picture, see `is_plain`."""
_PLAIN_PIXELS = 4_000_000


def read(
    source: Path | bytes, name: str = "", *, colour: bool = True, scale: hounsfield.GreyScale | None = None
) -> Picture:
    """Read a PNG, JPEG, TIFF, BMP or DICOM file, told apart by content, from its path or its bytes.

    What an EXIF orientation says to turn is turned first. Colour becomes Rec. 601 luminance and alpha is ignored. Of
    more than 8 bits, values that lie as Hounsfield units do are taken for those, and others of 16 bits are scaled by
    the bits in use. DICOM becomes Hounsfield units, padding becomes air, and then comes the lung window (centre -600,
    width 1500). `name` stands for the source in messages; it defaults to the path. Without `colour`, a JPEG is read in
    two thirds of the time. `scale` is that of a picture, other than DICOM, where it is known.

    Raises UnreadableInputError for anything that is not one whole slice of at least 32×32 and at most 64 million
    pixels; no value of a DICOM tag gets into its message.
    """
    shown = printable(name or ("the picture" if isinstance(source, bytes) else str(source)))
    content = source if isinstance(source, bytes) else content_of(source, shown)
    if not content:
        raise UnreadableInputError(f"cannot read {shown}: it is empty", "copy or download it again")
    if dicom.is_dicom(content[: dicom.HEAD], name or ("" if isinstance(source, bytes) else source.name)):
        return dicom.read_dicom(content, shown)
    if shown.lower().endswith(VOLUME_SUFFIXES):
        raise UnreadableInputError(
            f"cannot read {shown}: it is a volume of many slices",
            "`lungcli predict` and `data import` read all of them",
        )
    return _read_picture(content, shown, colour=colour, known=scale)


def is_plain(content: bytes, name: str) -> bool:
    """Say whether a picture is a small PNG, JPEG or uncompressed DICOM file, as most are.

    It is decoded within a second or two, whatever it holds.
    """
    if len(content) > PLAIN_BYTES:
        return False
    if dicom.is_dicom(content[: dicom.HEAD], name):
        return dicom.is_uncompressed(content)
    if content.startswith(_PNG_HEADER):
        size: tuple[int, int] | None = (int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big"))
    else:
        size = jpeg_header.size_of(content) if content.startswith(_JPEG) else None
    return size is not None and size[0] * size[1] <= _PLAIN_PIXELS


def _read_picture(content: bytes, shown: str, *, colour: bool, known: hounsfield.GreyScale | None) -> Picture:
    try:
        with QUIET, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if content.startswith(_TIFF):
                _silence_libtiff()
            _require_few_chunks(content)
            image = Image.open(io.BytesIO(content), formats=_FORMATS)
            pages = _pages(image)
    except Image.DecompressionBombError as error:
        raise UnreadableInputError(
            f"cannot read {shown}: it is too large to be one slice", "one slice has at most 64 million pixels"
        ) from error
    except UnidentifiedImageError as error:
        raise UnreadableInputError(
            f"cannot read {shown}: it is not a picture", "use PNG, JPEG, TIFF, BMP or DICOM"
        ) from error
    except (OSError, *DAMAGED) as error:
        raise damaged(shown, error) from error
    check_size(*image.size, shown)
    if pages > 1:
        many = f"more than {_MOST_PAGES}" if pages > _MOST_PAGES else pages
        raise UnreadableInputError(f"cannot read {shown}: it holds {many} pages", "save each slice as its own file")
    try:
        if image.format in ("JPEG", "MPO"):
            jpeg_header.require_few_scans(content, image.width * image.height)
        colourfulness = _jpeg_colour(content) if colour and _has_luma(image) else 0.0
        pixels, other, scale = _pixels(image, shown, colour=colour, known=known)
    except (OSError, *DAMAGED) as error:
        raise damaged(shown, error) from error
    size = (pixels.shape[1], pixels.shape[0])
    return Picture(pixels=pixels, size=size, kind=_kind(image), colour=max(colourfulness, other), scale=scale)


def _require_few_chunks(content: bytes) -> None:
    """Raise TooMuchError for a PNG of more chunks than a slice needs."""
    at, chunks = len(_PNG_MAGIC), 0
    while at < len(content) and content.startswith(_PNG_MAGIC):
        # After its length, the kind, and before the next one the checksum.
        at += int.from_bytes(content[at : at + 4], "big") + 12
        chunks += 1
        if chunks > _MOST_CHUNKS:
            raise TooMuchError(f"it has more than {_MOST_CHUNKS:,} chunks")


def _pages(image: Image.Image) -> int:
    """Count the pages of a TIFF, as far as that takes no time; other pictures have one."""
    pages = 1
    with contextlib.suppress(EOFError):
        while image.format == "TIFF" and pages <= _MOST_PAGES:
            image.seek(pages)
            pages += 1
    return pages


@functools.cache
def _silence_libtiff() -> None:
    """Keep libtiff from printing to the terminal what is wrong with a file: Pillow raises it as well.

    Where Pillow holds libtiff inside itself, as on Windows, its switches cannot be reached.
    """
    import ctypes

    from PIL import _imaging

    for switch in ("TIFFSetErrorHandler", "TIFFSetWarningHandler"):
        with contextlib.suppress(OSError, AttributeError):
            set_handler = getattr(ctypes.CDLL(_imaging.__file__), switch)
            set_handler.argtypes, set_handler.restype = [ctypes.c_void_p], ctypes.c_void_p
            set_handler(None)


def _kind(image: Image.Image) -> str:
    # Pillow calls a JPEG with a second, embedded picture MPO.
    return "jpeg" if image.format == "MPO" else (image.format or "").lower()


def _pixels(
    image: Image.Image, shown: str, *, colour: bool, known: hounsfield.GreyScale | None
) -> tuple[Pixels, float, str]:
    """Decode into levels of grey, the colour measure, and the scale, which may be `known`.

    Raises what Pillow raises, and UnreadableInputError.
    """
    if _has_luma(image):
        # Luminance is what such a file holds: to make colours of it and take them back costs as much as the rest.
        image.draft("L", image.size)
    image.load()
    image = _upright(image)
    if image.mode.startswith("I") or image.mode == "F":
        grey, scale = _deep_pixels(image, shown, known)
        return quantized(grey), 0.0, scale
    colourfulness = 0.0
    if image.mode not in ("1", "L", "LA"):
        image.info.pop("transparency", None)
        image = image if image.mode == "RGB" else image.convert("RGB")
        colourfulness = _colour(image) if colour else 0.0
    pixels: Pixels = np.asarray(image if image.mode == "L" else image.convert("L"))
    if known:
        pixels = quantized(hounsfield.windowed(known.hounsfield(pixels, 255)))
    return pixels, colourfulness, str(known or "")


def _jpeg_colour(content: bytes) -> float:
    """Colour of a JPEG of luminance and colour differences: of the rows that its first quarter holds, or of all.

    Made small on the way, and of a part, since a decoder spends its time on the data more than on the pixels.
    """
    for part in (content[: len(content) // 4] + _END_OF_JPEG, content):
        with contextlib.suppress(OSError, *DAMAGED), Image.open(io.BytesIO(part), formats=("JPEG", "MPO")) as image:
            image.draft("YCbCr", (image.width // 8, image.height // 8))
            red, green, blue = (np.asarray(channel) for channel in image.convert("RGB").split())
            differences = np.maximum(np.maximum(red, green), blue) - np.minimum(np.minimum(red, green), blue)
            # What the data did not reach is one middle grey; and a black margin, which has no colour, tells nothing.
            rows = (green != 128).any(axis=1) & (green > _BLACK).any(axis=1)
            # Progressive data holds all rows, with colour coming late.
            if part is content or (rows.any() and "progressive" not in image.info):
                return float(differences[rows].mean() / 255) if rows.any() else 0.0
    return 0.0


def _upright(image: Image.Image) -> Image.Image:
    """Turn a loaded picture as its EXIF orientation or XMP says (1 to 8); Pillow turns a TIFF while it loads it."""
    if not _EXIF_IN.intersection(image.info):
        return image
    with QUIET, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
        except (OSError, *DAMAGED):
            # What cannot be read turns nothing, and the picture is whole.
            return image
        return ImageOps.exif_transpose(image) if orientation in range(2, 9) else image


def _has_luma(image: Image.Image) -> bool:
    """Say whether a file holds luminance and colour differences: a JFIF file of three channels does, by definition."""
    return image.format in ("JPEG", "MPO") and image.mode == "RGB" and "jfif" in image.info


def _colour(image: Image.Image) -> float:
    # 64×64 of the pixels tell as much as all of them, for a tenth of the time.
    sample = np.asarray(image.resize((64, 64), Image.Resampling.NEAREST).convert("RGB"))
    channels = np.ascontiguousarray(sample.reshape(-1, 3).T)
    return float((channels.max(axis=0) - channels.min(axis=0)).mean() / 255)


def _deep_pixels(image: Image.Image, shown: str, known: hounsfield.GreyScale | None) -> tuple[Grey, str]:
    """Grey values, and their scale, of a picture with more than 8 bits a pixel, whichever way Pillow holds them."""
    values = np.asarray(image)
    if not np.isfinite(values).all():
        raise UnreadableInputError(f"cannot read {shown}: some of its values are no numbers", "export it again")
    if known:
        return hounsfield.windowed(known.hounsfield(values, 65_535)), str(known)
    tags: Any = getattr(image, "tag_v2", {})
    min_is_white = tags.get(_MIN_IS_WHITE_TAG) == 0
    offset = None if min_is_white else hounsfield.offset(values)
    if offset is not None:
        return hounsfield.windowed(values.astype(np.float32) - np.float32(offset)), hounsfield.scale_name(offset)
    if image.mode == "F" or values.min() < 0 or not _LEAST_OF_16_BITS <= values.max() <= 65_535:
        raise hounsfield.unknown_scale(shown, _SAY_SCALE)
    # Of the bits that are used: what is made 8 bits of a scale ten times as long would have ten times fewer levels.
    grey = values.astype(np.float32) / np.float32((1 << int(values.max()).bit_length()) - 1)
    return (1 - grey if min_is_white else grey), ""
