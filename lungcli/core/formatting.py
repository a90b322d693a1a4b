"""Foreign names made harmless, and values as JSON and CSV."""

import csv
import io
import re
from collections.abc import Sequence

import msgspec

from lungcli import DISCLAIMER

SCHEMA_VERSION = 1

# Control characters of a foreign file name could move the cursor or recolour the terminal.
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")

# What a spreadsheet takes for a formula, spaces and wide forms included.
_FORMULA = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20]")


def plain(name: object) -> str:
    """Return a foreign name with control characters made visible."""
    return CONTROL.sub(lambda match: match.group().encode("unicode_escape").decode(), str(name))


def plain_lines(text: str) -> str:
    """Return a text of several lines with all other control characters made visible, as `plain` does."""
    return "\n".join(map(plain, text.split("\n")))


def plain_json(document: str) -> str:
    """Return a JSON document that means the same, with control characters escaped the way JSON does."""
    return "\n".join(CONTROL.sub(lambda match: f"\\u{ord(match.group()):04x}", line) for line in document.split("\n"))


def csv_row(cells: Sequence[object]) -> str:
    """Write a line of CSV. Texts stay on it, and one that a spreadsheet would take for a formula begins with `'`.

    Source: OWASP, CSV Injection.
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(
        "'" * bool(_FORMULA.match(cell)) + plain(cell) if isinstance(cell, str) else cell for cell in cells
    )
    return text.getvalue()


def as_json(value: object) -> str:
    """Write a value with fields as one JSON object that carries its schema version and the disclaimer."""
    document = {"schema_version": SCHEMA_VERSION, "disclaimer": DISCLAIMER} | msgspec.to_builtins(value)
    return plain_json(msgspec.json.format(msgspec.json.encode(document), indent=2).decode()) + "\n"
