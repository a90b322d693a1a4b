"""What the list says of a run."""

import dataclasses
import datetime
import math

import pytest

from lungcli.core import runs
from lungcli.tui.runs import event_reader, run_list, run_row
from lungcli.tui.runs.event_reader import Glance
from lungcli.tui.runs.run_row import Row
from tests.tui import fakes


def seen(name: str, kind: str = "train", state: str = "running") -> Row:
    run = fakes.run(name, "compress" if kind == "compress" else "train", end="stopped")
    return run_row.row(
        run,
        "running" if state == "running" else "stopped",
        event_reader.glance(run.events, event_reader.UNREAD),
        ("a",),
    )


def test_a_running_run_has_progress_and_an_end_in_sight() -> None:
    row = seen("one", "compress")
    assert run_row.where(row) == "student 3/4"
    assert run_row.progress(row) == "5/10"
    assert row.share == 0.5
    assert row.eta == pytest.approx(20.0)
    assert run_row.sentence(row) == "compress · running · mobilenetv2 ← resnet18 · on phantom · #a"


def test_a_stopped_run_has_no_end_in_sight() -> None:
    assert seen("one", state="stopped").eta is None


def test_the_clock_of_another_machine_may_be_ahead() -> None:
    row = seen("one")
    assert run_row.age(row, row.created - datetime.timedelta(hours=9)) == "0s"


@pytest.mark.parametrize("width", range(30, 140, 7))
@pytest.mark.parametrize(
    "name", ["short", "a-very-long-name-of-a-run-that-does-not-fit-anywhere-at-all-ever", "肺" * 40, "🫁[red]x"]
)
def test_every_line_of_the_list_is_as_wide_as_the_heading(width: int, name: str) -> None:
    from rich.cells import cell_len

    glance = Glance(stages=("teacher", "student"))
    row = Row(name=name, state="running", stage="student", share=0.3, glance=glance)
    line = run_list.run_line(row, width, datetime.datetime.now(datetime.UTC))
    assert cell_len(line) == cell_len(run_list.heading(width + 4)) - 4


def test_a_long_name_keeps_both_ends() -> None:
    assert run_list.shortened_middle("abcdefghij", 5) == "ab…ij"


def test_advice_is_a_command_that_can_be_pasted() -> None:
    stopped = Row(name="my run", state="stopped")
    assert run_row.advice(stopped) == "r goes on, as does: lungcli runs resume 'my run'"
    failed = Row(name="x", state="failed", problem="the loss became nan")
    assert "the loss became nan\n" in run_row.advice(failed)


def judged(**changes: object) -> Row:
    """The row of a finished run with a glance so changed."""
    run = runs.load("one") if "one" in runs.known() else fakes.run("one", "compress")
    glance = dataclasses.replace(event_reader.glance(run.events, event_reader.UNREAD), **changes)  # type: ignore[arg-type]
    return run_row.row(run, "done", glance, ())


def test_a_run_that_met_its_gate_is_well() -> None:
    row = judged()
    assert (row.concern, row.standing) == ("", "done")
    assert run_row.sentence(row).startswith("compress · done · gate met · ")


def test_a_gate_not_met_a_diverged_loss_and_a_net_that_learned_nothing_are_named() -> None:
    best = judged().glance.best["student"]
    cases = {
        "gate not met": judged(gate_met=False),
        "the loss was not finite (student epoch 3): learning rate lowered": judged(not_finite="student epoch 3"),
        "the loss of student diverged: 5.000 after 0.300": judged(
            best={"student": dataclasses.replace(best, loss=5.0, lowest_loss=0.3)}
        ),
        "the loss of student diverged: – after 0.300": judged(
            best={"student": dataclasses.replace(best, loss=math.nan, lowest_loss=0.3)}
        ),
        "learned nothing: balanced accuracy 0.333 is chance": judged(
            best={"student": dataclasses.replace(best, balanced_accuracy=1 / 3)}
        ),
    }
    for concern, row in cases.items():
        assert (row.concern, row.standing) == (concern, "concern")
        assert f"! {concern}" in run_row.sentence(row)
        assert "try it" not in run_row.advice(row)
