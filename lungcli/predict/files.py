"""A file of a listing, wherever it lies: on this machine, in memory, or in a .zip file."""

import contextlib
import functools
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lungcli.datasets.ingest import safe_zip
from lungcli.imaging import dicom

_DAMAGED_IN_ZIP = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, OSError, ValueError)


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file: its path as typed, and how to come by its first bytes and all of it."""

    path: str
    head: Callable[[], bytes]
    get: Callable[[], Path | bytes]


def on_disk(*parts: str | Path) -> File:
    """A file of this machine, by the parts of its path."""
    path = Path(*parts)
    # A name alone stays as it was typed.
    name = str(path if len(parts) > 1 else parts[0])
    return File(path=name, head=functools.partial(first_bytes, path), get=lambda: path)


def first_bytes(path: Path, count: int = dicom.HEAD) -> bytes:
    """First bytes of a file. What is no file, and what can't be opened, has none; reading it says why."""
    # A pipe would not give its first bytes twice.
    if path.is_file():
        with contextlib.suppress(OSError), path.open("rb", buffering=0) as file:
            return file.read(count)
    return b""


def of_source(name: str, source: Path | bytes) -> File:
    """A file of a listing, which is called `name`: on this machine, or as bytes."""
    return on_disk(name) if isinstance(source, Path) else in_memory(name, source)


def in_memory(name: str, content: bytes) -> File:
    """A file that came as bytes."""
    return File(path=name, head=lambda: content[: dicom.HEAD], get=lambda: content)


def in_zip(archive: zipfile.ZipFile, item: zipfile.ZipInfo, path: Path) -> File:
    """A member of the .zip file at `path`."""

    def head() -> bytes:
        # What is damaged says so when it is read as a whole.
        with contextlib.suppress(*_DAMAGED_IN_ZIP), archive.open(item) as file:
            return file.read(dicom.HEAD)
        return b""

    return File(path=str(path / item.filename), head=head, get=functools.partial(safe_zip.read_member, archive, item))
