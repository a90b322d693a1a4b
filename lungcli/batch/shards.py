"""Dividing an archive into shards that depend on its listing alone, so that a job can be resumed."""

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

PREFIX, SUFFIX = "verdicts-", ".parquet"


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file of an archive: its relative path, size in bytes, and time of change in nanoseconds since 1970."""

    name: str
    size: int
    changed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """Files that are predicted together: the name of their Parquet file, and their own names, in order."""

    name: str
    files: tuple[str, ...]


def divide(files: Iterable[File], most: int) -> Iterator[Shard]:
    """Divide a listing, given in any order, into shards of at most `most` files; each is yielded once.

    Folders stay whole where they hold no more than that: other files may be needed to tell which words in a path name
    a patient. The name of a shard is a digest of its files' names, sizes and times of change, so adding or changing a
    file does not change the shards before it.
    """
    shard: list[File] = []
    for _, group in itertools.groupby(sorted(files, key=_place), key=lambda file: _place(file)[0]):
        folder = list(group)
        if shard and len(shard) + len(folder) > most:
            yield _named(shard)
            shard = []
        while len(folder) > most:
            yield _named(folder[:most])
            folder = folder[most:]
        shard += folder
    if shard:
        yield _named(shard)


def digest(all_shards: Iterable[Shard]) -> str:
    """Return the sha256 of a listing, from the names of its shards."""
    return hashlib.sha256("\n".join(shard.name for shard in all_shards).encode()).hexdigest()


def is_shard(name: str) -> bool:
    """Whether a file in an output folder is a shard of predictions."""
    return name.startswith(PREFIX) and name.endswith(SUFFIX)


def _place(file: File) -> tuple[str, str, str]:
    folder, _, name = file.name.rpartition("/")
    # `/a` and `a` are different keys in a store.
    return folder, name, file.name


def _named(files: Sequence[File]) -> Shard:
    content = hashlib.sha256()
    for file in files:
        # No name holds a NUL; undecodable names are kept as the system gave them.
        content.update(f"{file.name}\0{file.size}\0{file.changed}\0".encode("utf-8", "surrogateescape"))
    return Shard(name=f"{PREFIX}{content.hexdigest()[:20]}{SUFFIX}", files=tuple(file.name for file in files))
