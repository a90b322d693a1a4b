"""Files of every version: earlier ones are brought up to date step by step, later ones refused, damage is told."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from lungcli.core import versioned
from lungcli.core.errors import LungcliError, UnreadableInputError
from lungcli.core.versioned import Format


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """What the file holds by now: version 1 called it `rank`, counted from 0; version 2 `place`, from 0."""

    format_version: int = 3
    position: int


def renamed(fields: dict[str, Any]) -> dict[str, Any]:
    return {"place" if name == "rank" else name: value for name, value in fields.items()}


def counted_from_one(fields: dict[str, Any]) -> dict[str, Any]:
    return {"position": fields["place"] + 1}


FORMAT = Format(
    kind="record",
    version=3,
    content=Recorded,
    error=UnreadableInputError,
    migrations={2: counted_from_one, 1: renamed},
)


@pytest.mark.parametrize(
    "content",
    [
        '{"rank": 6}',
        '{"format_version": 1, "rank": 6}',
        '{"format_version": 2, "place": 6}',
        '{"format_version": 3, "position": 7}',
        '{"format_version": 3, "position": 7, "of a later minor version": 1}',
    ],
)
def test_a_file_of_any_version_is_the_value_of_this_one(content: str) -> None:
    assert FORMAT.decode(content, "x", "") == Recorded(position=7)


def test_a_newer_file_is_refused_whatever_else_is_in_it(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text('{"format_version": 4, "position": "unheard-of"}')
    with pytest.raises(UnreadableInputError) as caught:
        FORMAT.read(path, "make it anew")
    assert caught.value.message == f"the record {path} has format 4; this lungcli reads up to 3"
    assert caught.value.hint == "upgrade lungcli: pipx upgrade lungcli"


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"\xff\xfe", b'{"format_version": "3"}', b'{"format_version": 3}', b'{"format_version": null}'],
)
def test_a_damaged_file_says_so(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "r.json"
    path.write_bytes(content)
    with pytest.raises(UnreadableInputError, match="the record 'mine' is damaged: ") as caught:
        FORMAT.read(path, "make it anew", "'mine'")
    assert caught.value.hint == "make it anew"
    assert versioned.read_or(path, Recorded, None) is None


@pytest.mark.parametrize("name", ["none", ".", "\0"])
def test_a_file_that_cannot_be_read_says_so(tmp_path: Path, name: str) -> None:
    with pytest.raises(UnreadableInputError, match="cannot read the record "):
        FORMAT.read(tmp_path / name, "")


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    versioned.write(path, Recorded(position=7))
    assert FORMAT.read(path, "") == versioned.read_or(path, Recorded, None) == Recorded(position=7)
    assert path.read_text() == '{\n "format_version": 3,\n "position": 7\n}'
    with pytest.raises(LungcliError, match="cannot write"):
        versioned.write(path / "within", Recorded(position=7))
