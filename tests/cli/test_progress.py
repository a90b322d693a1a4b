"""Progress of long work, and what tells of its end."""

import sys
from pathlib import Path

import pytest

from lungcli.cli import notify, progress
from lungcli.core.errors import UsageError
from lungcli.core.events import EpochDone, Event, StageStarted
from tests.views.test_run_progress import BEGIN, batch, started


def test_a_log_says_every_ten_seconds_how_far_the_run_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter([0.0, 1.0, 2.0, 10.5, 10.5, 11.0, 21.0, 21.0])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    show = progress._log_events()
    events: list[Event] = [started(), StageStarted(time=BEGIN, stage="teacher", about="train", epochs=2)]
    for event in [*events, batch("teacher", 10, 1, 4), batch("teacher", 11, 1, 4), batch("teacher", 21, 2, 2)]:
        show(event)
    first, second, third = capsys.readouterr().err.splitlines()
    assert first == "teacher: train"
    assert second.startswith("  teacher: stage 1 of 5, 15% of the run, ")
    assert third.startswith("  teacher: stage 1 of 5, 23% of the run, ")


def test_an_epoch_is_a_line_whatever_its_figures() -> None:
    event = EpochDone(
        time=BEGIN,
        stage="teacher",
        epoch=3,
        epochs=50,
        loss=1e308,
        validation_loss=0.5,
        balanced_accuracy=-1e308,
        sensitivity=float("inf"),
        learning_rate=0.1,
        images_per_second=1e308,
        best=False,
    )
    assert progress.epoch_line(event) == (
        "  epoch   3/50  loss 1e+308  validation 0.5000  balanced -1e+308  sensitivity inf  1e+308 images/s"
    )


def test_the_command_is_told_the_result(tmp_path: Path) -> None:
    file = tmp_path / "told"
    code = f"import os, pathlib; pathlib.Path({str(file)!r}).write_text(os.environ['LUNGCLI_RESULT'])"
    command = f'"{sys.executable}" -c "{code}"'
    with notify.notified(command):
        assert not file.exists()
    assert file.read_text() == "done"
    with pytest.raises(ValueError, match="lost"), notify.notified(command):
        raise ValueError("lost")
    assert file.read_text() == "failed"


def test_a_command_that_fails_is_a_warning_and_one_that_is_none_is_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with notify.notified("no-such-command --now"):
        pass
    assert "warning: --notify no-such-command --now failed: " in capsys.readouterr().err
    with pytest.raises(UsageError, match="is no command"), notify.notified("'open"):
        pass
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    with notify.notified("no-such-command"):
        pass
    assert capsys.readouterr().err == ""


def test_a_bell_rings_on_a_terminal_alone(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with notify.notified("bell"):
        pass
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with notify.notified("bell"):
        pass
    assert capsys.readouterr().err == "\a"
