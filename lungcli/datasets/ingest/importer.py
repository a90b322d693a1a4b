"""Making a data set out of a folder or .zip file: as published, by folders, or by a table."""

import contextlib
import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from lungcli.core import names
from lungcli.core.errors import NetworkError, UnreadableInputError, UsageError
from lungcli.core.registry import DataSet
from lungcli.datasets import manifest
from lungcli.datasets.ingest import folder_layout, label_table, published_hashes, source_files
from lungcli.datasets.ingest.folder_layout import Layout
from lungcli.datasets.ingest.ingest import Advance, IncomingFile, write_dataset
from lungcli.datasets.ingest.published_hashes import Comparison
from lungcli.datasets.ingest.source_files import SourceFiles
from lungcli.datasets.manifest import Manifest, Rejected, Source
from lungcli.imaging.picture import printable

# Beyond these, names of files fill the screen.
_NAMED = 5


def import_dataset(source: Path, name: str | None = None, advance: Advance | None = None) -> Manifest:
    """Copy the slices of a folder or .zip file into a new data set and return its manifest.

    `layout.lay_out` says which layouts are known. No file is dropped in silence: what is not a slice is in
    `manifest.rejected` with its reason. A source laid out like a published set is one if its files are the published
    ones (`known`); if none is, or if a `name` of its own says so, it is taken in as other data. `name` defaults to
    that of the published set, else to one made from the source's; `advance(done, total)` counts files.

    Raises UsageError (name taken, single class), UnreadableInputError (nothing usable, or a .zip file not to be
    trusted), NetworkError (files of a published set that differ), LungcliError (cannot write); nothing is left
    behind then, nor after Ctrl-C.
    """
    if name is not None:
        manifest.require_new(name)
    with source_files.open_source(source) as gathered:
        found = _layout_of(source, gathered, None)
        if row := found.data_set:
            compared = _compare_with_published(row, gathered, found, advance)
            as_other = name is not None and names.spelling(name) != names.spelling(row.name) and compared.differing
            if _is_published_set(row, found, compared) and not as_other:
                _refuse_differing(row, compared)
                return _write(name or row.name, _source(row), gathered, found, advance, row, compared.reasons)
        about = f"imported from {printable(source.resolve().name)}"
        return _write(name or default_name(source), Source(about=about), gathered, found, advance)


def import_published(row: DataSet, source: Path, advance: Advance | None = None, *, complete: bool = False) -> Manifest:
    """Copy the files of a published data set out of a folder or .zip file, each checked against its known hash.

    Files that are not of the set are named in `manifest.rejected`. With `complete`, every published file must be
    there. Raises NetworkError for files that differ or are missing, and what `import_dataset` raises.
    """
    manifest.require_new(row.name)
    with source_files.open_source(source) as gathered:
        found = _layout_of(source, gathered, row)
        compared = _compare_with_published(row, gathered, found, advance)
        _refuse_differing(row, compared)
        if row.hashes and not compared.matching:
            raise NetworkError(
                f"none of its files is one of the {row.slices:,} published files of {row.name}",
                f"take it in as other data: lungcli data import PATH --name OTHER; or get the set: {row.page}",
            )
        if complete and compared.missing:
            raise NetworkError(
                f"it has {compared.matching:,} of the {row.slices:,} published files of {row.name}; "
                f"missing: {_first_names(compared.missing)}",
                "get it from another place",
            )
        return _write(row.name, _source(row), gathered, found, advance, row, compared.reasons)


def import_labelled(source: Path, table: Path, name: str | None = None, advance: Advance | None = None) -> Manifest:
    """Copy the slices of a folder or .zip file that a CSV file (`path,label,patient`) lists into a new data set.

    Slices of one patient are one group. Pictures that the table does not list are in `manifest.rejected`. Raises as
    `import_dataset` does, and UnreadableInputError naming the row of the table that is off.
    """
    if name is not None:
        manifest.require_new(name)
    with source_files.open_source(source) as gathered:
        rows = {item.path: item for item in label_table.read(table, gathered.files)}
        listed = [rows.get(file) for file in gathered.files]
        shown = [printable(str(file)) for file in gathered.files]
        return write_dataset(
            name or default_name(source),
            [
                IncomingFile(label=row.label, filename=file.name, content=content, origin=origin, patient=row.patient)
                for file, content, origin, row in zip(gathered.files, gathered.contents, shown, listed, strict=True)
                if row
            ],
            Source(about=f"imported from {printable(source.resolve().name)}"),
            ordered=False,
            rejected=(
                *gathered.rejected,
                *(
                    Rejected(path=origin, reason="not in the table")
                    for file, origin, row in zip(gathered.files, shown, listed, strict=True)
                    if not row and folder_layout.may_be_picture(file)
                ),
            ),
            advance=advance,
        )


def default_name(source: Path) -> str:
    """Return a name for a data set made from `source`: its own, in lower case, fit for a folder."""
    path = source.resolve()
    stem = path.name if path.is_dir() else path.stem
    slug = re.sub(r"[^\w.+-]+|_+", "-", unicodedata.normalize("NFC", printable(stem)).casefold())
    return slug.strip("-.+")[:80].strip("-.+") or "dataset"


def _layout_of(source: Path, gathered: SourceFiles, row: DataSet | None) -> Layout:
    try:
        return folder_layout.recognize_layout(gathered.files, row)
    except (UnreadableInputError, UsageError) as error:
        raise type(error)(f"cannot import {printable(str(source))}: {error.message}", error.hint) from error


def _compare_with_published(row: DataSet, gathered: SourceFiles, found: Layout, advance: Advance | None) -> Comparison:
    """Compare the files in class folders with the published ones; where no hashes are known, all pass."""
    inside = [
        (file, place.label, content)
        for file, place, content in zip(gathered.files, found.roles, gathered.contents, strict=True)
        if place.label
    ]
    if not row.hashes:
        return Comparison(reasons=("",) * len(inside), differing=(), missing=())
    at_hand = []
    for done, (file, label, content) in enumerate(inside, start=1):
        sha256 = ""
        with contextlib.suppress(UnreadableInputError):
            sha256 = hashlib.sha256(source_files.read_content(content, str(file))).hexdigest()
        at_hand.append(published_hashes.LocalFile(path=file, label=label, sha256=sha256))
        if advance:
            advance(done, len(inside))
    return published_hashes.compare(row, at_hand)


def _is_published_set(row: DataSet, found: Layout, compared: Comparison) -> bool:
    """Say whether files laid out like a published set are of it; without hashes, only their number tells."""
    if row.hashes:
        return compared.matching > 0 or bool(compared.differing)
    return Counter(place.label for place in found.roles if place.label) == Counter(dict(row.counts))


def _refuse_differing(row: DataSet, compared: Comparison) -> None:
    if compared.differing:
        raise NetworkError(
            f"{len(compared.differing):,} of its files are not as {row.name} was published: "
            f"{_first_names([printable(str(path)) for path in compared.differing])}",
            f"get the set anew: lungcli data download {row.name}; or take yours in as other data: "
            "lungcli data import PATH --name OTHER",
        )


def _write(
    name: str,
    source: Source,
    gathered: SourceFiles,
    found: Layout,
    advance: Advance | None,
    row: DataSet | None = None,
    foreign: Sequence[str] = (),
) -> Manifest:
    """Write the files in class folders but those that `foreign`, one reason a file, leaves out."""
    inside = iter(foreign)
    reasons = [place.reason or next(inside, "") for place in found.roles]
    shown = [printable(str(file)) for file in gathered.files]
    hashes = published_hashes.published_files(row) if row else {}
    return write_dataset(
        name,
        [
            IncomingFile(
                label=place.label,
                filename=file.name,
                content=content,
                origin=origin,
                sha256=hashes[file.name].sha256 if hashes else "",
            )
            for file, place, content, origin, reason in zip(
                gathered.files, found.roles, gathered.contents, shown, reasons, strict=True
            )
            if not reason
        ],
        source,
        # Of no other set is it known that file numbers follow the scans.
        ordered=found.data_set is not None and found.data_set.ordered,
        rejected=(
            *gathered.rejected,
            *(Rejected(path=path, reason=reason) for path, reason in zip(shown, reasons, strict=True) if reason),
        ),
        advance=advance,
    )


def _source(row: DataSet) -> Source:
    return Source(about=row.about, licence=row.licence, citation=row.citation, doi=row.doi, data_set=row.name)


def _first_names(items: Sequence[str]) -> str:
    more = f" and {len(items) - _NAMED:,} more" if len(items) > _NAMED else ""
    return ", ".join(items[:_NAMED]) + more
