"""Folders as users name them: what lies in their subfolders, and in folders that links lead to; names of files."""

import os
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from lungcli.core.names import natural
from lungcli.imaging.picture import DICOM_SUFFIXES, VOLUME_SUFFIXES

_SUFFIXES = (".png", ".jpg", ".jpeg", ".jpe", ".tif", ".tiff", ".bmp", *DICOM_SUFFIXES, *VOLUME_SUFFIXES)
_SYSTEM = {"thumbs.db", "desktop.ini", "__macosx"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """A folder that was looked into: its path as typed and the names of its files in order, or why it could not be."""

    path: Path
    files: tuple[str, ...] = ()
    error: OSError | None = None


def walk(root: Path, wanted: Callable[[str], bool]) -> Iterator[Folder]:
    """Yield a folder and those in it whose names are `wanted`, each before its own subfolders, which come by name.

    Links are followed, each folder is met once, and so there are no loops. Links to folders that lie within what is
    walked come last, for most of those are met at their own place.
    """
    walked: list[str] = []
    visited: set[str] = set()
    waiting, inner_links = [root], deque[Path]()
    while waiting or inner_links:
        path = waiting.pop() if waiting else inner_links.popleft()
        real = os.path.realpath(path)
        if real in visited:
            continue
        visited.add(real)
        if not any(_lies_in(real, folder) for folder in walked):
            walked.append(real)
        files: list[str] = []
        folders: list[Path] = []
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    if not wanted(entry.name):
                        continue
                    if not _is_folder(entry):
                        files.append(entry.name)
                    elif entry.is_symlink() and any(_lies_in(os.path.realpath(entry.path), base) for base in walked):
                        inner_links.append(path / entry.name)
                    else:
                        folders.append(path / entry.name)
        except OSError as error:
            yield Folder(path=path, error=error)
            continue
        yield Folder(path=path, files=tuple(sorted(files, key=natural)))
        waiting += sorted(folders, key=lambda folder: natural(folder.name), reverse=True)


def exists(path: Path) -> bool:
    """Say whether there is such a file or folder; there is none of a name that the system cannot use."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def may_be_picture(path: PurePosixPath) -> bool:
    """Whether a file may be a slice, by its name: DICOM files often have no suffix, or a number for one."""
    if is_system_file(path):
        return False
    numbered = not path.suffix.strip(".0123456789") and any(map(str.isdigit, path.name))
    return numbered or path.name.casefold().endswith(_SUFFIXES)


def is_system_file(path: PurePosixPath) -> bool:
    """Whether a file is hidden, or one that an operating system creates."""
    return any(part.startswith(".") or part.casefold() in _SYSTEM for part in path.parts)


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    # A link to itself is no folder, and says why when it is read.
    try:
        return entry.is_dir()
    except OSError:
        return False


def _lies_in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)
