"""What the list says of a run."""

import datetime
from pathlib import Path

import pytest

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
    row = Row(name=name, folder=Path(), state="running", stage="student", share=0.3, glance=glance)
    line = run_list.run_line(row, width, datetime.datetime.now(datetime.UTC))
    assert cell_len(line) == cell_len(run_list.heading(width + 4)) - 4


def test_a_long_name_keeps_both_ends() -> None:
    assert run_list.shortened_middle("abcdefghij", 5) == "ab…ij"


def test_advice_is_a_command_that_can_be_pasted() -> None:
    stopped = Row(name="my run", folder=Path(), state="stopped")
    assert run_row.advice(stopped) == "r goes on, as does: lungcli runs resume 'my run'"
    failed = Row(name="x", folder=Path(), state="failed", problem="the loss became nan")
    assert "the loss became nan\n" in run_row.advice(failed)
