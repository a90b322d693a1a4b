"""Label tables: CSV files with class, patient, institution and lesion mask of each file of a source."""

import csv
import io
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from lungcli.core.errors import UnreadableInputError
from lungcli.datasets.ingest import folder_layout
from lungcli.datasets.splits import Part
from lungcli.imaging.picture import content_of, printable

FORM = "its first line must name the columns: path,label and, where known, patient,institution,mask,split"

_COLUMNS = frozenset(("path", "label", "patient", "institution", "mask", "split"))
# Spreadsheets write semicolons where the comma is a decimal sign.
_NAMES = {",": "comma", ";": "semicolon", "\t": "tab"}
_HERE = PurePosixPath()
# Columns in a message; more would fill the screen.
_NAMED = 8
# Bytes; a first line is shorter.
_LINE = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelRow:
    """One slice: its path within the source and its class; the rest is empty where the table does not say.

    `mask` is the path of a picture of its lesion, `part` that of the split that the table gives, `licence` and `source`
    are those of the slice.
    """

    path: PurePosixPath
    label: str
    patient: str = ""
    institution: str = ""
    mask: PurePosixPath | None = None
    part: Part | None = None
    licence: str = ""
    source: str = ""


def read(table: Path, files: Sequence[PurePosixPath]) -> tuple[LabelRow, ...]:
    """Read the CSV file `table`; see `parse`."""
    shown = printable(str(table))
    return parse(content_of(table, shown), shown, files)


def parse(
    content: bytes, shown: str, files: Sequence[PurePosixPath], base: PurePosixPath = _HERE
) -> tuple[LabelRow, ...]:
    """Read a CSV file that messages call `shown`: the columns `path`, `label`, and those of `LabelRow` that it has.

    Paths are relative to `base`, a folder of the source whose files are `files`; further columns are ignored. Class
    names are put in the usual spelling. Raises UnreadableInputError naming the invalid line: a path that is absolute,
    leads outside, is listed twice or is not among `files`, or an empty field.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableInputError(f"cannot read {shown}: it is not UTF-8 text", "save it as CSV UTF-8") from error
    here = {_composed(path.relative_to(base)): path for path in files if path.is_relative_to(base)}
    try:
        return tuple(_rows(text, shown, here))
    except csv.Error as error:
        raise UnreadableInputError(f"cannot read {shown}: it is no CSV file: {error}", FORM) from error


def is_table(content: bytes) -> bool:
    """Say whether a file is meant as a label table, by its first line: `path`, or two other columns of one."""
    first, *_ = content[:_LINE].decode("utf-8-sig", "replace").splitlines() or [""]
    names = {name.strip(' "').casefold() for name in first.split(_delimiter(first))}
    return "path" in names or len(names & _COLUMNS) > 1


def _composed(path: PurePosixPath) -> str:
    """One spelling of paths whose letters are the same: file systems differ in the Unicode form they keep."""
    return unicodedata.normalize("NFC", str(path))


def _delimiter(text: str) -> str:
    return max(_NAMES, key=text.partition("\n")[0].count)


def _rows(text: str, shown: str, files: Mapping[str, PurePosixPath]) -> Iterator[LabelRow]:
    delimiter = _delimiter(text)
    lines = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=delimiter)
    header = [name.strip().casefold() for name in next(lines, [])]
    if missing := [name for name in ("path", "label") if header.count(name) != 1]:
        has = f", and has {', '.join(map(printable, header[:_NAMED]))}" if any(header) else ""
        raise UnreadableInputError(
            f"cannot read {shown}: it needs one column {' and one column '.join(missing)}{has}", FORM
        )
    line_of: dict[PurePosixPath, int] = {}
    for values in lines:
        if not any(value.strip() for value in values):
            continue
        where = f"{shown}, line {lines.line_num}"
        if len(values) != len(header):
            raise UnreadableInputError(
                f"{where}: it has {len(values)} fields, and the first line has {len(header)}",
                f"put quotes around fields that hold a {_NAMES[delimiter]}",
            )
        row = _row(dict(zip(header, (value.strip() for value in values), strict=True)), where, files)
        if row.path in line_of:
            raise UnreadableInputError(
                f"{where}: {printable(str(row.path))!r} is in line {line_of[row.path]} already", "list every file once"
            )
        line_of[row.path] = lines.line_num
        yield row
    if not line_of:
        raise UnreadableInputError(f"cannot read {shown}: it lists no files", FORM)


def _row(fields: dict[str, str], where: str, files: Mapping[str, PurePosixPath]) -> LabelRow:
    for name in ("path", "label"):
        if not fields[name]:
            raise UnreadableInputError(f"{where}: the {name} is empty", FORM)
    mask = fields.get("mask", "")
    return LabelRow(
        path=_file(fields["path"], where, files),
        label=folder_layout.class_name(fields["label"]),
        mask=_file(mask, where, files) if mask else None,
        licence=fields.get("licence", "") or fields.get("license", ""),
        part=_part(fields["split"], where) if "split" in fields else None,
        **{name: fields.get(name, "") for name in ("patient", "institution", "source")},
    )


def _part(named: str, where: str) -> Part:
    part = folder_layout.part_called(named)
    if part is None:
        raise UnreadableInputError(
            f"{where}: the split {printable(named)!r} is no part of one", "write train, val or test in every line"
        )
    return part


def _file(named: str, where: str, files: Mapping[str, PurePosixPath]) -> PurePosixPath:
    """Return the file of the source that a field names. Raises UnreadableInputError."""
    path = named.replace("\\", "/")
    if path.startswith("/") or re.match(r"[A-Za-z]:", path) or ".." in path.split("/") or "\0" in path:
        raise UnreadableInputError(
            f"{where}: the path {printable(path)!r} leads outside", "paths are relative to the folder given"
        )
    file = files.get(_composed(PurePosixPath(path)))
    if file is None:
        raise UnreadableInputError(
            f"{where}: there is no file {printable(path)!r}", "paths are relative to the folder given"
        )
    return file
