"""How far a run is: shares by weight, the end at the pace so far."""

import datetime

import pytest

from lungcli.core.events import BatchDone, EpochDone, Event, RunStarted, StageDone, StageStarted, StrategyStarted
from lungcli.views.run_progress import RunProgress

BEGIN = datetime.datetime(2026, 5, 4, 10, 0, tzinfo=datetime.UTC)
STAGES = ("teacher", "base", "student", "int8", "evaluate")


def at(seconds: float) -> datetime.datetime:
    return BEGIN + datetime.timedelta(seconds=seconds)


def progress(*events: Event) -> RunProgress:
    run = RunProgress()
    for event in events:
        run = run.after(event)
    return run


def batch(stage: str, seconds: float, epoch: int, number: int) -> BatchDone:
    return BatchDone(
        time=at(seconds),
        stage=stage,
        epoch=epoch,
        batch=number,
        batches=4,
        loss=1.0,
        learning_rate=0.1,
        images_per_second=1.0,
    )


def started(*stages: str) -> RunStarted:
    return RunStarted(time=BEGIN, stages=stages or STAGES)


def test_a_run_is_as_far_as_its_stages_weigh() -> None:
    teacher = StageStarted(time=BEGIN, stage="teacher", about="", epochs=2)
    run = progress(started(), teacher, batch("teacher", 10, 1, 4), batch("teacher", 16, 2, 2))
    assert run.fraction == 0.75
    assert run.share == pytest.approx(0.75 / 3.25)
    assert run.seconds_left == pytest.approx(16 * (3.25 - 0.75) / 0.75)
    assert run.in_words().startswith("stage 1 of 5, 23% of the run, 53s left, ends ")
    done = progress(started(), teacher, StageDone(time=at(20), stage="teacher", about=""))
    assert done.share == pytest.approx(1 / 3.25)


def test_what_an_earlier_call_has_done_says_nothing_of_the_pace() -> None:
    student = StageStarted(time=BEGIN, stage="student", about="", epochs=1)
    run = progress(started(), student, batch("student", 10, 1, 2))
    assert run.at_start == pytest.approx(2 / 3.25)
    assert run.seconds_left == pytest.approx(10 * 0.75 / 0.5)


def test_the_search_counts_its_strategies() -> None:
    int8 = StageStarted(time=BEGIN, stage="int8", about="")
    run = progress(started(), int8, StrategyStarted(time=at(9), stage="int8", strategy="a", number=3, strategies=4))
    assert run.fraction == 0.5


@pytest.mark.parametrize("seconds", [0, 4.9])
def test_too_early_there_is_no_end(seconds: float) -> None:
    run = progress(
        started("train"), StageStarted(time=BEGIN, stage="train", about="", epochs=1), batch("train", seconds, 1, 1)
    )
    assert run.seconds_left is None
    assert run.in_words() == "stage 1 of 1, 25% of the run"


def test_an_end_on_another_day_names_it() -> None:
    run = progress(
        started("train"), StageStarted(time=BEGIN, stage="train", about="", epochs=1000), batch("train", 3600, 2, 4)
    )
    end = (at(3600) + datetime.timedelta(seconds=3600 * 499)).astimezone()
    assert run.in_words().endswith(f"ends {end:%a %H:%M}")


@pytest.mark.parametrize("hours", [5, -5])
def test_a_clock_that_is_set_meanwhile_changes_no_pace(hours: int) -> None:
    teacher = StageStarted(time=BEGIN, stage="train", about="", epochs=2)
    run = progress(started("train"), teacher, batch("train", 10, 1, 2))
    for number, seconds in ((3, 0), (4, 5)):
        run = run.after(batch("train", 3600 * hours + 10 + seconds, 1, number))
    assert run.share == 0.5
    assert run.seconds_left == pytest.approx(15)


def test_other_events_change_nothing() -> None:
    run = progress(started("train"), StageStarted(time=BEGIN, stage="train", about="", epochs=1))
    epoch = EpochDone(
        time=at(1),
        stage="train",
        epoch=1,
        epochs=1,
        loss=1,
        validation_loss=1,
        balanced_accuracy=0.5,
        sensitivity=None,
        learning_rate=0.1,
        images_per_second=1,
        best=True,
    )
    assert run.after(epoch) == run
    assert RunProgress().share == 0
