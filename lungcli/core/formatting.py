"""Foreign names made harmless, and values as JSON."""

import re

import msgspec

from lungcli import DISCLAIMER

SCHEMA_VERSION = 1

# Control characters of a foreign file name could move the cursor or recolour the terminal.
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def plain(name: object) -> str:
    """Return a foreign name with control characters made visible."""
    return CONTROL.sub(lambda match: match.group().encode("unicode_escape").decode(), str(name))


def plain_lines(text: str) -> str:
    """Return a text of several lines with all other control characters made visible, as `plain` does."""
    return "\n".join(map(plain, text.split("\n")))


def plain_json(document: str) -> str:
    """Return a JSON document that means the same, with control characters escaped the way JSON does."""
    return "\n".join(CONTROL.sub(lambda match: f"\\u{ord(match.group()):04x}", line) for line in document.split("\n"))


def as_json(value: object) -> str:
    """Write a value with fields as one JSON object that carries its schema version and the disclaimer."""
    document = {"schema_version": SCHEMA_VERSION, "disclaimer": DISCLAIMER} | msgspec.to_builtins(value)
    return plain_json(msgspec.json.format(msgspec.json.encode(document), indent=2).decode()) + "\n"
