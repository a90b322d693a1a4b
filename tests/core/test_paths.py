"""Writing whole files or none."""

import errno
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from lungcli.core import paths
from lungcli.core.errors import LungcliError, UsageError


def test_write_replaces_and_leaves_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b.json"
    paths.atomic_write(target, b"one")
    paths.atomic_write(target, b"two")
    assert target.read_bytes() == b"two"
    assert [item.name for item in target.parent.iterdir()] == ["b.json"]


def test_an_error_half_way_keeps_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "b.json"
    paths.atomic_write(target, b"old")

    def half() -> None:
        with paths.atomic_replace(target) as partial:
            partial.write_bytes(b"ne")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half()
    assert target.read_bytes() == b"old"
    assert [item.name for item in tmp_path.iterdir()] == ["b.json"]


@pytest.mark.skipif(sys.platform == "win32", reason="a file that is being made is not locked there")
def test_a_signal_that_comes_as_the_file_is_made_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(handle: int) -> None:
        assert list(tmp_path.iterdir())
        del handle
        raise KeyboardInterrupt

    monkeypatch.setattr(paths, "_try_lock", interrupted)
    with pytest.raises(KeyboardInterrupt):
        paths.atomic_write(tmp_path / "b.json", b"new")
    assert not list(tmp_path.iterdir())


def test_full_disk_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "b.json"
    paths.atomic_write(target, b"old")

    def full(handle: int) -> None:
        del handle
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(LungcliError, match=r"cannot write .*b\.json: No space left on device") as caught:
        paths.atomic_write(target, b"new")
    assert "free some space" in caught.value.hint
    assert target.read_bytes() == b"old"
    assert [item.name for item in tmp_path.iterdir()] == ["b.json"]


def test_a_folder_that_cannot_be_made_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(LungcliError, match="cannot write"):
        paths.atomic_write(tmp_path / "file" / "b.json", b"new")


def test_a_folder_in_the_place_of_a_file_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    monkeypatch.chdir(inner)
    for folder in (Path(), inner):
        with pytest.raises(LungcliError, match="cannot write"):
            paths.atomic_write(folder, b"new")
    assert [item.name for item in tmp_path.rglob("*")] == ["inner"]


def test_homes_follow_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUNGCLI_HOME", str(tmp_path))
    assert paths.runs_home() == tmp_path / "runs"
    assert paths.data_home() == tmp_path / "data"
    monkeypatch.setenv("LUNGCLI_DATA", str(tmp_path / "elsewhere"))
    assert paths.data_home() == tmp_path / "elsewhere"
    monkeypatch.delenv("LUNGCLI_HOME")
    assert paths.home().name == "lungcli"


def test_without_a_home_folder_nothing_is_made_where_the_command_was_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LUNGCLI_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    with monkeypatch.context() as patched:
        patched.setattr(os.path, "expanduser", lambda path: path)
        with pytest.raises(UsageError, match="no home folder") as caught:
            paths.home()
    assert "LUNGCLI_HOME" in caught.value.hint
    monkeypatch.setenv("LUNGCLI_HOME", "~nobody-at-all/x")
    with pytest.raises(UsageError, match="there is no such home folder"):
        paths.home()


# Begins a file, says so, and waits to be killed.
WRITER = """
import sys, pathlib
from lungcli.core import paths
with paths.atomic_replace(pathlib.Path(sys.argv[1])) as partial:
    partial.write_bytes(b"half")
    print("begun", flush=True)
    sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="nobody can tell there who writes a file")
def test_partial_files_of_killed_processes_are_deleted_and_those_of_living_ones_are_not(tmp_path: Path) -> None:
    target = tmp_path / "a [1].json"
    command = [sys.executable, "-c", WRITER, str(target)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "begun\n"
        paths.remove_partial(tmp_path)
        assert len(list(tmp_path.iterdir())) == 1
        writer.kill()
    paths.remove_partial(tmp_path, "another")
    assert len(list(tmp_path.iterdir())) == 1
    paths.remove_partial(tmp_path, target.name)
    assert list(tmp_path.iterdir()) == []


# Works in a scratch folder, says so, and waits to be killed.
WORKER = """
import sys
from lungcli.core import paths
with paths.scratch("test") as folder:
    (folder / "work").mkdir()
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="nobody can tell there who works in a folder")
def test_scratch_of_killed_processes_is_cleared_and_that_of_living_ones_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "lungcli-scratch-link").symlink_to(tmp_path.parent)
    command = [sys.executable, "-c", WORKER]
    settings = os.environ | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=settings) as worker:
        assert worker.stdout is not None
        theirs = Path(worker.stdout.readline().strip())
        os.utime(theirs, (0, 0))
        with paths.scratch("test") as ours:
            assert theirs.is_dir()
            assert list(ours.iterdir()) == []
        assert not ours.exists()
        worker.kill()
    with paths.scratch("other"):
        assert not theirs.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["lungcli-scratch-link"]
    assert tmp_path.parent.is_dir()


@pytest.mark.skipif(sys.platform == "win32", reason="nothing is cleared there")
def test_a_scratch_folder_just_made_is_left_to_who_makes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    made = tmp_path / "lungcli-scratch-test-just-made"
    made.mkdir()
    with paths.scratch("test"):
        assert made.is_dir()


@pytest.mark.parametrize(
    ("value", "offline"), [("1", True), ("yes", True), ("0", False), (" No ", False), ("", False), (None, False)]
)
def test_the_network_is_forbidden_by_any_value_that_means_yes(
    monkeypatch: pytest.MonkeyPatch, value: str | None, offline: bool
) -> None:
    if value is None:
        monkeypatch.delenv("LUNGCLI_OFFLINE", raising=False)
    else:
        monkeypatch.setenv("LUNGCLI_OFFLINE", value)
    assert paths.is_offline() is offline
