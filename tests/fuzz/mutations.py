"""Damage as it happens and as it is meant: bytes changed, cut, doubled, and spliced into other files."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from hypothesis import strategies as st

Kind = Literal["flip", "set", "number", "cut", "delete", "double", "splice", "insert"]

# Where counts and lengths are off by one, negative, or larger than anything.
_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 2**63 - 1, 2**64 - 1)
_WIDTHS = "BHIQ"
_TOKENS = (
    b"\0",
    b"\n",
    b'"',
    b"{",
    b"}",
    b"[" * 40,
    b"null",
    b"NaN",
    b"-1",
    b"1e999",
    b"9" * 30,
    b"\\u0000",
    b"\xff\xfe",
    b"\x1b]0;x\x07",
    b"../",
    b"/etc/passwd",
    b"'''",
    b",",
    b"=",
    b"PK\x03\x04",
    b"PK\x05\x06",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """One change, of the byte at the share `where` of the file; `early` counts among its first 1,500 alone."""

    kind: Kind
    where: float
    early: bool
    value: int
    length: int


EDITS = st.builds(
    Edit,
    kind=st.sampled_from(("flip", "set", "number", "cut", "delete", "double", "splice", "insert")),
    where=st.floats(0, 0.9999),
    early=st.booleans(),
    value=st.integers(0, 255),
    length=st.integers(1, 64),
)


def damaged(content: bytes, other: bytes, edits: Sequence[Edit]) -> bytes:
    """Return `content` after every edit; splices take their bytes from `other`."""
    for edit in edits:
        at = int(edit.where * min(len(content), 1500 if edit.early else 1 << 40))
        content = _edited(content, other, edit, at)
    return content


def _edited(content: bytes, other: bytes, edit: Edit, at: int) -> bytes:
    before, after = content[:at], content[at:]
    match edit.kind:
        case "flip":
            return before + bytes(byte ^ (1 << edit.value % 8) for byte in after[:1]) + after[1:]
        case "set":
            return before + bytes([edit.value]) + after[1:]
        case "number":
            number = _number(edit)
            return before + number + after[len(number) :]
        case "cut":
            return before
        case "delete":
            return before + after[edit.length :]
        case "double":
            return before + after[: edit.length] * (2 + edit.value % 30) + after[edit.length :]
        case "splice":
            start = edit.value * len(other) // 256
            return before + other[start : start + edit.length * 8] + after[edit.length * (edit.value % 3) :]
        case "insert":
            return before + _TOKENS[edit.value % len(_TOKENS)] + after


def _number(edit: Edit) -> bytes:
    width = _WIDTHS[edit.length % len(_WIDTHS)]
    number = _NUMBERS[edit.value % len(_NUMBERS)] % (1 << 8 * struct.calcsize(width))
    return struct.pack(("<" if edit.length % 8 < 4 else ">") + width, number)
