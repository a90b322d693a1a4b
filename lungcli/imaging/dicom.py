"""DICOM as scanners and archives write it: what a header says of a slice, and pixels as Hounsfield units in a window.

Nothing that a tag holds gets into a message.
"""

import contextlib
import io
import struct
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from lungcli.core import paths
from lungcli.core.errors import UnreadableInputError
from lungcli.imaging import body_region, dicom_content, dicom_decoder, dicom_tags, hounsfield, jpeg_header, privacy
from lungcli.imaging.picture import (
    DAMAGED,
    DICOM_SUFFIXES,
    MAX_SLICE_BYTES,
    QUIET,
    Picture,
    TooMuchError,
    check_size,
    content_of,
    damaged,
    quantized,
)

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset

HEAD = 132
# Times that pydicom reads on: once or twice an element. Headers of 4,096 frames have 250,000 elements; a file of
# 10 MB has room for a million that are empty, which take 4 s twice.
MAX_READS = 1_500_000

_DEFLATED = "1.2.840.10008.1.2.1.99"
_UNCOMPRESSED = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2")
_LONG = (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")
_SORTED_BY = ("SeriesInstanceUID", "ImagePositionPatient", "ImageOrientationPatient", "SliceLocation", "InstanceNumber")
_FRAMES = ("NumberOfFrames", "PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence")
_KIND = ("SOPClassUID", "Modality")
_HEADER = (*privacy.TAGS, *_SORTED_BY, *_FRAMES, *_KIND, "SpecificCharacterSet")
_PATIENT_ENDS = 0x00110000
# What begins a picture, which some archives call .dcm.
PICTURE_MAGIC = (b"\x89PNG", b"\xff\xd8\xff", b"II*\0", b"MM\0*", b"BM")
_EXPORT = "export one CT slice as DICOM or PNG"


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What is to be known of a DICOM file before its pixels.

    `series` is its SeriesInstanceUID; `place` sorts slices of a series along its axis, from feet to head where they
    are axial; `frames` as it claims; `patient` are the words that name the patient, see `privacy.hidden`.
    `no_picture` names the kind of object where that kind holds no picture, such as `RT Structure Set`.
    `complete` is false where the header is damaged and only the beginning could be read.
    """

    series: str = ""
    place: tuple[float, float] = (dicom_tags.UNKNOWN_PLACE, dicom_tags.UNKNOWN_PLACE)
    frames: int = 1
    patient: frozenset[str] = frozenset()
    no_picture: str = ""
    complete: bool = True


def is_dicom(head: bytes, name: str) -> bool:
    """Tell a DICOM file by its first 132 bytes, or by its name where it came without a preamble."""
    named = Path(name).suffix.lower() in DICOM_SUFFIXES
    return head[128:132] == b"DICM" or (named and not head.startswith(PICTURE_MAGIC))


def is_uncompressed(content: bytes) -> bool:
    """Say whether the pixels of a DICOM file are stored as they are, by its file meta information."""
    try:
        return content[128:132] != b"DICM" or _meta(content)[1] in _UNCOMPRESSED
    except struct.error:
        return False


def header(source: Path | bytes) -> Header:
    """Read the header of a DICOM file, in about a millisecond. Never fails: see `Header.complete`."""
    with _without_warnings():
        try:
            return _header_of(_dataset(source, header_only=True))
        except _damage():
            return Header(patient=_patient_at_least(source), complete=False)


def read_dicom(content: bytes, shown: str) -> Picture:
    """Read a file of one frame; messages call it `shown`. Raises UnreadableInputError."""
    dataset = opened(content, shown)
    if dicom_tags.frame_count(dataset) > 1:
        raise UnreadableInputError(
            f"cannot read {shown}: it holds more than one frame",
            "`lungcli predict` reads every frame; elsewhere, export each slice as its own file",
        )
    return read_frame(dataset, 0, shown)


def opened(source: Path | bytes, shown: str) -> "FileDataset":
    """Read the data set of a file that messages call `shown`, its pixels still encoded. Raises UnreadableInputError.

    Frames are as many as it claims, at most 4,096, and each of them is there. Tags that slices need and some scanners
    leave out are filled in.
    """
    content = source if isinstance(source, bytes) else content_of(source, shown)
    with _without_warnings():
        try:
            dataset = _dataset(content, header_only=False)
            _name_encoding(dataset)
            why_not = dicom_content.unusable(dataset)
            width, height = (0, 0) if why_not else (int(dataset.Columns), int(dataset.Rows))
        except _damage() as error:
            raise damaged(shown, error) from error
        if why_not:
            raise UnreadableInputError(f"cannot read {shown}: {why_not}", _EXPORT)
        check_size(width, height, shown)
        try:
            _require_pixels(dataset, shown)
        except _damage() as error:
            raise _undecodable(shown, error) from error
    return dataset


def places(dataset: "FileDataset") -> list[tuple[float, float]]:
    """Where each frame lies, as `Header.place`, in the order they are stored in."""
    frames = range(dicom_tags.frame_count(dataset))
    with _without_warnings():
        try:
            return [dicom_tags.place(dataset, frame) for frame in frames]
        except _damage():
            return [(dicom_tags.UNKNOWN_PLACE, float(frame)) for frame in frames]


def read_frame(dataset: "FileDataset", frame: int, shown: str) -> Picture:
    """Decode one frame of what `opened` gave: Hounsfield units in the lung window. Raises UnreadableInputError."""
    with _without_warnings():
        try:
            why_not = dicom_content.not_axial(dataset, frame)
            if not why_not:
                stored = hounsfield.stored_values(dataset, dicom_decoder.decoded(dataset, frame))
                grey, scale = hounsfield.read(dataset, frame, stored, shown)
                region = body_region.elsewhere(dataset)
        except _damage() as error:
            raise _undecodable(shown, error) from error
    if why_not:
        raise UnreadableInputError(f"cannot read {shown}: {why_not}", "choose the axial slices of the scan")
    if grey.shape != (int(dataset.Rows), int(dataset.Columns)) or not np.isfinite(grey).all():
        raise damaged(shown)
    return Picture(
        pixels=quantized(grey), size=(grey.shape[1], grey.shape[0]), kind="dicom", region=region, scale=scale
    )


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
    """Keep pydicom's warnings, which quote the values of tags, to itself."""
    with QUIET, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _dataset(source: Path | bytes, *, header_only: bool) -> "FileDataset":
    """Parse a file, of a path no more than is asked for. Raises what pydicom raises, and TooMuchError.

    The last is for what would inflate to more than a slice, or has more elements, or more items in sequences, than many
    frames need: 8 MB of empty items took 31 s.
    """
    dicom_decoder.load_pydicom()
    import pydicom

    tags = list(_HEADER) if header_only else None
    with contextlib.ExitStack() as stack:
        file: BinaryIO = (
            io.BytesIO(source) if isinstance(source, bytes) else stack.enter_context(paths.open_regular(source))
        )
        head = file.read(4096)
        force = head[128:132] != b"DICM"
        ends, syntax = (0, "") if force else _meta(head)
        file.seek(0)
        if syntax == _DEFLATED:
            file.seek(ends)
            file, force = io.BytesIO(_inflated(file.read(MAX_SLICE_BYTES))), True
        counted = _Counted(file)
        try:
            return pydicom.dcmread(counted, force=force, stop_before_pixels=header_only, specific_tags=tags)
        except _damage() as error:
            # pydicom turns what ends the reading of an item into an error of its own.
            raise counted.too_much or error from error


class _Counted:
    """A file that raises TooMuchError where it is read too often, or gives too many items of sequences."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._reads = self._items = 0
        self.seek, self.tell = file.seek, file.tell
        self.too_much: TooMuchError | None = None

    def read(self, size: int = -1) -> bytes:
        content = self._file.read(size)
        self._reads += 1
        self._items += content[:4] in dicom_tags.ITEMS
        if self._reads > MAX_READS:
            self.too_much = TooMuchError("it has hundreds of thousands of elements")
        elif self._items > dicom_tags.MAX_ITEMS:
            self.too_much = dicom_tags.too_many_items()
        if self.too_much:
            raise self.too_much
        return content


def _damage() -> tuple[type[Exception], ...]:
    """What reading a damaged file raises; asked for only then, since pydicom is slow to import."""
    from pydicom.errors import BytesLengthException, InvalidDicomError

    return (OSError, BytesLengthException, InvalidDicomError, *DAMAGED)


def _head(path: Path, count: int) -> bytes:
    with paths.open_regular(path) as file:
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
    inflated = inflater.decompress(deflated, MAX_SLICE_BYTES)
    if inflater.unconsumed_tail:
        raise TooMuchError(f"it inflates to more than {MAX_SLICE_BYTES >> 20} MiB")
    return inflated


def _header_of(dataset: "FileDataset") -> Header:
    return Header(
        series=str(dicom_tags.value(dataset, "SeriesInstanceUID") or ""),
        place=dicom_tags.place(dataset, 0),
        frames=dicom_tags.frame_count(dataset),
        patient=privacy.words_of(dataset),
        no_picture=dicom_content.no_picture(dataset),
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


def _require_pixels(dataset: "FileDataset", shown: str) -> None:
    """Check that every frame is there and as large as the header says, before any is decoded.

    Raises UnreadableInputError where nothing here decodes them, ValueError where the file lies.
    """
    from pydicom import encaps

    syntax = dataset.file_meta.TransferSyntaxUID
    frames = dicom_tags.frame_count(dataset)
    raw = int(dataset.Rows) * int(dataset.Columns) * (int(dataset.BitsAllocated) // 8)
    if not syntax.is_encapsulated:
        if len(dataset.PixelData) < frames * raw:
            raise ValueError("fewer pixels than it claims")
        return
    dicom_tags.require_few_items(dataset.PixelData)
    count = 0
    for encoded in encaps.generate_frames(dataset.PixelData, number_of_frames=frames):
        count += 1
        if package := dicom_decoder.missing_codec(str(syntax), encoded):
            raise _not_decoded(shown, "" if syntax.is_private else syntax.name.partition(",")[0], package)
        jpeg_header.require(encoded, (int(dataset.Columns), int(dataset.Rows)), raw)
    if count < frames:
        raise ValueError("fewer frames than it claims")


def _not_decoded(shown: str, compression: str, package: str) -> UnreadableInputError:
    """The error of pixels that no decoder here reads; `package` is `unknown`, or what would bring one."""
    how = f"compressed as {compression}" if compression else "compressed in an unknown way"
    if package == "unknown":
        return UnreadableInputError(
            f"cannot read {shown}: its pixels are {how}, which nothing here decodes",
            "export it uncompressed (Explicit VR Little Endian) or as PNG",
        )
    return UnreadableInputError(
        f"cannot read {shown}: its pixels are {how}, which needs {package}",
        f"install it with: pip install {package}; or export the slice uncompressed",
    )


def _undecodable(shown: str, error: Exception) -> UnreadableInputError:
    if isinstance(error, TooMuchError):
        return damaged(shown, error)
    return UnreadableInputError(
        f"cannot read {shown}: its pixels are damaged or cut off",
        "copy it again, or export it uncompressed (Explicit VR Little Endian) or as PNG",
    )


def _name_encoding(dataset: "FileDataset") -> None:
    """Give a data set that came without a file header the uncompressed encoding it was found to have."""
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit, little = dataset.original_encoding
        explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
