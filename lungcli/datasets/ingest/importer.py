"""Importing a folder or .zip file: by a label table, as published, or by class folders."""

import contextlib
import hashlib
import itertools
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from lungcli.core import names
from lungcli.core.errors import NetworkError, UnreadableInputError, UsageError
from lungcli.core.registry import DataSet
from lungcli.datasets import manifest, pseudonyms
from lungcli.datasets.files import Advance
from lungcli.datasets.ingest import folder_layout, folders, label_table, published_hashes, source_files, volumes
from lungcli.datasets.ingest.folder_layout import Layout
from lungcli.datasets.ingest.ingest import IncomingFile, Mask, write_dataset
from lungcli.datasets.ingest.label_table import LabelRow
from lungcli.datasets.ingest.published_hashes import Comparison
from lungcli.datasets.ingest.source_files import SourceFiles
from lungcli.datasets.manifest import Manifest, Rejected, Source
from lungcli.imaging.picture import printable
from lungcli.imaging.volumes import is_volume

TABLE = "labels.csv"
"""A source's own label table."""

# More would fill the line that cites them.
_MOST_SOURCES = 5
# File names in a message; more would fill the screen.
_NAMED = 5


def import_dataset(
    source: Path,
    name: str | None = None,
    advance: Advance | None = None,
    *,
    table: Path | None = None,
    any_picture: bool = False,
) -> Manifest:
    """Copy the slices of a folder or .zip file into a new data set and return its manifest.

    A label table (see `label_table`), the CSV file `table` or else one in the source called `labels.csv`, comes before
    the layouts of `folder_layout.recognize_layout`; slices of one patient are one group then. No file is dropped
    silently: those that are not slices are in `manifest.rejected` with the reason. A source with the folders of a
    published set is that set if any of its files are the published ones; otherwise, or if it differs and a `name` is
    given, it is imported as other data. `name` defaults to that of the published set, else to one made from the
    source's; `advance(done, total)` counts files. What the guard would refuse is listed as `doubtful`, unless
    `any_picture` is welcome.

    Raises UsageError (name taken, one unknown class), UnreadableInputError (nothing usable, an unsafe .zip file, or the
    row of the table that is off), NetworkError (files of a published set that differ), LungcliError (cannot write);
    nothing is left behind then, nor after Ctrl-C.
    """
    if name is not None:
        manifest.require_new(name)
    other = Source(about=f"imported from {printable(source.resolve().name)}", any_picture=any_picture)
    with source_files.open_source(source) as listing:
        if rows := label_table.read(table, listing.files) if table else _own_table(listing):
            return _import_table(name or default_name(source), listing, rows, other, advance)
        layout = _layout_of(source, listing, None)
        if row := layout.data_set:
            comparison = _compare_with_published(row, listing, layout, advance)
            as_other = name is not None and names.spelling(name) != names.spelling(row.name) and comparison.differing
            if _is_published_set(row, layout, comparison) and not as_other:
                _refuse_differing(row, comparison)
                return _write(name or row.name, _source(row), listing, layout, advance, row, comparison.reasons)
        return _write(name or default_name(source), other, listing, layout, advance)


def import_published(row: DataSet, source: Path, advance: Advance | None = None, *, complete: bool = False) -> Manifest:
    """Copy the files of a published data set out of a folder or .zip file, each checked against its known hash.

    Files that are not of the set are named in `manifest.rejected`. With `complete`, every published file must be
    there. A set without known folders is imported by its label table or class folders. Raises NetworkError for files
    that differ or are missing, and what `import_dataset` raises.
    """
    manifest.require_new(row.name)
    with source_files.open_source(source) as listing:
        if not row.folders:
            if rows := _own_table(listing):
                return _import_table(row.name, listing, rows, _source(row), advance)
            return _write(row.name, _source(row), listing, _layout_of(source, listing, None), advance)
        layout = _layout_of(source, listing, row)
        comparison = _compare_with_published(row, listing, layout, advance)
        _refuse_differing(row, comparison)
        if row.hashes and not comparison.matching:
            raise NetworkError(
                f"none of its files is one of the {row.slices:,} published files of {row.name}",
                f"take it in as other data: lungcli data import PATH --name OTHER; or get the set: {row.page}",
            )
        if complete and comparison.missing:
            raise NetworkError(
                f"it has {comparison.matching:,} of the {row.slices:,} published files of {row.name}; "
                f"missing: {_first_names(comparison.missing)}",
                "get it from another place",
            )
        return _write(row.name, _source(row), listing, layout, advance, row, comparison.reasons)


def _own_table(listing: SourceFiles) -> tuple[LabelRow, ...]:
    """Return the rows of the uppermost `labels.csv` of a source; none where there is no label table of that name."""
    content_of_file = dict(zip(listing.files, listing.contents, strict=True))
    tables = sorted((path for path in listing.files if path.name == TABLE), key=lambda path: len(path.parts))
    for path in tables[:1]:
        content = source_files.read_content(content_of_file[path], printable(str(path)))
        if label_table.is_table(content):
            return label_table.parse(content, printable(str(path)), listing.files, path.parent)
    return ()


def _import_table(
    name: str, listing: SourceFiles, rows: Sequence[LabelRow], source: Source, advance: Advance | None
) -> Manifest:
    """Write the files that a table lists; it tells the licence and citation that the `source` does not know."""
    content_of_file = dict(zip(listing.files, listing.contents, strict=True))
    used = {path for row in rows for path in (row.path, row.mask)}
    incoming = (
        IncomingFile(
            label=row.label,
            filename=row.path.name,
            content=content_of_file[row.path],
            origin=printable(str(row.path)),
            patient=pseudonyms.pseudonym(row.patient),
            institution=row.institution,
            part=row.part,
            mask=Mask(content=content_of_file[row.mask], origin=printable(str(row.mask)))
            if row.mask and not is_volume(row.path.name)
            else None,
        )
        for row in rows
    )
    return write_dataset(
        name,
        tuple(volumes.sliced(incoming)),
        source
        if source.citation
        else msgspec.structs.replace(
            source,
            licence=_distinct(row.licence for row in rows) or source.licence,
            citation=_citation([row.source for row in rows]),
        ),
        ordered=False,
        rejected=(
            *listing.rejected,
            *(
                Rejected(path=printable(str(row.mask)), reason="a mask of a volume is not read")
                for row in rows
                if row.mask and is_volume(row.path.name)
            ),
            *(
                Rejected(path=printable(str(file)), reason="not in the table")
                for file in listing.files
                if file not in used and folders.may_be_picture(file)
            ),
        ),
        advance=advance,
    )


def _citation(sources: Sequence[str]) -> str:
    """Return all different sources; of many, as with a scanner each, the words that they begin with."""
    words = [source.split() for source in set(sources) if source]
    same = itertools.takewhile(lambda of_all: len(set(of_all)) == 1, zip(*words, strict=False))
    common = " ".join(first for first, *_ in same)
    return common if len(words) > _MOST_SOURCES and common else _distinct(sources)


def _distinct(values: Iterable[str]) -> str:
    """Return all different values, but empty ones, in one line."""
    return "; ".join(sorted({printable(value) for value in values if value}, key=names.natural))


def default_name(source: Path) -> str:
    """Return a data set name made from the name of `source`: in lower case, valid for a folder."""
    path = source.resolve()
    stem = path.name if path.is_dir() else path.stem
    slug = re.sub(r"[^\w.+-]+|_+", "-", unicodedata.normalize("NFC", printable(stem)).casefold())
    return slug.strip("-.+")[:80].strip("-.+") or "dataset"


def _layout_of(source: Path, listing: SourceFiles, row: DataSet | None) -> Layout:
    try:
        return folder_layout.recognize_layout(listing.files, row)
    except (UnreadableInputError, UsageError) as error:
        raise type(error)(f"cannot import {printable(str(source))}: {error.message}", error.hint) from error


def _compare_with_published(row: DataSet, listing: SourceFiles, layout: Layout, advance: Advance | None) -> Comparison:
    """Compare the files in class folders with the published ones; where no hashes are known, all pass."""
    labelled = [
        (file, role.label, content)
        for file, role, content in zip(listing.files, layout.roles, listing.contents, strict=True)
        if role.label
    ]
    if not row.hashes:
        return Comparison(reasons=("",) * len(labelled), differing=(), missing=())
    local_files = []
    for done, (file, label, content) in enumerate(labelled, start=1):
        sha256 = ""
        with contextlib.suppress(UnreadableInputError):
            sha256 = hashlib.sha256(source_files.read_content(content, str(file))).hexdigest()
        local_files.append(published_hashes.LocalFile(path=file, label=label, sha256=sha256))
        if advance:
            advance(done, len(labelled))
    return published_hashes.compare(row, local_files)


def _is_published_set(row: DataSet, layout: Layout, comparison: Comparison) -> bool:
    """Whether files in the folders of a published set are that set; without known hashes, by their counts."""
    if row.hashes:
        return comparison.matching > 0 or bool(comparison.differing)
    return Counter(role.label for role in layout.roles if role.label) == Counter(dict(row.counts))


def _refuse_differing(row: DataSet, comparison: Comparison) -> None:
    if comparison.differing:
        raise NetworkError(
            f"{len(comparison.differing):,} of its files are not as {row.name} was published: "
            f"{_first_names([printable(str(path)) for path in comparison.differing])}",
            f"get the set anew: lungcli data download {row.name}; or take yours in as other data: "
            "lungcli data import PATH --name OTHER",
        )


def _write(
    name: str,
    source: Source,
    listing: SourceFiles,
    layout: Layout,
    advance: Advance | None,
    row: DataSet | None = None,
    foreign: Sequence[str] = (),
) -> Manifest:
    """Write the files in class folders, except those with a reason in `foreign`, which has one entry per file."""
    foreign_reasons = iter(foreign)
    reasons = [role.reason or next(foreign_reasons, "") for role in layout.roles]
    shown = [printable(str(file)) for file in listing.files]
    hashes = published_hashes.published_files(row) if row else {}
    incoming = (
        IncomingFile(
            label=role.label,
            filename=file.name,
            content=content,
            part=role.part,
            origin=origin,
            sha256=hashes[file.name].sha256 if hashes else "",
        )
        for file, role, content, origin, reason in zip(
            listing.files, layout.roles, listing.contents, shown, reasons, strict=True
        )
        if not reason
    )
    return write_dataset(
        name,
        tuple(volumes.sliced(incoming)),
        source,
        # Only for published sets is it known whether file numbers follow the scans.
        ordered=layout.data_set is not None and layout.data_set.ordered,
        rejected=(
            *listing.rejected,
            *(Rejected(path=path, reason=reason) for path, reason in zip(shown, reasons, strict=True) if reason),
        ),
        advance=advance,
    )


def _source(row: DataSet) -> Source:
    return Source(about=row.about, licence=row.licence, citation=row.citation, doi=row.doi, data_set=row.name)


def _first_names(items: Sequence[str]) -> str:
    more = f" and {len(items) - _NAMED:,} more" if len(items) > _NAMED else ""
    return ", ".join(items[:_NAMED]) + more
