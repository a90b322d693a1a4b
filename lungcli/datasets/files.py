"""The files of a data set: in reading order, and read several at a time."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from lungcli.core.names import natural

T = TypeVar("T")
R = TypeVar("R")

Advance = Callable[[int, int], None]
"""Progress callback: (items done, items in all)."""


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


def map_in_order(
    function: Callable[[T], R], items: Sequence[T], advance: Advance | None = None, most: int | None = 8
) -> Iterator[R]:
    """Yield `function(item)` for every item, in order, computed in several threads; call `advance` after each.

    There is a thread a core, but at most so many. When it is closed or interrupted, it waits for the items under way
    and drops the rest.
    """
    cores = os.cpu_count() or 1
    pool = ThreadPoolExecutor(max_workers=min(most or cores, cores))
    try:
        for done, result in enumerate(pool.map(function, items), start=1):
            yield result
            if advance:
                advance(done, len(items))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
