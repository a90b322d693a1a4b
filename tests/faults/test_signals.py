"""Asked to stop, or left by its reader: it saves, ends, tells so in one line, and leaves nobody behind."""

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from pydicom.uid import JPEGLSLossless

from lungcli.core import runs
from tests.faults.commands import (
    TINY,
    Begun,
    Call,
    appears,
    figures,
    finished,
    grows,
    kin,
    names_in,
    require_whole,
    results,
    started,
    wait_until,
)
from tests.faults.conftest import RUN
from tests.imaging.test_dicom import transcoded

pytestmark = pytest.mark.long

ENDINGS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
SHOW_CURSOR, HIDE_CURSOR, LEAVE_SCREEN = b"\x1b[?25h", b"\x1b[?25l", b"\x1b[?1049l"


def predicting(home: Path, slices: Path, to: Path, *more: str) -> Call:
    """Thread-pool workers that classify far more pictures than there is time for."""
    return Call(home=home, arguments=("predict", "--jsonl", "--output", to, *[slices] * 50, *more))


def training(home: Path, name: str, *more: object) -> Call:
    arguments = ("train", "--model", "ownmodel", "--name", name, *TINY, *more)
    return Call(home=home, arguments=arguments)


@pytest.mark.parametrize("number", ENDINGS, ids=lambda number: number.name)
def test_while_pictures_are_predicted(slices: Path, tmp_path: Path, number: signal.Signals) -> None:
    """The last of the pictures are those of a list that has no end before the signal has come."""
    call = predicting(tmp_path / "home", slices, tmp_path / "to", "-")
    with started(call, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        wait_until(appears(tmp_path / "to", "*.json"), process)
        process.send_signal(number)
        began = time.monotonic()
        _, errors = process.communicate(timeout=60)
        assert time.monotonic() - began < 20
    assert process.returncode == 130
    assert errors.decode().splitlines()[-2:] == [
        "error: stopped",
        "  finished work is kept; run the same command again to continue",
    ]
    assert b"Traceback" not in errors
    assert not list((tmp_path / "to").glob(".*"))


def test_while_a_data_set_is_read(slices: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    with started(Call(home=home, arguments=("data", "import", slices, "--name", "mine"))) as process:
        wait_until(appears(home / "data", ".mine.partial-*"), process)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"Traceback" not in errors
    assert {item.name for item in (home / "data").iterdir()} == {".locks"}


def test_a_training_saves_says_how_to_go_on_and_ends_as_an_unbroken_one(made: Path) -> None:
    """SIGHUP, then SIGTERM, and both without a figure lost."""
    call = training(made, "stopped")
    for number in (signal.SIGHUP, signal.SIGTERM):
        with started(call) as process:
            wait_until(grows(made / "runs" / "stopped" / "events.jsonl"), process)
            process.send_signal(number)
            _, errors = process.communicate(timeout=120)
        assert process.returncode == 130, errors.decode()
        assert "  to continue: lungcli runs resume 'stopped'" in errors.decode().splitlines()[-1]
        assert b"Traceback" not in errors
        assert runs.state(runs.read(made / "runs" / "stopped")) == "stopped"
    finished(call)
    assert results(made, "stopped") == results(made, RUN)
    again, whole = (list(runs.events(runs.read(made / "runs" / name))) for name in ("stopped", RUN))
    assert figures(again) == figures(whole)


def test_a_second_time_ends_a_training_at_once(phantoms: Path) -> None:
    """The first asks to stop after a batch, which lasts for a second here; the second does not wait for it."""
    call = training(phantoms, "twice", "--epochs", 50, "--size", 256, "--batch", 36)
    with started(call) as process:
        wait_until(lambda: done_by(phantoms, "twice") > 0, process)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        said = b""
        while b"press Ctrl-C again to stop at once" not in said:
            said += (line := process.stderr.readline())
            assert line, said.decode()
        done = done_by(phantoms, "twice")
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 130
    assert b"Traceback" not in errors
    assert done_by(phantoms, "twice") == done
    assert runs.state(runs.read(phantoms / "runs" / "twice")) == "stopped"


def done_by(home: Path, name: str) -> int:
    """Batches and evaluated epochs that a run has told of."""
    path = home / "runs" / name / "events.jsonl"
    content = path.read_bytes() if path.exists() else b""
    return content.count(b'"batch-done"') + content.count(b'"epoch-done"')


def told_twice(call: Call, begun: Begun, pause: float) -> tuple[int, bytes]:
    """Send SIGINT and, after so many seconds, again: exit code and what was said."""
    with started(call, stdout=subprocess.DEVNULL) as process:
        wait_until(begun, process)
        process.send_signal(signal.SIGINT)
        time.sleep(pause)
        process.send_signal(signal.SIGINT)
        began = time.monotonic()
        _, errors = process.communicate(timeout=60)
        assert time.monotonic() - began < 10
    return process.returncode, errors


# The system's own way to end, which a shell tells as 130 too, is left for the moment in which Python itself ends.
STOPPED = (130, -signal.SIGINT)


@pytest.mark.parametrize(
    "pause", [0.0, 0.04, 0.15, *(pytest.param(each, marks=pytest.mark.long) for each in (0.02, 0.08))]
)
def test_a_second_time_while_a_pool_of_threads_is_tidied_up(slices: Path, tmp_path: Path, pause: float) -> None:
    call = predicting(tmp_path / "home", slices, tmp_path / "to", "--threads", "2")
    code, errors = told_twice(call, appears(tmp_path / "to", "*.json"), pause)
    assert code in STOPPED, errors.decode()
    assert b"Traceback" not in errors
    assert b"terminate called" not in errors
    # Whole, or not under its name: what it was at may be left hidden, for the next call to clear.
    require_whole(tmp_path / "to")
    again = Call(home=tmp_path / "home", arguments=("predict", "--output", tmp_path / "to", slices))
    finished(again)
    assert not list((tmp_path / "to").glob(".*"))


@pytest.mark.parametrize("pause", [0.0, 0.03])
def test_a_second_time_while_a_data_set_is_read_or_prepared(phantoms: Path, slices: Path, pause: float) -> None:
    reading = Call(home=phantoms, arguments=("data", "import", slices, "--name", "mine"))
    preparing = Call(home=phantoms, arguments=("evaluate", "bundled", "--data", "phantom"))
    begins = appears(phantoms / "data", ".mine.partial-*"), appears(phantoms / "cache", ".*.partial")
    for call, begun in zip((reading, preparing), begins, strict=True):
        code, errors = told_twice(call, begun, pause)
        assert code in STOPPED, errors.decode()
        assert b"Traceback" not in errors
        finished(call)
        require_whole(phantoms)
    assert names_in(phantoms, "data") == {".locks", "mine", "phantom"}
    assert {item.suffix for item in (phantoms / "cache").iterdir()} == {".npy", ".lock"}


@pytest.mark.parametrize("number", [*ENDINGS, signal.SIGKILL], ids=lambda number: number.name)
def test_the_process_that_decodes_goes_too(tmp_path: Path, number: signal.Signals) -> None:
    """In prediction only the decoder of JPEG-LS is a process of its own."""
    (tmp_path / "a.dcm").write_bytes(transcoded(JPEGLSLossless))
    call = Call(home=tmp_path / "home", arguments=("predict", "--jsonl", "--force", "-"))
    with started(call, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{tmp_path}/a.dcm\n".encode() * 40)
        process.stdin.flush()
        assert process.stdout.readline().startswith(b"{")
        children = kin(process)
        assert children
        process.send_signal(number)
        psutil.wait_procs(children, timeout=30)
        assert not [child for child in children if child.is_running()]


@pytest.mark.parametrize("form", ["--jsonl", "--csv", "--json"])
def test_a_reader_that_goes_away_is_no_error(slices: Path, tmp_path: Path, form: str) -> None:
    """As in `lungcli predict … | head -1`."""
    call = Call(home=tmp_path / "home", arguments=("predict", form, slices))
    with started(call) as process:
        assert process.stdout is not None
        process.stdout.read(1) if form != "--json" else None
        process.stdout.close()
        assert process.stderr is not None
        errors = process.stderr.read()
        assert process.wait(60) == 141
        process.stdout = None
    assert b"Traceback" not in errors
    assert b"Exception ignored" not in errors
    assert b"error" not in errors


@pytest.mark.long
def test_errors_that_nobody_reads_stop_a_training_that_can_go_on(made: Path) -> None:
    reading, writing = os.pipe()
    with started(training(made, "unread"), stderr=writing, stdout=subprocess.DEVNULL) as process:
        os.close(writing)
        os.read(reading, 1)
        os.close(reading)
        assert process.wait(120) in (1, 141)
    assert runs.state(runs.read(made / "runs" / "unread")) in ("stopped", "new")


def on_a_terminal(call: Call, seen: bytes, number: signal.Signals | None) -> tuple[bytes, int]:
    """Run the command on a terminal until it shows `seen`; send a signal, or close the terminal; all that it showed."""
    master, slave = pty.openpty()
    env = call.env() | {"TERM": "xterm-256color", "LINES": "30"}
    process = subprocess.Popen(
        call.words(), env=env, stdin=slave, stdout=slave, stderr=slave, preexec_fn=_take_terminal, close_fds=True
    )
    os.close(slave)
    try:
        shown = _read(master, process, until=seen)
        assert seen in shown, shown[-2000:]
        if number is None:
            os.close(master)
            return shown, process.wait(120)
        process.send_signal(number)
        shown += _read(master, process, until=None)
        os.close(master)
        return shown, process.wait(60)
    finally:
        process.kill()
        process.wait()


def _take_terminal() -> None:
    import fcntl
    import termios

    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _read(master: int, process: "subprocess.Popen[bytes]", until: bytes | None) -> bytes:
    shown, end = b"", time.monotonic() + 120
    while time.monotonic() < end and (until is None or until not in shown):
        if not select.select([master], [], [], 0.1)[0]:
            if process.poll() is not None:
                break
            continue
        try:
            part = os.read(master, 65536)
        except OSError:
            break
        if not part:
            break
        shown += part
    return shown


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such terminals")
@pytest.mark.parametrize("number", ENDINGS[:2], ids=lambda number: number.name)
def test_the_terminal_is_left_clean_while_a_bar_is_shown(slices: Path, tmp_path: Path, number: signal.Signals) -> None:
    shown, code = on_a_terminal(predicting(tmp_path / "home", slices, tmp_path / "to"), HIDE_CURSOR, number)
    assert code == 130
    assert shown.rfind(SHOW_CURSOR) > shown.rfind(HIDE_CURSOR)
    assert b"Traceback" not in shown
    assert re.search(rb"error: stopped", shown)


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such terminals")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_the_dashboard_gives_the_terminal_back(tmp_path: Path, number: signal.Signals) -> None:
    shown, code = on_a_terminal(Call(home=tmp_path, arguments=("dashboard",)), "╰".encode(), number)
    assert code == 130
    assert shown.rfind(LEAVE_SCREEN) > shown.find(b"\x1b[?1049h") >= 0
    assert b"Traceback" not in shown


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such terminals")
def test_a_terminal_that_is_closed_stops_a_training_that_can_go_on(made: Path) -> None:
    _, code = on_a_terminal(training(made, "closed", "--epochs", 50), b"epoch   1/50", None)
    assert code in (130, 1)
    run = runs.read(made / "runs" / "closed")
    assert runs.state(run) == "stopped"
    assert run.stage("train").joinpath("checkpoint.safetensors").exists()
