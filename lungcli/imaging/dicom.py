"""DICOM as scanners and archives write it: what a header says of a slice, and pixels as Hounsfield units in a window.

Nothing that a tag holds gets into a message.
"""

import contextlib
import io
import math
import struct
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lungcli.core.errors import UnreadableInputError
from lungcli.imaging import dicom_decoder, jpeg_header, privacy
from lungcli.imaging.picture import DAMAGED, DICOM_SUFFIXES, QUIET, Grey, Picture, check_size, content_of, damaged

if TYPE_CHECKING:
    from pydicom.dataset import Dataset, FileDataset

# Centre -600 HU and width 1500 HU, the usual lung window.
WINDOW_LOW = -1350.0
WINDOW_WIDTH = 1500.0
AIR = -1000.0

HEAD = 132
MAX_FRAMES = 4096
# One data set of the largest slice, 64 million pixels of 16 bits, and its tags.
MAX_INFLATED = 192 << 20

# Gantries tilt by up to 30°, and the cosine of that is .87.
_AXIAL = 0.8
_DEFLATED = "1.2.840.10008.1.2.1.99"
_LONG = (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")
_SORTED_BY = ("SeriesInstanceUID", "ImagePositionPatient", "ImageOrientationPatient", "SliceLocation", "InstanceNumber")
_HEADER = (*privacy.TAGS, *_SORTED_BY, "NumberOfFrames", "SpecificCharacterSet")
_PATIENT_ENDS = 0x00110000


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What is to be known of a DICOM file before its pixels.

    `series` is its SeriesInstanceUID; `place` sorts slices of a series along its axis, from feet to head where they
    are axial; `frames` as it claims; `patient` are the words that name the patient, see `privacy.hidden`.
    `complete` is false where the header is damaged and only the beginning could be read.
    """

    series: str = ""
    place: tuple[float, float] = (math.inf, math.inf)
    frames: int = 1
    patient: frozenset[str] = frozenset()
    complete: bool = True


def is_dicom(head: bytes, name: str) -> bool:
    """Tell a DICOM file by its first 132 bytes, or by its name where it came without a preamble."""
    return head[128:132] == b"DICM" or Path(name).suffix.lower() in DICOM_SUFFIXES


def header(source: Path | bytes) -> Header:
    """Read the header of a DICOM file, in about a millisecond. Never fails: see `Header.complete`."""
    with _without_warnings():
        try:
            return _header_of(_dataset(source, header_only=True))
        except _damage(UnreadableInputError):
            return Header(patient=_patient_at_least(source), complete=False)


def read_dicom(content: bytes, shown: str) -> Picture:
    """Read a file of one frame; messages call it `shown`. Raises UnreadableInputError."""
    dataset = opened(content, shown)
    if _frames(dataset) > 1:
        raise UnreadableInputError(
            f"cannot read {shown}: it holds more than one frame",
            "`lungcli predict` judges every frame; elsewhere, export each slice as its own file",
        )
    return read_frame(dataset, 0, shown)


def opened(source: Path | bytes, shown: str) -> "FileDataset":
    """Read the data set of a file that messages call `shown`, its pixels still encoded. Raises UnreadableInputError.

    Frames are as many as it claims, at most 4,096, and each of them is there.
    """
    content = source if isinstance(source, bytes) else content_of(source, shown)
    with _without_warnings():
        try:
            dataset = _dataset(content, header_only=False)
            why_not = _unusable(dataset)
            width, height = (0, 0) if why_not else (int(dataset.Columns), int(dataset.Rows))
        except _damage() as error:
            raise damaged(shown) from error
        if why_not:
            raise UnreadableInputError(f"cannot read {shown}: {why_not}", "export one CT slice as DICOM or PNG")
        check_size(width, height, shown)
        try:
            _name_encoding(dataset)
            _require_pixels(dataset, shown)
        except _damage() as error:
            raise _undecodable(shown) from error
    return dataset


def places(dataset: "FileDataset") -> list[tuple[float, float]]:
    """Where each frame lies, as `Header.place`, in the order they are stored in."""
    with _without_warnings():
        try:
            return [_place(dataset, frame) for frame in range(_frames(dataset))]
        except _damage():
            return [(math.inf, float(frame)) for frame in range(_frames(dataset))]


def read_frame(dataset: "FileDataset", frame: int, shown: str) -> Picture:
    """Decode one frame of what `opened` gave: Hounsfield units in the lung window. Raises UnreadableInputError."""
    with _without_warnings():
        try:
            why_not = _no_axial_slice(dataset, frame)
            if not why_not:
                stored = _whole(dataset, dicom_decoder.decoded(dataset, frame))
                grey = _windowed(dataset, frame, stored.astype(np.float32))
        except _damage() as error:
            raise _undecodable(shown) from error
    if why_not:
        raise UnreadableInputError(f"cannot read {shown}: {why_not}", "choose the axial slices of the scan")
    if grey.shape != (int(dataset.Rows), int(dataset.Columns)) or not np.isfinite(grey).all():
        raise damaged(shown)
    return Picture(grey=grey, size=(grey.shape[1], grey.shape[0]), kind="dicom")


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
    """Keep pydicom's warnings, which quote the values of tags, to itself."""
    with QUIET, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _dataset(source: Path | bytes, *, header_only: bool) -> "FileDataset":
    """Parse a file. Raises what pydicom raises, and ValueError where it would inflate to more than a slice."""
    import pydicom

    head = source[:4096] if isinstance(source, bytes) else _head(source, 4096)
    force = head[128:132] != b"DICM"
    tags = list(_HEADER) if header_only else None
    ends, syntax = (0, "") if force else _meta(head)
    if syntax == _DEFLATED:
        content = source if isinstance(source, bytes) else content_of(source, "")
        inflated = _inflated(content[ends:])
        return pydicom.dcmread(io.BytesIO(inflated), force=True, stop_before_pixels=header_only, specific_tags=tags)
    file = io.BytesIO(source) if isinstance(source, bytes) else source
    return pydicom.dcmread(file, force=force, stop_before_pixels=header_only, specific_tags=tags)


def _damage(*others: type[Exception]) -> tuple[type[Exception], ...]:
    """What reading a damaged file raises, and `others`; asked for only then, since pydicom is slow to import."""
    from pydicom.errors import BytesLengthException, InvalidDicomError

    return (*others, OSError, BytesLengthException, InvalidDicomError, *DAMAGED)


def _head(path: Path, count: int) -> bytes:
    with path.open("rb") as file:
        return file.read(count)


def _meta(head: bytes) -> tuple[int, str]:
    """Where the file meta information ends, and the transfer syntax it names (PS3.10, section 7.1)."""
    at, syntax = HEAD, ""
    while head[at : at + 2] == b"\x02\x00":
        kind, element = head[at + 4 : at + 6], head[at + 2 : at + 4]
        start = at + (12 if kind in _LONG else 8)
        (length,) = struct.unpack("<I" if kind in _LONG else "<H", head[start - (4 if kind in _LONG else 2) : start])
        if element == b"\x10\x00":
            syntax = head[start : start + length].decode("ascii", "replace").rstrip("\0 ")
        at = start + length
    return at, syntax


def _inflated(deflated: bytes) -> bytes:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = inflater.decompress(deflated, MAX_INFLATED)
    if inflater.unconsumed_tail:
        raise ValueError("inflates to more than one slice")
    return inflated


def _header_of(dataset: "FileDataset") -> Header:
    return Header(
        series=str(getattr(dataset, "SeriesInstanceUID", None) or ""),
        place=_place(dataset, 0),
        frames=_frames(dataset),
        patient=privacy.words_of(dataset),
    )


def _patient_at_least(source: Path | bytes) -> frozenset[str]:
    """Words that name the patient, from as much of a damaged header as can be read."""
    from pydicom.filereader import read_partial

    content = source[:65_536] if isinstance(source, bytes) else b""
    try:
        with io.BytesIO(content or (_head(source, 65_536) if isinstance(source, Path) else b"")) as file:
            return privacy.words_of(read_partial(file, lambda tag, *_: tag >= _PATIENT_ENDS, force=True))
    except _damage():
        return frozenset()


def _frames(dataset: "FileDataset") -> int:
    return int(getattr(dataset, "NumberOfFrames", None) or 1)


def _of_frame(dataset: "Dataset", frame: int, sequence: str, name: str) -> Any:
    """Return a tag of one frame: its own, or that all frames share (PS3.3 C.7.6.16), or that of the file; or None."""
    own = getattr(dataset, "PerFrameFunctionalGroupsSequence", None) or []
    shared = getattr(dataset, "SharedFunctionalGroupsSequence", None) or []
    for group in (*own[frame : frame + 1], *shared[:1]):
        for item in (getattr(group, sequence, None) or [])[:1]:
            if (found := getattr(item, name, None)) is not None:
                return found
    return getattr(dataset, name, None)


def _place(dataset: "FileDataset", frame: int) -> tuple[float, float]:
    """Sort key of a slice: its distance along the normal of its plane (PS3.3 C.7.6.2.1.1), then its number."""
    position = _numbers(_of_frame(dataset, frame, "PlanePositionSequence", "ImagePositionPatient"), 3)
    normal = _normal(dataset, frame)
    along = _numbers([getattr(dataset, "SliceLocation", None)], 1)
    number = _numbers([getattr(dataset, "InstanceNumber", None)], 1)
    where = math.inf
    if position and normal:
        where = sum(a * b for a, b in zip(position, normal, strict=True))
    elif position or along:
        where = (position or along)[-1]
    return where, number[0] + frame if number else float(frame)


def _normal(dataset: "FileDataset", frame: int) -> tuple[float, ...]:
    """Unit normal of the plane of a slice, towards the head where it is axial; empty where the file doesn't say."""
    found = _numbers(_of_frame(dataset, frame, "PlaneOrientationSequence", "ImageOrientationPatient"), 6)
    if not found:
        return ()
    (a, b, c), (d, e, f) = found[:3], found[3:]
    normal = (b * f - c * e, c * d - a * f, a * e - b * d)
    length = math.hypot(*normal)
    if not length:
        return ()
    turned = -length if normal[2] < 0 else length
    return tuple(value / turned for value in normal)


def _numbers(value: Any, count: int) -> tuple[float, ...]:
    """Return `value` as so many finite numbers; empty where it is anything else."""
    try:
        found = tuple(float(item) for item in value)
    except (TypeError, ValueError):
        return ()
    return found if len(found) == count and all(map(math.isfinite, found)) else ()


def _unusable(dataset: "FileDataset") -> str:
    """Say why a DICOM data set holds no grey CT slices; empty when it does."""
    if "PixelData" not in dataset or "Rows" not in dataset or "Columns" not in dataset:
        return "it holds no pixels, or is cut off"
    if int(getattr(dataset, "SamplesPerPixel", None) or 1) > 1:
        return "it is in colour"
    if getattr(dataset, "PhotometricInterpretation", "") not in ("MONOCHROME1", "MONOCHROME2"):
        return "it is not grey"
    if getattr(dataset, "Modality", "CT") not in ("CT", "", None):
        return "it is not a CT slice"
    if _frames(dataset) > MAX_FRAMES:
        return f"it claims more than {MAX_FRAMES:,} frames"
    return ""


def _no_axial_slice(dataset: "FileDataset", frame: int) -> str:
    """Say why a frame is no axial slice by what the header tells; empty when it may be one."""
    kinds = [getattr(dataset, "ImageType", None), _of_frame(dataset, frame, "CTImageFrameTypeSequence", "FrameType")]
    told = [str(kind) for each in kinds if each for kind in ([each] if isinstance(each, str) else each)]
    if "LOCALIZER" in told:
        return "it is a localizer, not an axial slice"
    normal = _normal(dataset, frame)
    if not normal or abs(normal[2]) >= _AXIAL:
        return ""
    steepest = max(range(3), key=lambda axis: abs(normal[axis]))
    plane = ("sagittal", "coronal", "oblique")[steepest] if abs(normal[steepest]) >= _AXIAL else "oblique"
    return f"it lies in {'an' if plane == 'oblique' else 'a'} {plane} plane, not an axial one"


def _require_pixels(dataset: "FileDataset", shown: str) -> None:
    """Check that every frame is there and as large as the header says, before any is decoded.

    Raises UnreadableInputError where a library is missing, ValueError where the file lies.
    """
    from pydicom import encaps
    from pydicom.pixels import get_decoder

    syntax = dataset.file_meta.TransferSyntaxUID
    frames, raw = _frames(dataset), int(dataset.Rows) * int(dataset.Columns) * (int(dataset.BitsAllocated) // 8)
    if not syntax.is_encapsulated:
        if len(dataset.PixelData) < frames * raw:
            raise ValueError("fewer pixels than it claims")
        return
    if not get_decoder(syntax).is_available:
        raise UnreadableInputError(
            f"cannot read {shown}: its pixels are compressed as {syntax.name.partition(',')[0]}, which needs a library",
            "install it with: pip install 'lungcli[dicom-codecs]'; or export the slice uncompressed",
        )
    found = 0
    for encoded in encaps.generate_frames(dataset.PixelData, number_of_frames=frames):
        found += 1
        jpeg_header.require(encoded, (int(dataset.Columns), int(dataset.Rows)), raw)
    if found < frames:
        raise ValueError("fewer frames than it claims")


def _undecodable(shown: str) -> UnreadableInputError:
    return UnreadableInputError(
        f"cannot read {shown}: its pixels are damaged or compressed in an unknown way",
        "export it uncompressed (Explicit VR Little Endian) or as PNG",
    )


def _name_encoding(dataset: "FileDataset") -> None:
    """Give a data set that came without a file header the uncompressed encoding it was found to have."""
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit, little = dataset.original_encoding
        explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit


def _whole(dataset: "FileDataset", stored: NDArray[np.generic]) -> NDArray[np.integer]:
    """Stored values as they are meant: of `BitsStored` bits that end at `HighBit`, whatever lies in the others."""
    whole = np.asarray(stored).astype(np.int32)
    bits = int(getattr(dataset, "BitsStored", None) or dataset.BitsAllocated)
    if not 1 <= bits <= 16 or dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        return whole
    spare = int(getattr(dataset, "HighBit", bits - 1)) + 1 - bits
    whole = (whole >> max(0, spare)) & ((1 << bits) - 1)
    if int(dataset.PixelRepresentation) == 1:
        whole -= (whole >> (bits - 1)) << bits
    return whole


def _windowed(dataset: "FileDataset", frame: int, values: NDArray[np.float32]) -> Grey:
    """Stored values as Hounsfield units (PS3.3 C.11.1.1.2) in the lung window; padding becomes air."""
    slope = _of_frame(dataset, frame, "PixelValueTransformationSequence", "RescaleSlope")
    intercept = _of_frame(dataset, frame, "PixelValueTransformationSequence", "RescaleIntercept")
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
