"""The files of a folder in the order in which a reader would leaf through them."""

from collections.abc import Iterator
from pathlib import Path

from lungcli.core.names import natural


def files_in(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder and its subfolders, `slice 2` before `slice 10`, hidden ones left out."""
    for item in sorted(folder.iterdir(), key=lambda path: natural(path.name)):
        if item.name.startswith("."):
            continue
        if item.is_dir():
            # A link to a folder may lead back to where it lies.
            if not item.is_symlink():
                yield from files_in(item)
        else:
            yield item
