"""Uploads of visitors: on disk until they are read, at most for some minutes."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from lungcli.core import paths

# An upload is read within a moment of its arrival, or never.
KEPT_SECONDS = 600


class Uploads:
    """The folder of uploads; thread-safe.

    Gradio names a file after its content, so visitors who send the same slice at once share a file. It is deleted when
    the last of them has read it.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.folder = folder
        self._clock = clock
        self._lock = threading.Lock()
        self._arriving = 0
        # How many visitors wait for a file, and its inode when the last of them was told of it.
        self._awaited: dict[tuple[str, str], tuple[int, int]] = {}
        # When a sweep first saw each file and folder: their own dates are of a clock that may be set.
        self._seen: dict[tuple[Path, int, int], float] = {}

    @property
    def under_way(self) -> int:
        """Number of uploads that are arriving."""
        return self._arriving

    @contextlib.contextmanager
    def arriving(self) -> Iterator[None]:
        """Count an upload; when none is arriving any more, delete broken ones. Complete ones are in subfolders."""
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
        """Note the files of a finished upload, from the answer to it: a JSON list of paths."""
        with self._lock:
            for path in map(Path, msgspec.json.decode(answer, type=list[str])):
                count, _ = self._awaited.get(_key(path), (0, 0))
                self._awaited[_key(path)] = (count + 1, _inode(path))

    def read(self, path: Path) -> bytes:
        """Read an upload, and delete it unless others wait for the same file. Raises OSError."""
        try:
            return path.read_bytes()
        finally:
            with self._lock:
                count, number = self._awaited.pop(_key(path), (1, _inode(path)))
                if count > 1:
                    self._awaited[_key(path)] = (count - 1, number)
                # With another inode, the same file has just been uploaded again.
                elif number == _inode(path):
                    path.unlink(missing_ok=True)

    def waiting(self) -> int:
        """Return the size of all unread uploads in bytes."""
        return sum(status.st_size for status in paths.walk_files(self.folder).values())

    def sweep(self) -> None:
        """Delete uploads that were never read, and empty folders, by when earlier sweeps saw them first."""
        now, there = self._clock(), paths.walk_files(self.folder)
        for item in self.folder.iterdir():
            with contextlib.suppress(FileNotFoundError):
                there[item] = item.lstat()
        keys = [(path, status.st_ino, status.st_mtime_ns) for path, status in there.items()]
        self._seen = {key: self._seen.get(key, now) for key in keys}
        with self._lock:
            # Files come before their folders.
            for key in sorted((key for key, seen in self._seen.items() if now - seen > KEPT_SECONDS), reverse=True):
                path = key[0]
                # It may be deleted meanwhile, be another one, or not empty yet.
                with contextlib.suppress(OSError):
                    status = path.lstat()
                    if key == (path, status.st_ino, status.st_mtime_ns):
                        path.rmdir() if path.is_dir() else path.unlink()
                        self._awaited.pop(_key(path), None)


def _key(path: Path) -> tuple[str, str]:
    """The part of a path that does not depend on how the folder is spelled."""
    return path.parent.name, path.name


def _inode(path: Path) -> int:
    """The inode of a file, 0 where there is none."""
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return 0
