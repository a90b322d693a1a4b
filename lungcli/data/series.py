"""The slices of a folder in the order in which a reader would leaf through them."""

import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from lungcli.core.names import natural
from lungcli.data.layout import may_be_picture
from lungcli.data.read import DICOM_SUFFIXES

# Tags that place a slice, and no others, are read: none of them tells who it is.
_TAGS = ["SeriesInstanceUID", "InstanceNumber"]
_MAGIC_AT, _MAGIC = 128, b"DICM"

Key = tuple[str, str, int, tuple[str | int, ...]]


def in_order(files: Iterable[Path]) -> list[Path]:
    """Sort the pictures among `files`: folder by folder, DICOM by series and instance number, others by name.

    Files that cannot be slices by their name are left out.
    """
    return sorted((path for path in files if may_be_picture(PurePosixPath(path.name))), key=_key)


def files_in(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder and its subfolders, `slice 2` before `slice 10`, hidden ones left out."""
    for item in sorted(folder.iterdir(), key=lambda path: natural(path.name)):
        if item.name.startswith("."):
            continue
        if item.is_dir():
            # A link to a folder may lead back to where it lies.
            if not item.is_symlink():
                yield from files_in(item)
        else:
            yield item


def _key(path: Path) -> Key:
    series, number = _place(path) if _is_dicom(path) else ("", 0)
    return (str(path.parent), series, number, natural(path.name))


def _is_dicom(path: Path) -> bool:
    if path.suffix.lower() in DICOM_SUFFIXES:
        return True
    if path.suffix.strip(".0123456789"):
        return False
    try:
        with path.open("rb") as file:
            return file.read(_MAGIC_AT + len(_MAGIC))[_MAGIC_AT:] == _MAGIC
    except OSError:
        return False


def _place(path: Path) -> tuple[str, int]:
    """Series and instance number of a DICOM file; nothing where it does not tell, or cannot be read."""
    import pydicom
    from pydicom.errors import BytesLengthException, InvalidDicomError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = pydicom.dcmread(path, force=True, stop_before_pixels=True, specific_tags=_TAGS)
            return str(found.get("SeriesInstanceUID", "")), int(found.get("InstanceNumber") or 0)
    except (
        BytesLengthException,
        InvalidDicomError,
        OSError,
        NotImplementedError,
        ValueError,
        TypeError,
        AttributeError,
        LookupError,
    ):
        return "", 0
