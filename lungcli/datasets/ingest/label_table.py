"""Label tables: CSV files with the class and patient of each file of a source."""

import csv
import io
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from lungcli.core.errors import UnreadableInputError
from lungcli.datasets.ingest import folder_layout
from lungcli.imaging.picture import content_of, printable

FORM = "its first line must be: path,label,patient; the column patient may be left out"

# Spreadsheets write semicolons where the comma is a decimal sign.
_NAMES = {",": "comma", ";": "semicolon", "\t": "tab"}


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelRow:
    """One slice: its path within the source, its class, and its patient, empty where the table does not say."""

    path: PurePosixPath
    label: str
    patient: str


def read(table: Path, files: Sequence[PurePosixPath]) -> tuple[LabelRow, ...]:
    """Read a CSV file with the columns `path`, `label` and, if known, `patient`; further columns are ignored.

    Paths are relative to the source, whose files are `files`. Class names are put in the usual spelling.
    Raises UnreadableInputError naming the invalid line: a path that is absolute, leads outside, is listed twice or
    is not among `files`, or an empty field.
    """
    shown = printable(str(table))
    try:
        text = content_of(table, shown).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableInputError(f"cannot read {shown}: it is not UTF-8 text", "save it as CSV UTF-8") from error
    try:
        return tuple(_rows(text, shown, {_composed(path): path for path in files}))
    except csv.Error as error:
        raise UnreadableInputError(f"cannot read {shown}: it is no CSV file: {error}", FORM) from error


def _composed(path: PurePosixPath) -> str:
    """One spelling of paths whose letters are the same: file systems differ in the Unicode form they keep."""
    return unicodedata.normalize("NFC", str(path))


def _rows(text: str, shown: str, files: Mapping[str, PurePosixPath]) -> Iterator[LabelRow]:
    delimiter = max(_NAMES, key=text.partition("\n")[0].count)
    lines = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=delimiter)
    header = [name.strip().casefold() for name in next(lines, [])]
    if missing := [name for name in ("path", "label") if header.count(name) != 1]:
        raise UnreadableInputError(f"cannot read {shown}: it has not one column {' and one '.join(missing)}", FORM)
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
        row = _row(dict(zip(header, (value.strip() for value in values), strict=True)), where)
        path = files.get(_composed(row.path))
        if path is None:
            raise UnreadableInputError(
                f"{where}: there is no file {printable(str(row.path))!r}", "paths are relative to the folder given"
            )
        if path in line_of:
            raise UnreadableInputError(
                f"{where}: {printable(str(path))!r} is in line {line_of[path]} already", "list every file once"
            )
        line_of[path] = lines.line_num
        yield replace(row, path=path)
    if not line_of:
        raise UnreadableInputError(f"cannot read {shown}: it lists no files", FORM)


def _row(fields: dict[str, str], where: str) -> LabelRow:
    for name in ("path", "label"):
        if not fields[name]:
            raise UnreadableInputError(f"{where}: the {name} is empty", FORM)
    path = fields["path"].replace("\\", "/")
    if path.startswith("/") or re.match(r"[A-Za-z]:", path) or ".." in path.split("/") or "\0" in path:
        raise UnreadableInputError(
            f"{where}: the path {printable(path)!r} leads outside", "paths are relative to the folder given"
        )
    return LabelRow(
        path=PurePosixPath(path), label=folder_layout.class_name(fields["label"]), patient=fields.get("patient", "")
    )
