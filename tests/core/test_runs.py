"""Runs on disk: what survives, who may write, and how a run is said to have ended."""

import math
import multiprocessing
import os
import shutil
from collections.abc import Generator
from pathlib import Path

import msgspec
import pytest

from lungcli.core import paths, runs
from lungcli.core import recipe as recipes
from lungcli.core.errors import InterruptedRunError, LungcliError, UsageError
from lungcli.core.events import BatchDone, EpochDone, Event, RunDone, RunFailed, RunStarted, RunStopped, decode, now
from lungcli.core.runs import Run

RECIPE = recipes.make(data="phantom", model="resnet18")


def batch(number: int) -> BatchDone:
    return BatchDone(
        time=now(), stage="train", epoch=1, batch=number, batches=9, loss=1.0, learning_rate=0.1, images_per_second=9.0
    )


def three_batches() -> Generator[Event, None, None]:
    yield RunStarted(time=now(), stages=("train",))
    for number in (1, 2, 3):
        yield batch(number)
    yield RunDone(time=now())


def new() -> Run:
    return runs.create("first", "train", RECIPE)


def test_a_run_is_found_again_as_it_was_made() -> None:
    made = new()
    assert runs.load("First") == made
    assert runs.state(made) == "new"
    assert list(runs.known()) == ["first"]


def test_the_origins_of_several_teachers_are_found_again_and_those_of_one_are_kept_as_before() -> None:
    made = runs.create("several", "distill", RECIPE, ("other", ""))
    assert runs.load("several").info.teacher_run == ("other", "")
    alone = runs.create("alone", "distill", RECIPE, "other")
    assert '"teacher_run": "other"' in (alone.folder / "run.json").read_text()
    assert runs.load("several") == made


def test_names_are_not_given_twice() -> None:
    new()
    with pytest.raises(UsageError, match="there is a run 'first' already"):
        new()
    assert runs.fresh_name("first") == "first-2"


def test_a_run_that_another_process_removes_just_now_is_not_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    new()
    gone = runs.create("gone", "train", RECIPE).folder
    lstat = Path.lstat

    def then_gone(path: Path) -> os.stat_result:
        status = lstat(path)
        if path.parent == gone:
            shutil.rmtree(gone)
        return status

    monkeypatch.setattr(Path, "lstat", then_gone)
    assert list(runs.known()) == ["first"]


def test_a_name_is_free_again_where_its_run_was_killed_while_it_was_made() -> None:
    half = paths.runs_home() / "first"
    half.mkdir(parents=True)
    (half / "recipe.toml").write_bytes(b"")
    (half / ".run.json.x.partial").write_bytes(b"{")
    assert runs.fresh_name("first") == "first"
    made = new()
    assert runs.load("first") == made
    (paths.runs_home() / "theirs" / "train").mkdir(parents=True)
    with pytest.raises(UsageError, match="there is a run 'theirs' already"):
        runs.create("theirs", "train", RECIPE)


def test_a_removal_that_was_killed_leaves_no_run_and_the_next_one_clears_it() -> None:
    left = new().folder.rename(paths.runs_home() / ".first.removed-12")
    assert runs.known() == {}
    runs.remove(new().folder)
    assert not left.exists()


def test_a_run_that_cannot_be_opened_can_be_removed() -> None:
    folder = new().folder
    (folder / "run.json").write_bytes(b"{")
    runs.remove(folder)
    assert list(paths.runs_home().iterdir()) == []


def test_partial_files_are_deleted_when_a_run_is_resumed() -> None:
    run = new()
    run.stage("train").mkdir()
    for folder in (run.folder, run.stage("train")):
        (folder / ".checkpoint.safetensors.x.partial").write_bytes(b"half")
    list(runs.record(run, three_batches()))
    assert not list(run.folder.rglob("*.partial"))


def test_looking_at_a_run_writes_nothing() -> None:
    run = new()
    (run.folder / ".lock").unlink(missing_ok=True)
    before = sorted(run.folder.iterdir())
    assert runs.worker(run) is None
    assert (
        runs.state(msgspec.structs.replace(run, info=msgspec.structs.replace(run.info, state="running"))) == "stopped"
    )
    assert sorted(run.folder.iterdir()) == before


def test_a_full_disk_is_reported_and_leaves_whole_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    run = new()
    recording = runs.record(run, three_batches())
    next(recording)
    next(recording)
    writing = os.write
    monkeypatch.setattr(os, "write", lambda handle, line: writing(handle, line[:7]))
    with pytest.raises(LungcliError, match="No space left on device"):
        next(recording)
    monkeypatch.undo()
    assert [type(event) for event in runs.events(run)] == [RunStarted, BatchDone]


def test_events_are_passed_on_and_kept() -> None:
    passed = list(runs.record(new(), three_batches()))
    again = runs.load("first")
    assert list(runs.events(again)) == passed
    assert [type(event) for event in passed] == [RunStarted, BatchDone, BatchDone, BatchDone, RunDone]
    assert runs.state(again) == "done"


def test_each_epoch_is_recorded_with_the_load_of_the_machine() -> None:
    epoch = EpochDone(
        time=now(),
        stage="train",
        epoch=1,
        epochs=1,
        loss=math.nan,
        validation_loss=1.0,
        balanced_accuracy=0.5,
        sensitivity=None,
        learning_rate=0.1,
        images_per_second=9.0,
        best=True,
    )
    (passed,) = runs.record(new(), (event for event in [epoch]))
    stored = next(event for event in runs.events(runs.load("first")) if isinstance(event, EpochDone))
    assert isinstance(passed, EpochDone)
    for event in (passed, stored):
        assert event.load is not None
        assert event.load >= 0
        assert event.memory is not None
        assert event.memory > 10_000_000
    assert math.isnan(stored.loss), "null is a gap in a curve, but no load is no such gap"
    without = runs.load("first").events.read_bytes().replace(f'"load":{stored.load}'.encode(), b'"load":null')
    assert [event.load for event in map(decode, without.splitlines()) if isinstance(event, EpochDone)] == [None]


def test_closing_the_recording_stops_the_work() -> None:
    closed = []

    def work() -> Generator[Event, None, None]:
        try:
            yield from three_batches()
        finally:
            closed.append(True)

    recording = runs.record(new(), work())
    next(recording)
    next(recording)
    assert isinstance(recording, Generator)
    recording.close()
    assert closed == [True]
    again = runs.load("first")
    assert runs.state(again) == "stopped"
    assert isinstance(list(runs.events(again))[-1], RunStopped)


def test_an_error_is_recorded_and_raised() -> None:
    def work() -> Generator[Event, None, None]:
        yield batch(1)
        raise LungcliError("the loss became nan")

    with pytest.raises(LungcliError, match="nan"):
        list(runs.record(new(), work()))
    again = runs.load("first")
    assert runs.state(again) == "failed"
    last = list(runs.events(again))[-1]
    assert isinstance(last, RunFailed)
    assert last.error == "the loss became nan"


def test_an_error_of_the_work_is_not_blamed_on_the_file_of_events() -> None:
    def work() -> Generator[Event, None, None]:
        yield batch(1)
        raise FileNotFoundError(2, "No such file or directory", "slice.png")

    with pytest.raises(FileNotFoundError, match=r"slice\.png"):
        list(runs.record(new(), work()))
    assert runs.state(runs.load("first")) == "failed"


def test_ctrl_c_says_how_to_go_on() -> None:
    def work() -> Generator[Event, None, None]:
        yield batch(1)
        raise KeyboardInterrupt

    with pytest.raises(InterruptedRunError) as caught:
        list(runs.record(new(), work()))
    assert "lungcli runs resume 'first'" in caught.value.hint
    assert runs.state(runs.load("first")) == "stopped"


def test_a_torn_last_line_is_dropped_and_the_next_event_starts_a_line() -> None:
    run = new()
    list(runs.record(run, three_batches()))
    whole = run.events.read_bytes()
    run.events.write_bytes(whole[:-20])
    assert len(list(runs.events(run))) == 4
    list(runs.record(run, three_batches()))
    assert len(list(runs.events(run))) == 9


def test_damage_inside_is_told() -> None:
    run = new()
    run.events.write_bytes(b'{"type": "nonsense"}\n')
    with pytest.raises(LungcliError, match="is damaged"):
        list(runs.events(run))
    (run.folder / "run.json").write_bytes(b"{")
    with pytest.raises(LungcliError, match="the run 'first' is damaged"):
        runs.load("first")


def test_a_count_that_cannot_be_is_damage() -> None:
    run = new()
    line = {"type": "checkpoint-written", "time": "2026-01-02T03:04:05Z", "stage": "train", "batch": 1}
    run.events.write_bytes(msgspec.json.encode(line)[:-1] + b',"epoch":1%s}\n' % (b"0" * 300))
    with pytest.raises(LungcliError, match="is damaged"):
        list(runs.events(run))


def test_a_figure_that_is_null_was_no_number() -> None:
    run = new()
    done = {"stage": "train", "epoch": 1, "batch": 1, "batches": 2, "loss": None, "learning_rate": 0.1}
    line = {"type": "batch-done", "time": "2026-01-02T03:04:05Z", "images_per_second": 9.0, **done}
    run.events.write_bytes(msgspec.json.encode(line) + b"\n")
    (event,) = runs.events(run)
    assert isinstance(event, BatchDone)
    assert math.isnan(event.loss)


def test_one_damaged_run_does_not_hide_the_others() -> None:
    new()
    other = runs.create("second", "train", RECIPE)
    (runs.known()["first"] / "run.json").write_bytes(b"{")
    found, problems = runs.readable()
    assert found == [other]
    assert "the run 'first' is damaged" in problems[0].message


def test_a_newer_format_is_refused_by_name_even_where_it_can_say_what_this_one_does_not_know() -> None:
    run = new()
    text = (run.folder / "run.json").read_text().replace('"format_version": 2', '"format_version": 99')
    text = text.replace('"kind": "train"', '"kind": "unheard-of"')
    (run.folder / "run.json").write_text(text)
    with pytest.raises(LungcliError, match="format 99; this lungcli reads up to 2"):
        runs.load("first")


def hold(folder: Path, held: "multiprocessing.synchronize.Event", free: "multiprocessing.synchronize.Event") -> None:
    run = runs.read(folder)
    recording = runs.record(run, three_batches())
    next(recording)
    held.set()
    free.wait(30)


def test_two_processes_cannot_work_on_one_run_and_a_dead_one_holds_nothing() -> None:
    run = new()
    context = multiprocessing.get_context("spawn")
    held, free = context.Event(), context.Event()
    process = context.Process(target=hold, args=(run.folder, held, free))
    process.start()
    assert held.wait(30)
    again = runs.load("first")
    assert runs.state(again) == "running"
    with pytest.raises(UsageError, match="another process works on the run 'first'"):
        list(runs.record(again, three_batches()))
    with pytest.raises(UsageError, match="is being worked on"):
        runs.remove(again.folder)
    process.kill()
    process.join()
    assert runs.state(again) == "stopped"
    runs.remove(again.folder)
    assert runs.known() == {}
