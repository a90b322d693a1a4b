"""What is known of a published data set's files, and whether the files at hand are those."""

import functools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import PurePosixPath

from lungcli.core.names import natural
from lungcli.core.registry import DataSet
from lungcli.datasets.ingest import folder_layout
from lungcli.datasets.manifest import Slice

COPY = "a second copy of a published file"
FOREIGN = "not one of the published files"
DIFFERS = "differs from the published file of its name"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedFile:
    """One file as published: its class and the sha256 of its content."""

    label: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalFile:
    """One file at hand; `sha256` is empty where its content can't be read."""

    path: PurePosixPath
    label: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """How files compare with the published ones.

    `reasons` has one entry a file, empty for a published one, else why it is not one. `differing` are the files that
    stand for a published one and are not it, `missing` the names of the published files that are not there.
    """

    reasons: tuple[str, ...]
    differing: tuple[PurePosixPath, ...]
    missing: tuple[str, ...]

    @property
    def count_published(self) -> int:
        """How many published files there are."""
        return self.reasons.count("")


@functools.cache
def published_files(row: DataSet) -> dict[str, PublishedFile]:
    """Return every file of a published set by its name; empty where nobody knows their hashes."""
    if not row.hashes:
        return {}
    text = (resources.files("lungcli") / "bundled" / row.hashes).read_text(encoding="utf-8")
    lines = [line.partition("  ") for line in text.splitlines()]
    paths = [(PurePosixPath(path), sha256) for sha256, _, path in lines]
    return {
        path.name: PublishedFile(label=folder_layout.published_label(row, path), sha256=sha256)
        for path, sha256 in paths
    }


def compare(row: DataSet, files: Sequence[LocalFile]) -> Comparison:
    """Compare files with the published ones, by name, class and content.

    A name that has its right content once is there; whatever else bears that name is left out, as are unknown names.
    """
    files_of = published_files(row)
    right: set[str] = set()
    reasons = []
    for item in files:
        name = item.path.name
        is_it = files_of.get(name) == PublishedFile(label=item.label, sha256=item.sha256)
        if name not in files_of:
            reasons.append(FOREIGN)
        elif is_it:
            reasons.append(COPY if name in right else "")
            right.add(name)
        else:
            reasons.append(DIFFERS)
    return Comparison(
        reasons=tuple(reasons),
        differing=tuple(
            item.path
            for item, reason in zip(files, reasons, strict=True)
            if reason == DIFFERS and item.path.name not in right
        ),
        missing=tuple(sorted(set(files_of) - right, key=natural)),
    )


def count_published(row: DataSet, slices: Iterable[Slice]) -> int:
    """Count the slices of a data set that are files of the published one."""
    files_of = published_files(row)
    at_hand = [(PurePosixPath(item.path).name, item.label, item.sha256) for item in slices]
    if not files_of:
        return sum((Counter(label for _, label, _ in at_hand) & Counter(dict(row.counts))).values())
    return len(set(at_hand) & {(name, item.label, item.sha256) for name, item in files_of.items()})
