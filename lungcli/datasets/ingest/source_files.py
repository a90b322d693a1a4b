"""The files of a source, a folder or a .zip file: their paths, and their content on demand."""

import contextlib
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from lungcli.datasets.ingest import folders, safe_zip
from lungcli.datasets.manifest import Rejected
from lungcli.imaging.picture import content_of, printable

Content = bytes | Path | Callable[[], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFiles:
    """Paths within the source, how to get the content of each, and the folders that were left out."""

    files: tuple[PurePosixPath, ...]
    contents: tuple[Content, ...]
    rejected: tuple[Rejected, ...] = ()


@contextlib.contextmanager
def open_source(source: Path) -> Iterator[SourceFiles]:
    """List a folder or .zip file; contents can be read as long as the context lasts.

    Raises UnreadableInputError when it is neither, or an unsafe .zip file.
    """
    if source.is_dir():
        files, rejected = _walk(source)
        yield SourceFiles(files=files, contents=tuple(source / file for file in files), rejected=rejected)
        return
    with safe_zip.open_zip(source) as archive:
        members = safe_zip.checked_members(archive)
        yield SourceFiles(
            files=tuple(PurePosixPath(item.filename) for item in members),
            contents=tuple(functools.partial(safe_zip.read_member, archive, item) for item in members),
        )


def read_content(content: Content, shown: str) -> bytes:
    """Return the bytes of a file that messages call `shown`. Raises UnreadableInputError."""
    if isinstance(content, bytes):
        return content
    return content_of(content, shown) if isinstance(content, Path) else content()


def _walk(source: Path) -> tuple[tuple[PurePosixPath, ...], tuple[Rejected, ...]]:
    """List the files under a folder, relative to it, and the folders that could not be read; links are followed."""
    files: list[PurePosixPath] = []
    rejected: list[Rejected] = []
    for folder in folders.walk(source, wanted=lambda _: True):
        parent = PurePosixPath(folder.path.relative_to(source).as_posix())
        files += [parent / name for name in folder.files]
        if folder.error:
            reason = (folder.error.strerror or "unreadable").lower()
            rejected.append(Rejected(path=printable(str(parent)), reason=reason))
    return tuple(sorted(files)), tuple(rejected)
