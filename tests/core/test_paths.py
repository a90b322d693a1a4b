"""Writing whole files or none."""

import errno
import os
from pathlib import Path

import pytest

from lungcli.core import paths
from lungcli.core.errors import LungcliError


def test_write_replaces_and_leaves_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b.json"
    paths.write(target, b"one")
    paths.write(target, b"two")
    assert target.read_bytes() == b"two"
    assert [item.name for item in target.parent.iterdir()] == ["b.json"]


def test_an_error_half_way_keeps_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "b.json"
    paths.write(target, b"old")

    def half() -> None:
        with paths.replacing(target) as partial:
            partial.write_bytes(b"ne")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half()
    assert target.read_bytes() == b"old"
    assert [item.name for item in tmp_path.iterdir()] == ["b.json"]


def test_full_disk_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "b.json"
    paths.write(target, b"old")

    def full(handle: int) -> None:
        del handle
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(LungcliError, match=r"cannot write .*b\.json: No space left on device") as caught:
        paths.write(target, b"new")
    assert "free some space" in caught.value.hint
    assert target.read_bytes() == b"old"
    assert [item.name for item in tmp_path.iterdir()] == ["b.json"]


def test_a_folder_that_cannot_be_made_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(LungcliError, match="cannot write"):
        paths.write(tmp_path / "file" / "b.json", b"new")


def test_homes_follow_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUNGCLI_HOME", str(tmp_path))
    assert paths.runs_home() == tmp_path / "runs"
    assert paths.data_home() == tmp_path / "data"
    monkeypatch.setenv("LUNGCLI_DATA", str(tmp_path / "elsewhere"))
    assert paths.data_home() == tmp_path / "elsewhere"
    monkeypatch.delenv("LUNGCLI_HOME")
    assert paths.home().name == "lungcli"
