"""How a call ends that did not come to its end."""

import os
import signal
import sys
from pathlib import Path

import pytest

from lungcli.cli import app, execution, signals
from lungcli.core.errors import LungcliError, during


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="there is no such signal")
def test_sighup_stays_ignored_under_nohup_and_handlers_are_restored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN), signal.getsignal(signal.SIGTERM)
    try:
        heard = signals.install_handlers(also=("SIGINT",))
        assert set(heard) == {signal.SIGINT, signal.SIGTERM}
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        signals.restore_handlers(heard)
        assert signal.getsignal(signal.SIGTERM) == before[1]
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        heard = signals.install_handlers()
        assert set(heard) == {signal.SIGTERM, signal.SIGHUP}
        signals.restore_handlers(heard)
    finally:
        signal.signal(signal.SIGHUP, before[0])


def test_a_background_run_handles_sigint_from_the_dashboard() -> None:
    """There SIGINT is ignored from the start, and it is by SIGINT that the dashboard asks a run to stop."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with execution.graceful_interrupt() as stopped:
            signal.raise_signal(signal.SIGINT)
            assert stopped()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_closed_pipe_has_its_own_exit_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    stream = os.fdopen(writing, "w")
    stream.write("a verdict")
    monkeypatch.setattr(sys, "stdout", stream)
    assert signals.flush_or_devnull(0) == signals.BROKEN_PIPE
    stream.close()


def test_an_unexpected_error_says_what_was_being_done(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def crash(**_: object) -> None:
        with during("while judging scan.png"):
            raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(app, "program", lambda _: crash)
    assert app._code() == 1
    stderr = capsys.readouterr().err
    assert "error: unexpected ZeroDivisionError: division by zero (while judging scan.png)" in stderr


@pytest.mark.parametrize(
    "shortage", [MemoryError(), RuntimeError("unable to mmap 9 bytes from file <x>: Cannot allocate memory (12)")]
)
def test_too_little_memory_says_so(
    shortage: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def starve(**_: object) -> None:
        with during("while preparing slice.png"):
            raise shortage

    monkeypatch.setattr(app, "program", lambda _: starve)
    assert app._code() == 1
    assert "error: out of memory (while preparing slice.png)" in capsys.readouterr().err


def test_only_errors_carry_a_note_of_what_was_being_done() -> None:
    with during("while nothing goes wrong"):
        pass
    with pytest.raises(LungcliError) as caught, during("while it goes wrong"):
        raise LungcliError("it went wrong")
    assert caught.value.__notes__ == ["while it goes wrong"]
