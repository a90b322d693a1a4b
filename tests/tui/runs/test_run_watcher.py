"""Watching all runs: what came, went and changed; cheap, however many there are."""

import time
from pathlib import Path

import pytest

from lungcli.core import run_trash, runs
from lungcli.tui.runs.run_watcher import RunWatcher
from tests.tui import fakes


class Clock:
    """A clock that goes on when told to, and a little each time it is read."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        self.now += 1e-4
        return self.now


def names_after_reading(watcher: RunWatcher) -> list[str]:
    watcher.scan()
    while watcher.behind:
        watcher.read(1.0)
    return [row.name for row in watcher.rows()]


def test_runs_come_and_go_the_newest_first() -> None:
    watcher = RunWatcher()
    assert names_after_reading(watcher) == []
    old = fakes.run("old", age=90)
    fakes.run("new", age=30)
    assert names_after_reading(watcher) == ["new", "old"]
    runs.remove(old.folder)
    assert names_after_reading(watcher) == ["new"]


def test_a_run_that_grows_moves_without_anything_else_being_read() -> None:
    run = fakes.stand(fakes.run("live", end="stopped"), "running")
    watcher = RunWatcher()
    names_after_reading(watcher)
    fakes.append(run.events, list(fakes.epoch("train", 6, 10, 0.9)))
    names_after_reading(watcher)
    row = watcher.rows()[0]
    assert (row.epoch, row.state) == (6, "running")
    assert row.best is not None
    assert row.best.balanced_accuracy == 0.9


def test_a_run_that_says_it_is_running_is_believed_while_events_come() -> None:
    clock = Clock()
    run = fakes.stand(fakes.run("live", end="stopped"), "running")
    watcher = RunWatcher(clock)
    names_after_reading(watcher)
    assert watcher.rows()[0].state == "stopped"  # No process holds it.
    fakes.append(run.events, list(fakes.epoch("train", 6, 10, 0.9)))
    names_after_reading(watcher)
    assert watcher.rows()[0].state == "running"  # Another machine's, whose lock is not seen here.
    clock.now += 60
    watcher.scan()
    watcher.read(1.0)
    assert watcher.rows()[0].state == "stopped"


def test_a_damaged_run_is_shown_as_one() -> None:
    run = fakes.run("broken")
    (run.folder / "run.json").write_bytes(b"{")
    watcher = RunWatcher()
    names_after_reading(watcher)
    row = watcher.rows()[0]
    assert row.state == "damaged"
    assert "the run 'broken' is damaged" in row.problem


def test_a_run_without_events_yet_is_shown() -> None:
    run = fakes.run("fresh")
    run.events.unlink()
    watcher = RunWatcher()
    assert names_after_reading(watcher) == ["fresh"]
    assert watcher.rows()[0].best is None


def test_tags_are_read_when_asked() -> None:
    run = fakes.run("one")
    watcher = RunWatcher()
    names_after_reading(watcher)
    run_trash.tag(run.folder, ("paper",))
    watcher.touch("one")
    names_after_reading(watcher)
    assert watcher.rows()[0].tags == ("paper",)


def test_points_are_kept_only_of_runs_that_are_followed() -> None:
    fakes.run("one")
    fakes.run("two")
    watcher = RunWatcher()
    names_after_reading(watcher)
    watcher.follow(["one", "gone"])
    assert not watcher.read_points(1.0)
    history = watcher.history("one")
    assert history is not None
    assert history.stages == ["train"]
    assert watcher.history("two") is None
    watcher.follow(["one", "two"])
    assert watcher.history("one") is history


def test_hundreds_of_unchanged_runs_are_scanned_in_a_moment(home: Path) -> None:
    source = fakes.run("run-0")
    files = {name: (source.folder / name).read_bytes() for name in ("run.json", "recipe.toml", "events.jsonl")}
    for i in range(1, 300):
        folder = home / "runs" / f"run-{i}"
        folder.mkdir()
        for name, content in files.items():
            (folder / name).write_bytes(content)
    watcher = RunWatcher()
    assert len(names_after_reading(watcher)) == 300
    start = time.thread_time()
    watcher.scan()
    watcher.read(1.0)
    assert time.thread_time() - start < 0.1


def test_no_home_is_no_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LUNGCLI_HOME", str(tmp_path / "nowhere"))
    assert names_after_reading(RunWatcher()) == []


def test_runs_that_are_done_are_looked_at_seldom_and_noticed_then() -> None:
    done = fakes.run("done")
    live = fakes.run("live", end="stopped")
    watcher = RunWatcher()
    names_after_reading(watcher)
    for run in (done, live):
        fakes.append(run.events, list(fakes.epoch("train", 6, 10, 0.9)))
    watcher.scan(done_too=False)
    watcher.read(1.0)
    assert {row.name: row.epoch for row in watcher.rows()} == {"done": 10, "live": 6}
    fakes.run("new")
    runs.remove(live.folder)
    watcher.scan(done_too=False)
    watcher.read(1.0)
    assert {row.name for row in watcher.rows()} == {"done", "new"}
    assert "new" in watcher
    assert "live" not in watcher
    watcher.scan()
    watcher.read(1.0)
    assert {row.name: row.epoch for row in watcher.rows()}["done"] == 6
