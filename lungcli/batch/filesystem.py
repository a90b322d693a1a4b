"""The edge to where archives and verdicts lie: a folder of this machine, or whatever Arrow or fsspec can open."""

import os
import re
import time
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from lungcli.batch.shards import File
from lungcli.core import paths
from lungcli.core.errors import LungcliError, NetworkError, UnreadableInputError, UsageError
from lungcli.imaging.dicom import HEAD
from lungcli.imaging.picture import MAX_BYTES, printable
from lungcli.predict import inputs

if TYPE_CHECKING:
    from pyarrow import fs

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
# What they store can be seen by others only when it is whole, and renaming would copy it.
_OBJECT_STORES = frozenset({"s3", "gcs", "abfs"})
_PAUSE = 2.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Location:
    """A folder: `shown` as typed, without passwords; `path` for the file system `fs`, which is None on this machine."""

    shown: str
    path: str
    fs: "fs.FileSystem | None" = None

    def named(self, name: str) -> str:
        """What to call a file in it, by its path in there."""
        return f"{self.shown.rstrip('/')}/{name}" if self.fs else str(Path(self.shown) / name)

    def within(self, name: str) -> str:
        """Where the file system finds it."""
        return f"{self.path.rstrip('/')}/{name}"


def is_remote(text: str) -> bool:
    """Say whether what was typed is a URI and no path of this machine."""
    return bool(_SCHEME.match(text)) and not text.startswith("file://")


def open_location(text: str) -> Location:
    """Return the folder that was typed: a path, or a URI such as `s3://bucket/folder`.

    Raises UsageError where nothing installed understands the URI, NetworkError where what it names cannot be reached.
    """
    if not is_remote(text):
        path = text.removeprefix("file://")
        return Location(shown=path, path=path)
    import pyarrow
    from pyarrow import fs

    parts = urlsplit(text)
    shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    # Arrow takes no spaces, and people don't write %20.
    uri = parts._replace(path=quote(parts.path, safe="/%+=:@,;~!$&'()*")).geturl()
    try:
        found, path = fs.FileSystem.from_uri(uri)
    except pyarrow.ArrowInvalid:
        found, path = _by_fsspec(text, shown)
    except OSError as error:
        raise NetworkError(f"cannot reach {shown}: {_reason(error)}", "check the name and the credentials") from error
    return Location(shown=shown, path=path, fs=found)


def files(place: Location) -> Iterator[File]:
    """Yield every file that is looked at, in no order; links to folders are passed over.

    Raises UnreadableInputError where there is no such folder or one in it can't be listed, NetworkError where the
    file system fails.
    """
    if place.fs is None:
        yield from _on_disk(place)
        return
    from pyarrow import fs

    try:
        found = place.fs.get_file_info(fs.FileSelector(place.path, recursive=True))
    except FileNotFoundError as error:
        raise UnreadableInputError(f"cannot read {place.shown}: there is no such folder", "check the name") from error
    except OSError as error:
        raise NetworkError(f"cannot list {place.shown}: {_reason(error)}", "check name and credentials") from error
    for info in found:
        name = info.path.removeprefix(place.path.rstrip("/") + "/")
        if info.type != fs.FileType.Directory and all(map(inputs.wanted, name.split("/"))):
            yield File(name=name, size=info.size or 0, changed=info.mtime_ns or 0)


def content(place: Location, name: str) -> Path | bytes:
    """Return a file of the archive: its path on this machine, or its bytes; of what is no picture the first alone.

    Raises UnreadableInputError where the file can't be read, NetworkError where nothing there can be reached.
    """
    if place.fs is None:
        return Path(place.named(name))
    try:
        return _fetched(place, name)
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            raise _unreadable(place, name, "there is no such file") from error
    time.sleep(_PAUSE)
    try:
        return _fetched(place, name)
    except OSError as error:
        # Where the place still answers, the fault is the file's.
        require_reachable(place)
        raise _unreadable(place, name, _reason(error)) from error


def require_reachable(place: Location) -> None:
    """Raise NetworkError where the file system of a place does not answer."""
    if place.fs:
        try:
            place.fs.get_file_info(place.path)
        except OSError as error:
            raise NetworkError(
                f"cannot reach {place.shown}: {_reason(error)}", "the same command goes on when it can be reached"
            ) from error


def list_names(place: Location) -> frozenset[str]:
    """Names of what lies directly in a folder; none where there is no such folder. Raises LungcliError."""
    try:
        if place.fs is None:
            path = Path(place.path)
            return frozenset(entry.name for entry in path.iterdir()) if path.is_dir() else frozenset()
        from pyarrow import fs

        found = place.fs.get_file_info(fs.FileSelector(place.path, allow_not_found=True))
    except OSError as error:
        raise LungcliError(f"cannot list {place.shown}: {_reason(error)}", "name another --output") from error
    return frozenset(info.base_name for info in found)


def read(place: Location, name: str) -> bytes:
    """Return the bytes of a file that was written here. Raises LungcliError."""
    try:
        if place.fs is None:
            return Path(place.within(name)).read_bytes()
        with place.fs.open_input_file(place.within(name)) as file:
            return bytes(file.read())
    except OSError as error:
        raise LungcliError(f"cannot read {place.named(name)}: {_reason(error)}", "name another --output") from error


def write(place: Location, name: str, written: bytes) -> None:
    """Write a file whole or not at all. Raises LungcliError."""
    if place.fs is None:
        paths.atomic_write(Path(place.within(name)), written)
        return
    final = place.within(name)
    # Readers of Parquet folders pass over what begins with a dot.
    first = final if place.fs.type_name in _OBJECT_STORES else place.within(f".{name}.{uuid.uuid4().hex}.partial")
    try:
        if first != final:
            place.fs.create_dir(place.path, recursive=True)
        with place.fs.open_output_stream(first) as file:
            file.write(written)
        if first != final:
            place.fs.move(first, final)
    except OSError as error:
        raise LungcliError(
            f"cannot write {place.named(name)}: {_reason(error)}", "name another --output; what is written is kept"
        ) from error


def remove_partial(place: Location) -> None:
    """Delete what killed processes left half-written in a folder of this machine; elsewhere nobody can tell."""
    if place.fs is None:
        paths.remove_partial(Path(place.path))


def remove(place: Location, gone: Iterable[str]) -> None:
    """Remove files that were written here. Raises LungcliError."""
    for name in gone:
        try:
            if place.fs is None:
                Path(place.within(name)).unlink(missing_ok=True)
            else:
                place.fs.delete_file(place.within(name))
        except OSError as error:
            raise LungcliError(f"cannot remove {place.named(name)}: {_reason(error)}", "remove it by hand") from error


def _by_fsspec(text: str, shown: str) -> "tuple[fs.FileSystem, str]":
    """Open a URI that Arrow does not know."""
    from pyarrow import fs

    hint = "Arrow knows s3, gs, abfs and hdfs; for others install the fsspec file system that has it"
    try:
        import fsspec

        found, path = fsspec.url_to_fs(text)
    except ImportError as error:
        raise UsageError(f"nothing installed can open {shown}", f"{hint}: {printable(str(error))}") from error
    except ValueError as error:
        raise UsageError(f"cannot open {shown}: {_reason(error)}", hint) from error
    return fs.PyFileSystem(fs.FSSpecHandler(found)), path


def _on_disk(place: Location) -> Iterator[File]:
    root = Path(place.path)
    if not root.is_dir():
        raise UnreadableInputError(
            f"cannot read {place.shown}: there is no such folder", "--engine ray judges a folder or a URI"
        )
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(root / folder) as entries:
                for entry in filter(lambda entry: inputs.wanted(entry.name), entries):
                    name = f"{folder}/{entry.name}" if folder else entry.name
                    if not entry.is_dir():
                        yield _file(entry, name)
                    # A link to a folder may lead back to where it lies.
                    elif not entry.is_symlink():
                        waiting.append(name)
        except OSError as error:
            raise UnreadableInputError(
                f"cannot list a folder in {place.shown}: {_reason(error)}", "make all folders readable"
            ) from error


def _file(entry: os.DirEntry[str], name: str) -> File:
    try:
        found = entry.stat()
    except OSError:
        # A link to nowhere: reading it says so.
        return File(name=name, size=0, changed=0)
    return File(name=name, size=found.st_size, changed=found.st_mtime_ns)


def _fetched(place: Location, name: str) -> bytes:
    if place.fs is None:
        return Path(place.named(name)).read_bytes()
    with place.fs.open_input_file(place.within(name)) as file:
        size = file.size()
        head = b"" if inputs.is_picture(name, b"") else bytes(file.read(HEAD))
        if head and not inputs.is_picture(name, head):
            return head
        if size > MAX_BYTES:
            raise _unreadable(place, name, "it is larger than 1 GiB")
        return head + bytes(file.read())


def _unreadable(place: Location, name: str, why: str) -> UnreadableInputError:
    return UnreadableInputError(f"cannot read {place.named(name)}: {why}", "check the file")


def _reason(error: Exception) -> str:
    """What a file system says, in one line and without the request's number, which is another each time."""
    said = getattr(error, "strerror", None) or str(error)
    return printable(re.sub(r"\s*\(Request ID: [^)]*\)", "", said.partition("\n")[0])).strip() or type(error).__name__
