"""Checking the files of a data set against its manifest."""

import hashlib
from collections.abc import Set
from pathlib import Path, PurePosixPath

import msgspec

from lungcli.core import registry
from lungcli.core.names import natural
from lungcli.datasets import manifest
from lungcli.datasets.files import Advance, map_in_order
from lungcli.datasets.ingest import ingest, published_hashes
from lungcli.datasets.ingest.folders import is_system_file
from lungcli.datasets.manifest import Manifest


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """Result of a check; paths are relative to the data set's folder.

    `known` of the `published` slices of a published set are there, both 0 for other data; `altered`: the manifest does
    not match its own digest. Split files are not compared: they are checked whenever they are read.
    """

    name: str
    slices: int
    damaged: tuple[str, ...]
    missing: tuple[str, ...]
    extra: tuple[str, ...]
    altered: bool
    known: int = 0
    published: int = 0

    @property
    def whole(self) -> bool:
        """Whether everything is as the manifest says."""
        return not (self.damaged or self.missing or self.extra or self.altered)

    @property
    def partial(self) -> bool:
        """Whether files of the published set are not in it."""
        return self.known < self.published


def verify(data: Manifest, advance: Advance | None = None) -> Verification:
    """Hash every file of a data set again and compare it with the manifest; `advance(done, total)` counts files."""
    folder = manifest.folder(data.name)
    expected = {item.path: item.sha256 for item in data.slices}
    expected |= {item.mask: item.mask_sha256 for item in data.slices if item.mask}
    damaged: list[str] = []
    missing: list[str] = []

    def digest(path: str) -> str:
        return _digest(folder / path)

    for path, sha256 in zip(expected, map_in_order(digest, [*expected], advance), strict=True):
        if sha256 != expected[path]:
            (damaged if sha256 else missing).append(path)
    changed = {*damaged, *missing}
    intact = [item for item in data.slices if item.path not in changed]
    row = registry.DATA_SETS.get(data.source.data_set)
    return Verification(
        name=data.name,
        slices=len(data.slices),
        damaged=tuple(damaged),
        missing=tuple(missing),
        extra=_extra(folder, {*expected, manifest.FILE, ingest.SOURCE}),
        altered=manifest.digest(data.slices) != data.digest,
        known=published_hashes.count_published(row, intact) if row else 0,
        published=row.slices if row else 0,
    )


def _extra(folder: Path, ours: Set[str]) -> tuple[str, ...]:
    files = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())
    extra = (
        file
        for file in files
        if file not in ours
        and not is_system_file(PurePosixPath(file))
        and PurePosixPath(file).parent != PurePosixPath(manifest.SPLITS)
    )
    return tuple(sorted(extra, key=natural))


def _digest(path: Path) -> str:
    """Return the sha256 of a file: empty where there is none, `unreadable` where it can't be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return ""
    except OSError:
        return "unreadable"
