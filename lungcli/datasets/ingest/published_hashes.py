"""The known sha256 of the files of published data sets, and comparing local files with them."""

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
    """One local file; `sha256` is empty where its content cannot be read."""

    path: PurePosixPath
    label: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """How files compare with the published ones.

    `reasons` has one entry per file, empty for a published one, else why it is not one. `differing` are files with the
    name of a published one but other content, `missing` the names of the published files that are not there.
    """

    reasons: tuple[str, ...]
    differing: tuple[PurePosixPath, ...]
    missing: tuple[str, ...]

    @property
    def matching(self) -> int:
        """Number of published files among those compared."""
        return self.reasons.count("")


@functools.cache
def published_files(row: DataSet) -> dict[str, PublishedFile]:
    """Return every file of a published set by its name; empty where no hashes are known."""
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

    A published file is there if any file of its name has its content; others of that name, and unknown names, are left
    out.
    """
    files_of = published_files(row)
    intact: set[str] = set()
    reasons = []
    for item in files:
        name = item.path.name
        is_intact = files_of.get(name) == PublishedFile(label=item.label, sha256=item.sha256)
        if name not in files_of:
            reasons.append(FOREIGN)
        elif is_intact:
            reasons.append(COPY if name in intact else "")
            intact.add(name)
        else:
            reasons.append(DIFFERS)
    return Comparison(
        reasons=tuple(reasons),
        differing=tuple(
            item.path
            for item, reason in zip(files, reasons, strict=True)
            if reason == DIFFERS and item.path.name not in intact
        ),
        missing=tuple(sorted(set(files_of) - intact, key=natural)),
    )


def count_published(row: DataSet, slices: Iterable[Slice]) -> int:
    """Count the slices of a data set that are files of the published one."""
    files_of = published_files(row)
    local = [(PurePosixPath(item.path).name, item.label, item.sha256) for item in slices]
    if not files_of:
        return sum((Counter(label for _, label, _ in local) & Counter(dict(row.counts))).values())
    return len(set(local) & {(name, item.label, item.sha256) for name, item in files_of.items()})
