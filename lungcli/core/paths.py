"""Where things lie on the user's machine, how they are written (whole or not at all), and whether it is offline."""

import contextlib
import errno
import glob
import os
import secrets
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from lungcli.core import settings
from lungcli.core.errors import LungcliError, UsageError

_PARTIAL = ".partial"
# Nobody names a folder of their own like that, for these are deleted.
_SCRATCH = "lungcli-scratch-"
# A scratch folder is locked within this time after it was made.
_UNLOCKED_SECONDS = 10


def home() -> Path:
    """Folder of everything lungcli keeps: the setting `home`, else the platform's data folder.

    Raises UsageError where the user has no home folder that this could lie in.
    """
    if override := settings.current("home").value:
        return _expanded(str(override), "LUNGCLI_HOME")
    import platformdirs

    hint = "say where to keep things: export LUNGCLI_HOME=/a/folder"
    try:
        folder = platformdirs.user_data_path("lungcli", appauthor=False)
    except RuntimeError as error:
        raise UsageError("this user has no home folder", hint) from error
    # Versions of platformdirs that don't raise leave `~` as it is: it would be made where the command was typed.
    if not folder.is_absolute():
        raise UsageError("this user has no home folder", hint)
    return folder


def data_home() -> Path:
    """Folder of the data sets, one folder each: the setting `data`, else `data` in `home()`."""
    if override := settings.current("data").value:
        return _expanded(str(override), "LUNGCLI_DATA")
    return home() / "data"


def runs_home() -> Path:
    """Folder of the runs, one folder each."""
    return home() / "runs"


def models_home() -> Path:
    """Folder of the adopted models, and of what was made of them: one file each."""
    return home() / "models"


def is_offline() -> bool:
    """Say whether the user forbids the network: the setting `offline`."""
    return bool(settings.current("offline").value)


@contextlib.contextmanager
def atomic_replace(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is flushed to disk and becomes `path` in one step.

    Raises LungcliError, leaving an earlier `path` as it was, when the disk is full or may not be written.
    """
    # Named before it is made: a signal between the two would leave it behind.
    partial = path.parent / f".{path.name}.{secrets.token_hex(4)}{_PARTIAL}"
    try:
        with os_errors_as(path), contextlib.ExitStack() as locked:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = locked.enter_context(partial.open("xb"))
            if sys.platform == "win32":
                # A file that is open could not be renamed there.
                locked.close()
            else:
                _try_lock(lock.fileno())
            yield partial
            with partial.open("rb+") as file:
                os.fsync(file.fileno())
            partial.replace(path)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()


@contextlib.contextmanager
def open_regular(path: Path) -> Iterator[BinaryIO]:
    """Open a regular file to be read. Raises OSError for another: a pipe would be waited for, a device never end."""
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "it is no regular file")
    with os.fdopen(handle, "rb") as file:
        yield file


def read_regular(path: Path, most: int) -> bytes:
    """Return the content of a regular file. Raises OSError for what is none, or exceeds `most` bytes."""
    with open_regular(path) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"it exceeds {most >> 10:,} kB")
    return content


def walk_files(folder: Path) -> dict[Path, os.stat_result]:
    """Return every file under `folder`, no links; what another process deletes meanwhile is not among them."""
    files = {}
    # pathlib's walks end with FileNotFoundError when a folder goes away under them.
    for directory, _, names in os.walk(folder):
        for path in (Path(directory) / name for name in names):
            with contextlib.suppress(FileNotFoundError):
                status = path.lstat()
                if stat.S_ISREG(status.st_mode):
                    files[path] = status
    return files


def remove_partial(folder: Path, name: str = "") -> None:
    """Delete the partial files that killed processes left in `folder`, or those of the file called `name`.

    What a living process writes stays, and so does everything on Windows, where the two can't be told apart.
    """
    for partial in folder.glob(f".{glob.escape(name) or '*'}.*{_PARTIAL}"):
        with contextlib.suppress(OSError):
            handle = os.open(partial, os.O_RDWR)
            try:
                if _try_lock(handle):
                    partial.unlink()
            finally:
                os.close(handle)


@contextlib.contextmanager
def scratch(purpose: str) -> Iterator[Path]:
    """Yield an empty temporary folder, which is deleted with all that is in it on leaving.

    Scratch folders of killed processes are deleted first, whatever their purpose. Raises OSError when none can be made.
    """
    for stale in Path(tempfile.gettempdir()).glob(f"{_SCRATCH}*"):
        _remove_stale(stale)
    with tempfile.TemporaryDirectory(prefix=f"{_SCRATCH}{purpose}-") as name:
        if sys.platform == "win32":
            yield Path(name)
            return
        handle = os.open(name, os.O_RDONLY)
        try:
            _try_lock(handle)
            yield Path(name)
        finally:
            os.close(handle)


def atomic_write(path: Path, content: bytes) -> None:
    """Write `content` to `path` atomically. Raises LungcliError as `atomic_replace` does."""
    with atomic_replace(path) as partial:
        partial.write_bytes(content)


@contextlib.contextmanager
def os_errors_as(path: Path) -> Iterator[None]:
    """Turn an OSError while writing `path` into a LungcliError that says what to do."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise LungcliError(
            f"cannot write {path}: {reason}",
            "free some space or choose another place with LUNGCLI_HOME=FOLDER; nothing was lost",
        ) from error


def _try_lock(handle: int) -> bool:
    """Lock an open file, until it is closed or the process ends; return whether that worked."""
    if sys.platform == "win32":
        return False
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _remove_stale(folder: Path) -> None:
    """Delete a scratch folder unless a living process has locked it, or may be about to."""
    if sys.platform == "win32":
        return
    # Other users' folders, and those deleted meanwhile, can't be opened; links are not followed.
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            if time.time() - folder.stat().st_mtime > _UNLOCKED_SECONDS and _try_lock(handle):
                shutil.rmtree(folder)
        finally:
            os.close(handle)


def _expanded(value: str, variable: str) -> Path:
    try:
        return Path(value).expanduser()
    except RuntimeError as error:
        raise UsageError(f"{variable} is {value}, and there is no such home folder", "give a whole path") from error
