"""Everything about a run, as text."""

import datetime
import io
import itertools
import re

import msgspec
import pytest
from rich.console import Console

from lungcli.core import runs
from lungcli.core.events import EpochDone, Event, RateLowered, RunFailed, StageDone, StageStarted
from lungcli.core.runs import Run
from lungcli.tui.runs import event_reader, run_report, run_row
from tests.metrics.test_predictions import evaluation
from tests.tui import fakes, stage


def read(run: Run) -> str:
    glance = event_reader.glance(run.events, event_reader.UNREAD)
    row = run_row.row(run, "done", glance, ())
    console = Console(width=110, record=True, file=io.StringIO())
    for part in run_report.parts(run, row):
        console.print(part)
    return console.export_text()


def compressed(int8: str = "bnmmnn") -> Run:
    run = fakes.run("job", "compress")
    for name, classes in {"teacher": "bbmmnn", "base": "bnmmnm", "student": "bnmmnm", "int8": int8}.items():
        stage.add(run, name, evaluation(classes))
    return run


def test_a_run_opens_with_all_its_parts() -> None:
    text = read(compressed())
    for part in ("gate", "stages", "recipe", "data", "machine and versions", "events", "output", "files"):
        assert f"\n{part}\n" in text, part
    for fact in (
        "the grouped split with seed 0",
        "near-duplicate groups",
        "test figures of int8",
        "true class",
        "student epoch 10/10: loss",
        "int8/model.onnx",
        "processor",
        "gate met",
    ):
        assert fact in text, fact


@pytest.mark.parametrize(("int8", "met"), [("bbmmnn", True), ("bbnnnn", False)])
def test_both_checks_of_the_gate_are_named_with_their_limit(int8: str, met: bool) -> None:
    lines = read(compressed(int8)).splitlines()
    (distillation,) = (line for line in lines if "student to teacher" in line)
    (quantization,) = (line for line in lines if "int8 to student" in line)
    assert "-0.020" in distillation
    assert "-0.010" in quantization
    assert quantization.startswith("✓ met" if met else "! not met")


def test_figures_of_any_size_have_their_place() -> None:
    run = compressed()
    happened = [
        msgspec.structs.replace(event, loss=1e308, validation_loss=1e308, balanced_accuracy=number)
        if isinstance(event, EpochDone)
        else event
        for event, number in zip(runs.events(run), itertools.cycle((1e308, -1e308)), strict=False)
    ]
    run.events.write_bytes(b"".join(msgspec.json.encode(event) + b"\n" for event in happened))
    text = read(run)
    assert "loss 1e+308, validation loss 1e+308, validation balanced accuracy" in text
    assert not re.search(r"\d{40}", text)


def test_a_run_without_models_opens_too() -> None:
    text = read(fakes.run("young", end="stopped"))
    assert "gate" not in text.split("stages")[0].split("\n")
    assert "printed in the terminal that started it" in text


def test_what_stands_out_among_the_events_is_said() -> None:
    now = datetime.datetime(2026, 3, 1, tzinfo=datetime.UTC)
    lowered = RateLowered(
        time=now, stage="train", epoch=3, batch=1, why="the loss was nan", times=1, learning_rate=5e-4
    )
    events: list[Event] = [lowered, RunFailed(time=now, error="no memory")]
    text = run_report.timeline(events).plain
    assert "train epoch 3: the loss was nan; learning rate lowered to 0.0005" in text
    assert "failed: no memory" in text
    many = run_report.timeline([msgspec.structs.replace(lowered, epoch=number) for number in range(200)]).plain
    assert many.startswith("… 140 before")
    assert "epoch 199" in many


def test_the_output_is_that_of_whichever_dashboard_started_the_job(home: object) -> None:
    run = fakes.run("job")
    folder = run.folder.parent.parent / "jobs"
    folder.mkdir()
    (folder / "20260101T000000000000-train.log").write_text("run job: 3 slices\nearlier\n", "utf-8")
    (folder / "20260201T000000000000-runs.log").write_text("run job: 3 slices\nthe loss is 0.5\n", "utf-8")
    (folder / "20260301T000000000000-train.log").write_text("run job-2: 3 slices\nanother\n", "utf-8")
    text = run_report.output(run).plain
    assert "the loss is 0.5" in text
    assert "another" not in text


def test_foreign_words_are_text_and_nothing_else() -> None:
    now = datetime.datetime(2026, 3, 1, tzinfo=datetime.UTC)
    strange = "[red]\x1b[31m"
    events: list[Event] = [
        StageStarted(time=now, stage=strange, about=strange),
        StageDone(time=now, stage=strange, about=strange),
        RunFailed(time=now, error=strange),
    ]
    console = Console(width=110, record=True, file=io.StringIO())
    console.print(run_report.stages(events))
    console.print(run_report.timeline(events))
    text = console.export_text()
    assert text.count("[red]\\x1b[31m") == 8
    assert "\x1b" not in text
