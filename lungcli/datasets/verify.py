"""Whether a data set on disk is still what its manifest says."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

import msgspec

from lungcli.core import registry
from lungcli.core.names import natural
from lungcli.datasets import manifest
from lungcli.datasets.ingest import ingest, published_hashes
from lungcli.datasets.ingest.folder_layout import is_system_file
from lungcli.datasets.ingest.ingest import Advance
from lungcli.datasets.manifest import Manifest, Slice


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """What was found: paths within the data set's folder.

    `known` of `published` slices are those of the published set of that name, both 0 for other data; `altered` says
    that the manifest itself does not fit its digest.
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
    damaged: list[Slice] = []
    missing: list[Slice] = []
    intact: list[Slice] = []

    def digest(item: Slice) -> str:
        return _digest(folder / item.path)

    with ThreadPoolExecutor(max_workers=4) as pool:
        for done, (item, found) in enumerate(zip(data.slices, pool.map(digest, data.slices), strict=True), start=1):
            kind = intact if found == item.sha256 else damaged if found else missing
            kind.append(item)
            if advance:
                advance(done, len(data.slices))
    row = registry.DATA_SETS.get(data.source.data_set)
    return Verification(
        name=data.name,
        slices=len(data.slices),
        damaged=tuple(item.path for item in damaged),
        missing=tuple(item.path for item in missing),
        extra=_extra(data, folder),
        altered=manifest.digest(data.slices) != data.digest,
        known=published_hashes.count_published(row, intact) if row else 0,
        published=row.slices if row else 0,
    )


def _extra(data: Manifest, folder: Path) -> tuple[str, ...]:
    ours = {*(item.path for item in data.slices), manifest.FILE, ingest.SOURCE}
    files = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())
    extra = (file for file in files if file not in ours and not is_system_file(PurePosixPath(file)))
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
