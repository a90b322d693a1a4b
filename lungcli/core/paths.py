"""Where things lie on the user's machine, and how they are written: whole or not at all."""

import contextlib
import glob
import os
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from lungcli.core.errors import LungcliError, UsageError

_PARTIAL = ".partial"
# Nobody names a folder of their own like that, for these are deleted.
_SCRATCH = "lungcli-scratch-"
# Between the making of a scratch folder and its claim lies no more than that.
_UNCLAIMED_SECONDS = 10


def home() -> Path:
    """Folder of everything lungcli keeps: `$LUNGCLI_HOME`, else the platform's data folder.

    Raises UsageError where the user has no home folder that this could lie in.
    """
    if override := os.environ.get("LUNGCLI_HOME"):
        return _expanded(override, "LUNGCLI_HOME")
    import platformdirs

    hint = "say where to keep things: export LUNGCLI_HOME=/a/folder"
    try:
        found = platformdirs.user_data_path("lungcli", appauthor=False)
    except RuntimeError as error:
        raise UsageError("this user has no home folder", hint) from error
    # Versions of platformdirs that don't raise leave `~` as it is: it would be made where the command was typed.
    if not found.is_absolute():
        raise UsageError("this user has no home folder", hint)
    return found


def data_home() -> Path:
    """Folder of the data sets, one folder each: `$LUNGCLI_DATA`, else `data` in `home()`."""
    if override := os.environ.get("LUNGCLI_DATA"):
        return _expanded(override, "LUNGCLI_DATA")
    return home() / "data"


def runs_home() -> Path:
    """Folder of the runs, one folder each."""
    return home() / "runs"


@contextlib.contextmanager
def atomic_replace(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is flushed to disk and becomes `path` in one step.

    Raises LungcliError, leaving an earlier `path` as it was, when the disk is full or may not be written.
    """
    with os_errors_as(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=_PARTIAL, dir=path.parent)
    partial = Path(name)
    if sys.platform == "win32":
        # A file that is open could not be renamed there.
        os.close(handle)
    _claim(handle)
    try:
        with os_errors_as(path):
            yield partial
            with partial.open("rb+") as file:
                os.fsync(file.fileno())
            partial.chmod(0o666 & ~_umask())
            partial.replace(path)
    finally:
        if sys.platform != "win32":
            os.close(handle)
        partial.unlink(missing_ok=True)


def walk_files(folder: Path) -> dict[Path, os.stat_result]:
    """Return every file under `folder`, no links; what another process deletes meanwhile is not among them."""
    files = {}
    # pathlib's walks end with FileNotFoundError when a folder goes away under them.
    for name, _, names in os.walk(folder):
        for path in (Path(name) / each for each in names):
            with contextlib.suppress(FileNotFoundError):
                told = path.lstat()
                if stat.S_ISREG(told.st_mode):
                    files[path] = told
    return files


def remove_partial(folder: Path, name: str = "") -> None:
    """Delete what killed processes left in `folder` of files that were not whole yet, or of the one called `name`.

    What a living process writes stays, and so does everything where nobody can tell (on Windows).
    """
    for left in folder.glob(f".{glob.escape(name) or '*'}.*{_PARTIAL}"):
        with contextlib.suppress(OSError):
            handle = os.open(left, os.O_RDWR)
            try:
                if _claim(handle):
                    left.unlink()
            finally:
                os.close(handle)


@contextlib.contextmanager
def scratch(what: str) -> Iterator[Path]:
    """Yield an empty folder among the system's temporary ones, which goes again with all that is in it.

    What killed processes left of theirs is cleared first, whatever it was for. Raises OSError when it can't be made.
    """
    for left in Path(tempfile.gettempdir()).glob(f"{_SCRATCH}*"):
        _clear(left)
    with tempfile.TemporaryDirectory(prefix=f"{_SCRATCH}{what}-") as name:
        if sys.platform == "win32":
            yield Path(name)
            return
        handle = os.open(name, os.O_RDONLY)
        try:
            _claim(handle)
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


def _claim(handle: int) -> bool:
    """Say by a lock on the open file, which the system lets go of with the process, that somebody writes it."""
    if sys.platform == "win32":
        return False
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _clear(left: Path) -> None:
    """Delete a scratch folder unless a living process has it, or may be about to say so."""
    if sys.platform == "win32":
        return
    # Folders of others, and those that go meanwhile, can't be opened or deleted; links are not followed.
    with contextlib.suppress(OSError):
        handle = os.open(left, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            if time.time() - left.stat().st_mtime > _UNCLAIMED_SECONDS and _claim(handle):
                shutil.rmtree(left)
        finally:
            os.close(handle)


def _expanded(value: str, variable: str) -> Path:
    try:
        return Path(value).expanduser()
    except RuntimeError as error:
        raise UsageError(f"{variable} is {value}, and there is no such home folder", "give a whole path") from error


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
