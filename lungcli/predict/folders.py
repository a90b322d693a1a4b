"""Folders as users name them: with what lies in their subfolders, and in folders that links lead to."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lungcli.core.names import natural


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """A folder that was looked into: its path as typed and the names of its files in order, or why it could not be."""

    path: Path
    files: tuple[str, ...] = ()
    error: OSError | None = None


def walk(root: Path, wanted: Callable[[str], bool]) -> Iterator[Folder]:
    """Yield a folder and those in it whose names are `wanted`, each before its own subfolders, which come by name.

    Links to folders elsewhere are followed after the folders, each such folder once; what a link leads to inside `root`
    is met at its own place. So there are no loops.
    """
    real_root = os.path.realpath(root)
    visited: set[str] = set()
    waiting = [root]
    while waiting:
        path = waiting.pop()
        real = os.path.realpath(path)
        if real in visited:
            continue
        visited.add(real)
        files: list[str] = []
        folders: list[str] = []
        links: list[str] = []
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    if not wanted(entry.name):
                        continue
                    if not _is_folder(entry):
                        files.append(entry.name)
                    elif not entry.is_symlink():
                        folders.append(entry.name)
                    elif not _lies_in(os.path.realpath(entry.path), real_root):
                        links.append(entry.name)
        except OSError as error:
            yield Folder(path=path, error=error)
            continue
        yield Folder(path=path, files=tuple(sorted(files, key=natural)))
        ordered = sorted(folders, key=natural) + sorted(links, key=natural)
        waiting += [path / name for name in reversed(ordered)]


def exists(path: Path) -> bool:
    """Say whether there is such a file or folder; there is none of a name that the system cannot use."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    # A link to itself is no folder, and says why when it is read.
    try:
        return entry.is_dir()
    except OSError:
        return False


def _lies_in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)
