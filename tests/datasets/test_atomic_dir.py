"""Folders appear whole; what a killed process left is cleared, what a living one makes is not."""

import subprocess
import sys
from pathlib import Path

import pytest

from lungcli.core.errors import UsageError
from lungcli.datasets.atomic_dir import LOCKS, atomic_directory, exclusive_lock

# Begins a folder, says so, and waits to be killed.
MAKER = """
import sys, pathlib
from lungcli.datasets.atomic_dir import atomic_directory
with atomic_directory(pathlib.Path(sys.argv[1])) as partial:
    (partial / "half").write_text("half")
    print("begun", flush=True)
    sys.stdin.read()
"""


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {LOCKS}


def test_whole(tmp_path: Path) -> None:
    with atomic_directory(tmp_path / "new") as partial:
        (partial / "file").write_text("x")
        assert not (tmp_path / "new").exists()

    assert names(tmp_path) == {"new"}
    assert (tmp_path / "new" / "file").read_text() == "x"


def test_not_at_all(tmp_path: Path) -> None:
    def interrupted() -> None:
        with atomic_directory(tmp_path / "new") as partial:
            (partial / "file").write_text("x")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert names(tmp_path) == set()


def test_a_folder_that_came_in_between_is_left_alone(tmp_path: Path) -> None:
    def too_late() -> None:
        with atomic_directory(tmp_path / "new"):
            (tmp_path / "new").mkdir()
            (tmp_path / "new" / "theirs").write_text("x")

    with pytest.raises(UsageError, match="has appeared meanwhile"):
        too_late()
    assert names(tmp_path) == {"new"}
    assert (tmp_path / "new" / "theirs").exists()


def test_what_a_killed_process_left_is_cleared(tmp_path: Path) -> None:
    target = tmp_path / "set [1]"
    maker = subprocess.Popen(
        [sys.executable, "-c", MAKER, target], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with maker:
        assert maker.stdout is not None
        assert maker.stdout.readline() == "begun\n"
        half = names(tmp_path)
        assert len(half) == 1
        with pytest.raises(UsageError, match="another process is making the data set"), atomic_directory(target):
            pytest.fail("two at once")
        assert names(tmp_path) == half
        maker.kill()

    assert names(tmp_path) == half
    with atomic_directory(target):
        assert names(tmp_path).isdisjoint(half)
    assert names(tmp_path) == {"set [1]"}


def test_what_was_left_on_the_way_to_another_folder_is_cleared_unless_somebody_makes_it(tmp_path: Path) -> None:
    (tmp_path / ".dead.partial-12").mkdir()
    (tmp_path / ".dead.partial-12" / "half").write_text("half")
    with atomic_directory(tmp_path / "set 1") as living, atomic_directory(tmp_path / "set [1]"):
        assert living.exists()
        assert not (tmp_path / ".dead.partial-12").exists()
    assert names(tmp_path) == {"set 1", "set [1]"}


def test_alone_only_while_it_lasts(tmp_path: Path) -> None:
    with (
        exclusive_lock(tmp_path, "work", "busy"),
        pytest.raises(UsageError, match="busy"),
        exclusive_lock(tmp_path, "work", "busy"),
    ):
        pytest.fail("two at once")
    with exclusive_lock(tmp_path, "work", "busy"), exclusive_lock(tmp_path, "other work", "busy"):
        pass
