"""Reading untrusted .zip files: members are checked first, and only one at a time is in memory."""

import contextlib
import re
import stat
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from lungcli.core.errors import UnreadableInputError
from lungcli.imaging.picture import MAX_BYTES, printable

MAX_TOTAL = 8 << 30
MAX_MEMBERS = 200_000
# Each would be an error of its own: 199,000 took minutes to be told.
MAX_EMPTY = 1000
MAX_RATIO = 200
# Bytes; smaller members may have a higher ratio: a black picture is harmless.
RATIO_FROM = 10 << 20

_DRIVE = re.compile(r"[A-Za-z]:")
_ENCRYPTED = 0x1


@contextlib.contextmanager
def open_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a .zip file for reading. Raises UnreadableInputError when it cannot be read or is not one."""
    shown = printable(str(path))
    try:
        # A pipe would be waited for.
        if path.exists() and not path.is_file():
            raise UnreadableInputError(f"cannot read {shown}: it is no file", "name a folder or a .zip file")
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError) as error:
        raise UnreadableInputError(
            f"cannot read {shown}: it is not a folder and not a whole .zip file", "download it again, or unpack it"
        ) from error
    except OSError as error:
        raise UnreadableInputError(f"cannot read {shown}: {error.strerror or error}", "check the path") from error
    with archive:
        yield archive


def checked_members(archive: zipfile.ZipFile) -> tuple[zipfile.ZipInfo, ...]:
    """Return the files in `archive`, folders left out.

    Raises UnreadableInputError, for the archive as a whole, when a member is named to land outside (`..`, absolute,
    a drive, a backslash), is a link or encrypted, when two are named alike but for case, or when it would unpack to
    too much.
    """
    # Not `is_dir`, which fails on a member without a name, and takes one for a folder that is cut at a NUL.
    files = tuple(item for item in archive.infolist() if not item.orig_filename.endswith("/"))
    for item in files:
        if reason := _danger(item):
            raise UnreadableInputError(
                f"refused the .zip file: its member {printable(item.filename)!r} {reason}",
                "use a .zip from a source you trust, or unpack it and import the folder",
            )
    if reason := _alike(files) or _too_much(files):
        raise UnreadableInputError(f"refused the .zip file: {reason}", "import a folder with the pictures you need")
    return files


def read_member(archive: zipfile.ZipFile, item: zipfile.ZipInfo) -> bytes:
    """Return the bytes of one member, checked against its checksum. Raises UnreadableInputError."""
    shown = printable(item.filename)
    if item.file_size > MAX_BYTES:
        raise UnreadableInputError(f"cannot read {shown}: it is larger than 1 GiB", "leave it out")
    try:
        return archive.read(item)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError, ValueError) as error:
        raise UnreadableInputError(f"cannot read {shown}: damaged in the .zip file", "download it again") from error


def _danger(item: zipfile.ZipInfo) -> str:
    """Return why a member is unsafe; empty when it is safe."""
    # `orig_filename` is the name in the archive; `filename` has been cut at a NUL and translated on Windows.
    name = item.orig_filename
    if "\\" in name or "\0" in name:
        return "has a backslash or NUL in its name"
    if not name:
        return "has no name"
    if name.startswith("/") or _DRIVE.match(name):
        return "has an absolute path"
    if ".." in name.split("/"):
        return "points outside of it"
    if stat.S_ISLNK(item.external_attr >> 16):
        return "is a link"
    if item.flag_bits & _ENCRYPTED:
        return "is encrypted"
    if item.file_size > RATIO_FROM and item.file_size > MAX_RATIO * max(1, item.compress_size):
        return f"unpacks to more than {MAX_RATIO} times its size"
    return ""


def _alike(files: Sequence[zipfile.ZipInfo]) -> str:
    names: set[str] = set()
    for item in files:
        name = unicodedata.normalize("NFC", item.filename).casefold()
        if name in names:
            return f"it has two members named {printable(item.filename)!r}, or alike but for upper and lower case"
        names.add(name)
    return ""


def _too_much(files: Sequence[zipfile.ZipInfo]) -> str:
    if len(files) > MAX_MEMBERS:
        return f"it has {len(files):,} members, more than {MAX_MEMBERS:,}"
    if (empty := sum(not item.file_size for item in files)) > MAX_EMPTY:
        return f"{empty:,} of its members are empty, more than {MAX_EMPTY:,}"
    total = sum(item.file_size for item in files)
    if total > MAX_TOTAL:
        return f"it would unpack to {total / (1 << 30):.1f} GiB, more than {MAX_TOTAL >> 30}"
    if total > RATIO_FROM and total > MAX_RATIO * max(1, sum(item.compress_size for item in files)):
        return f"it would unpack to more than {MAX_RATIO} times its size"
    return ""
