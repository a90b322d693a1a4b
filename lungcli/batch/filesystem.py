"""The file systems of archives and predictions: folders of this machine, and URIs that Arrow or fsspec can open."""

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
# Objects in these stores become visible only when whole, and renaming would copy them.
_OBJECT_STORES = frozenset({"s3", "gcs", "abfs"})
_PAUSE = 2.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Location:
    """A folder: `shown` as typed, without passwords; `path` for the file system `fs`, which is None on this machine."""

    shown: str
    path: str
    fs: "fs.FileSystem | None" = None

    def named(self, name: str) -> str:
        """The name to show for a file in it, given its relative path."""
        return f"{self.shown.rstrip('/')}/{name}" if self.fs else str(Path(self.shown) / name)

    def within(self, name: str) -> str:
        """The path of a file in it for the file system."""
        return f"{self.path.rstrip('/')}/{name}"


def open_location(text: str) -> Location:
    """Return the folder that `text` names: a path, or a URI such as `s3://bucket/folder`.

    Raises UsageError where nothing installed supports the URI, NetworkError where it cannot be reached.
    """
    if not _SCHEME.match(text) or text.startswith("file://"):
        path = text.removeprefix("file://")
        return Location(shown=path, path=path)
    import pyarrow
    from pyarrow import fs

    parts = urlsplit(text)
    shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    # Arrow rejects spaces, and people do not type %20.
    uri = parts._replace(path=quote(parts.path, safe="/%+=:@,;~!$&'()*")).geturl()
    try:
        file_system, path = fs.FileSystem.from_uri(uri)
    except pyarrow.ArrowInvalid:
        file_system, path = _by_fsspec(text, shown)
    except OSError as error:
        raise NetworkError(f"cannot reach {shown}: {_reason(error)}", "check the name and the credentials") from error
    return Location(shown=shown, path=path, fs=file_system)


def files(location: Location) -> Iterator[File]:
    """Yield every file that may be predicted, in no order; links to folders are skipped.

    Raises UnreadableInputError where there is no such folder or one in it can't be listed, NetworkError where the
    file system fails.
    """
    if location.fs is None:
        yield from _on_disk(location)
        return
    from pyarrow import fs

    try:
        infos = location.fs.get_file_info(fs.FileSelector(location.path, recursive=True))
    except FileNotFoundError as error:
        raise UnreadableInputError(
            f"cannot read {location.shown}: there is no such folder", "check the name"
        ) from error
    except OSError as error:
        raise NetworkError(f"cannot list {location.shown}: {_reason(error)}", "check name and credentials") from error
    for info in infos:
        name = info.path.removeprefix(location.path.rstrip("/") + "/")
        if info.type != fs.FileType.Directory and all(map(inputs.wanted, name.split("/"))):
            yield File(name=name, size=info.size or 0, changed=info.mtime_ns or 0)


def content(location: Location, name: str) -> Path | bytes:
    """Return a file of the archive: its path on this machine, or its bytes; for a non-picture, only the first bytes.

    Raises UnreadableInputError where the file cannot be read, NetworkError where the file system cannot be reached.
    """
    if location.fs is None:
        return Path(location.named(name))
    try:
        return _fetched(location, location.fs, name)
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            raise _unreadable(location, name, "there is no such file") from error
    time.sleep(_PAUSE)
    try:
        return _fetched(location, location.fs, name)
    except OSError as error:
        # If the file system still answers, the file is at fault.
        require_reachable(location)
        raise _unreadable(location, name, _reason(error)) from error


def require_reachable(location: Location) -> None:
    """Raise NetworkError where the file system of a location does not answer."""
    if location.fs:
        try:
            location.fs.get_file_info(location.path)
        except OSError as error:
            raise NetworkError(
                f"cannot reach {location.shown}: {_reason(error)}", "the same command resumes when it can be reached"
            ) from error


def list_names(location: Location) -> frozenset[str]:
    """Names of the entries of a folder; none where there is no such folder. Raises LungcliError."""
    try:
        if location.fs is None:
            path = Path(location.path)
            return frozenset(entry.name for entry in path.iterdir()) if path.is_dir() else frozenset()
        from pyarrow import fs

        infos = location.fs.get_file_info(fs.FileSelector(location.path, allow_not_found=True))
    except OSError as error:
        raise _failed("list", location.shown, error) from error
    return frozenset(info.base_name for info in infos)


def read(location: Location, name: str) -> bytes:
    """Return the bytes of a file that was written here. Raises LungcliError."""
    try:
        if location.fs is None:
            return Path(location.within(name)).read_bytes()
        with location.fs.open_input_file(location.within(name)) as file:
            return bytes(file.read())
    except OSError as error:
        raise _failed("read", location.named(name), error) from error


def write(location: Location, name: str, written: bytes) -> None:
    """Write a file whole or not at all. Raises LungcliError."""
    if location.fs is None:
        paths.atomic_write(Path(location.within(name)), written)
        return
    final = location.within(name)
    # Readers of Parquet folders skip names that begin with a dot.
    first = final if location.fs.type_name in _OBJECT_STORES else location.within(f".{name}.{uuid.uuid4().hex}.partial")
    try:
        if first != final:
            location.fs.create_dir(location.path, recursive=True)
        with location.fs.open_output_stream(first) as file:
            file.write(written)
        if first != final:
            location.fs.move(first, final)
    except OSError as error:
        raise _failed(
            "write", location.named(name), error, "choose another --output; written files are kept"
        ) from error


def remove_partial(location: Location) -> None:
    """Delete files that killed processes left half-written, in a folder of this machine only."""
    if location.fs is None:
        paths.remove_partial(Path(location.path))


def remove(location: Location, file_names: Iterable[str]) -> None:
    """Remove files that were written here. Raises LungcliError."""
    for name in file_names:
        try:
            if location.fs is None:
                Path(location.within(name)).unlink(missing_ok=True)
            else:
                location.fs.delete_file(location.within(name))
        except OSError as error:
            raise _failed("remove", location.named(name), error, "remove it by hand") from error


def _by_fsspec(text: str, shown: str) -> "tuple[fs.FileSystem, str]":
    """Open a URI that Arrow does not know."""
    from pyarrow import fs

    hint = "Arrow knows s3, gs, abfs and hdfs; for others install the fsspec file system that has it"
    try:
        import fsspec

        file_system, path = fsspec.url_to_fs(text)
    except ImportError as error:
        raise UsageError(f"nothing installed can open {shown}", f"{hint}: {printable(str(error))}") from error
    except ValueError as error:
        raise UsageError(f"cannot open {shown}: {_reason(error)}", hint) from error
    return fs.PyFileSystem(fs.FSSpecHandler(file_system)), path


def _on_disk(location: Location) -> Iterator[File]:
    root = Path(location.path)
    if not root.is_dir():
        raise UnreadableInputError(
            f"cannot read {location.shown}: there is no such folder", "--engine ray needs a folder or a URI"
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
                    # A link to a folder may lead back to its parent.
                    elif not entry.is_symlink():
                        waiting.append(name)
        except OSError as error:
            raise UnreadableInputError(
                f"cannot list a folder in {location.shown}: {_reason(error)}", "make all folders readable"
            ) from error


def _file(entry: os.DirEntry[str], name: str) -> File:
    try:
        status = entry.stat()
    except OSError:
        # A broken link: reading it raises the error.
        return File(name=name, size=0, changed=0)
    return File(name=name, size=status.st_size, changed=status.st_mtime_ns)


def _fetched(location: Location, file_system: "fs.FileSystem", name: str) -> bytes:
    with file_system.open_input_file(location.within(name)) as file:
        size = file.size()
        head = b"" if inputs.is_picture(name, b"") else bytes(file.read(HEAD))
        if head and not inputs.is_picture(name, head):
            return head
        if size > MAX_BYTES:
            raise _unreadable(location, name, "it is larger than 1 GiB")
        return head + bytes(file.read())


def _unreadable(location: Location, name: str, why: str) -> UnreadableInputError:
    return UnreadableInputError(f"cannot read {location.named(name)}: {why}", "check the file")


def _failed(what: str, shown: str, error: OSError, hint: str = "choose another --output") -> LungcliError:
    return LungcliError(f"cannot {what} {shown}: {_reason(error)}", hint)


def _reason(error: Exception) -> str:
    """The message of a file system in one line, without the request's number, which differs every time."""
    line = (getattr(error, "strerror", None) or str(error)).partition("\n")[0]
    return printable(re.sub(r"\s*\(Request ID: [^)]*\)", "", line)).strip() or type(error).__name__
