"""What visitors sent: on disk until it is read, at most for some minutes."""

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from lungcli.core import paths

# An upload is read within a moment of its arrival, or by nobody.
KEPT_SECONDS = 600


class Uploads:
    """The folder of uploads; safe to share between threads.

    The page's library names a file after its content, so that all who send the same slice at once share one. It goes
    with the last of them.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._arriving = 0
        # How many wait for a file, and which one on disk it was when the last of them was told.
        self._awaited: dict[tuple[str, str], tuple[int, int]] = {}

    @property
    def under_way(self) -> int:
        """How many uploads are arriving."""
        return self._arriving

    @contextlib.contextmanager
    def arriving(self) -> Iterator[None]:
        """Count an upload; when none is under way any more, delete what broke off. Whole ones lie in folders."""
        with self._lock:
            self._arriving += 1
        try:
            yield
        finally:
            with self._lock:
                self._arriving -= 1
                if not self._arriving:
                    for path in self.folder.iterdir():
                        if path.is_file():
                            path.unlink(missing_ok=True)

    def arrived(self, answer: bytes) -> None:
        """Note which files a visitor was told to have sent: a JSON list of paths."""
        with self._lock:
            for path in map(Path, msgspec.json.decode(answer, type=list[str])):
                count, _ = self._awaited.get(_key(path), (0, 0))
                self._awaited[_key(path)] = (count + 1, _number(path))

    def read(self, path: Path) -> bytes:
        """Read an upload, and delete it where nobody else waits for the same. Raises OSError."""
        try:
            return path.read_bytes()
        finally:
            with self._lock:
                count, number = self._awaited.pop(_key(path), (1, _number(path)))
                if count > 1:
                    self._awaited[_key(path)] = (count - 1, number)
                # Another number: somebody who will be told in a moment has just put the same there.
                elif number == _number(path):
                    path.unlink(missing_ok=True)

    def waiting(self) -> int:
        """Return how many bytes lie unread."""
        return sum(status.st_size for status in paths.walk_files(self.folder).values())

    def sweep(self) -> None:
        """Delete uploads that nobody asked a verdict for, and the empty folders of the others."""
        long_ago = time.time() - KEPT_SECONDS
        old = [path for path, status in paths.walk_files(self.folder).items() if status.st_mtime < long_ago]
        with self._lock:
            for path in old:
                self._awaited.pop(_key(path), None)
            for path in [*old, *self.folder.iterdir()]:
                # What is deleted meanwhile, or not empty yet, needs no deleting.
                with contextlib.suppress(OSError):
                    if path.stat().st_mtime < long_ago:
                        path.rmdir() if path.is_dir() else path.unlink()


def _key(path: Path) -> tuple[str, str]:
    """The part of a path that does not depend on how the folder is spelled."""
    return path.parent.name, path.name


def _number(path: Path) -> int:
    """What tells a file on disk from another that takes its place; 0 where there is none."""
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return 0
