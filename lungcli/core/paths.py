"""Where things lie on the user's machine, and how they are written: whole or not at all."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from lungcli.core.errors import LungcliError


def home() -> Path:
    """Folder of everything lungcli keeps: `$LUNGCLI_HOME`, else the platform's data folder."""
    if override := os.environ.get("LUNGCLI_HOME"):
        return Path(override).expanduser()
    import platformdirs

    return platformdirs.user_data_path("lungcli", appauthor=False)


def data_home() -> Path:
    """Folder of the data sets, one folder each: `$LUNGCLI_DATA`, else `data` in `home()`."""
    if override := os.environ.get("LUNGCLI_DATA"):
        return Path(override).expanduser()
    return home() / "data"


def runs_home() -> Path:
    """Folder of the runs, one folder each."""
    return home() / "runs"


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is flushed to disk and becomes `path` in one step.

    Raises LungcliError, leaving an earlier `path` as it was, when the disk is full or may not be written.
    """
    with saying_why_not(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent)
        os.close(handle)
    partial = Path(name)
    try:
        with saying_why_not(path):
            yield partial
            with partial.open("rb+") as file:
                os.fsync(file.fileno())
            partial.chmod(0o666 & ~_umask())
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write(path: Path, content: bytes) -> None:
    """Write `content` to `path` atomically. Raises LungcliError as `replacing` does."""
    with replacing(path) as partial:
        partial.write_bytes(content)


@contextlib.contextmanager
def saying_why_not(path: Path) -> Iterator[None]:
    """Turn an OSError while writing `path` into a LungcliError that says what to do."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise LungcliError(
            f"cannot write {path}: {reason}",
            "free some space or choose another place with LUNGCLI_HOME=FOLDER; nothing was lost",
        ) from error


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
