"""The dashboard in a real terminal: a job is started from the form, watched, stopped and resumed."""

import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lungcli.core import runs
from tests.tui import fakes

pytestmark = pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux draws the terminal, and is not installed")

# Nothing is waited for by the clock: these only end a test that hangs, on a machine however busy.
PATIENCE = 90.0
WORK = 400.0


class Terminal:
    """A tmux session of its own server with a shell in it."""

    def __init__(self, socket: Path, width: int, height: int, variables: dict[str, str]) -> None:
        self._tmux = ["tmux", "-S", str(socket), "-f", os.devnull]
        settings = {
            "LUNGCLI_HOME": os.environ["LUNGCLI_HOME"],
            "PYTHONPATH": os.pathsep.join(sys.path),
            "PS1": "ready>",
        }
        shell = shlex.join(
            [
                "env",
                "-u",
                "COLUMNS",
                "-u",
                "LINES",
                *(f"{key}={value}" for key, value in (settings | variables).items()),
                "sh",
            ]
        )
        self._call("new-session", "-d", "-x", str(width), "-y", str(height), shell)
        self.see("ready>")

    def _call(self, *arguments: str) -> str:
        done = subprocess.run([*self._tmux, *arguments], check=True, capture_output=True, text=True)
        return done.stdout

    def screen(self, *, colours: bool = False) -> str:
        """What is on screen."""
        return self._call("capture-pane", "-p", *(["-e"] if colours else []))

    def type(self, text: str) -> None:
        """Type text."""
        self._call("send-keys", "-l", text)

    def press(self, *keys: str) -> None:
        """Press keys by name, slowly enough for a screen to follow."""
        for key in keys:
            self._call("send-keys", key)
            time.sleep(0.1)

    def see(self, *texts: str, seconds: float = PATIENCE) -> str:
        """Wait until all texts are on screen."""
        end = time.monotonic() + seconds
        while not all(text in (found := self.screen()) for text in texts):
            assert time.monotonic() < end, f"{texts} not in:\n{found}"
            time.sleep(0.1)
        return found

    def press_until(self, key: str, text: str, *, every: float = 2.0, gone: bool = False) -> None:
        """Press a key until it is answered by a text, or its end: when a view takes keys first cannot be seen."""
        end = time.monotonic() + PATIENCE
        while (text in self.screen()) == gone:
            assert time.monotonic() < end, f"{key} is not answered by {text}:\n{self.screen()}"
            self.press(key)
            again = time.monotonic() + every
            while (text in self.screen()) == gone and time.monotonic() < again:
                time.sleep(0.1)

    def walk_to(self, label: str) -> None:
        """Press Tab until the cursor is in the line of a field, each time once the last one was answered.

        Some widgets have no cursor to show: those are passed after a while.
        """
        end = time.monotonic() + PATIENCE
        while not self.screen().splitlines()[self._cursor()[1]].strip().startswith(label):
            assert time.monotonic() < end, f"no way to {label}:\n{self.screen()}"
            before = self._cursor()
            self._call("send-keys", "Tab")
            again = time.monotonic() + 3.0
            while self._cursor() == before and time.monotonic() < again:
                time.sleep(0.05)

    def _cursor(self) -> tuple[int, int]:
        column, row = self._call("display-message", "-p", "#{cursor_x} #{cursor_y}").split()
        return int(column), int(row)

    def listens(self) -> None:
        """Wait until the view takes keys, by asking for help and leaving it."""
        self.press_until("?", "esc closes", every=5.0)
        self.press_until("Escape", "esc closes", every=5.0, gone=True)

    def open(self) -> None:
        """Start the dashboard."""
        self.type(f"{shlex.quote(sys.executable)} -m lungcli dashboard; echo left with $?")
        self.press("Enter")
        self.see("1 Runs", "Quit")

    def close(self) -> None:
        """End the session."""
        subprocess.run([*self._tmux, "kill-server"], check=False, capture_output=True)


Opening = Callable[..., Terminal]


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Opening]:
    """Open terminals; all are closed in the end."""
    opened: list[Terminal] = []

    def open_one(width: int = 120, height: int = 40, **variables: str) -> Terminal:
        opened.append(Terminal(tmp_path / f"tmux{len(opened)}", width, height, variables))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()


def until(what: Callable[[], bool], seconds: float = PATIENCE) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.long
def test_a_job_from_the_form_is_watched_stopped_resumed_and_compared(terminal: Opening) -> None:
    subprocess.run(
        [sys.executable, "-m", "lungcli", "data", "phantom", "--slices", "72"], check=True, capture_output=True
    )
    one = terminal(160, 40)
    one.open()
    one.listens()
    one.press_until("2", "$ lungcli compress")
    typed = {"Student": "ownmodel", "Size": "64", "Teacher": "ownmodel", "Epochs": "4", "Batch": "8"}
    for label, text in typed.items():
        one.walk_to(label)
        one.type(text)
        one.see(f"--{label.lower()} {text}")
    one.see("$ lungcli compress --data phantom --student ownmodel --size 64 --teacher ownmodel --epochs 4 --batch 8")
    one.press("C-s")
    one.see("started")
    one.press("Escape")
    one.see("1 running", "compress-ownmodel-phantom", "▶", seconds=WORK)
    run = runs.load("compress-ownmodel-phantom")
    until(lambda: b'"epoch":2,' in run.events.read_bytes(), WORK)
    one.see("/4", "compress-ownmodel-phantom", "● teacher")
    one.listens()
    one.press("x")
    one.see("‖", seconds=WORK)
    until(lambda: runs.state(runs.load(run.name)) == "stopped")
    size = run.events.stat().st_size
    one.press("r")
    one.see("▶", seconds=WORK)
    until(lambda: run.events.stat().st_size > size + 2000, WORK)
    one.press("q")
    one.see("left with 0")
    grown = run.events.stat().st_size
    until(lambda: run.events.stat().st_size > grown, WORK)  # It outlives the dashboard.
    until(lambda: runs.state(runs.load(run.name)) == "done", WORK)
    one.type("clear")
    one.press("Enter")
    one.open()
    # After so few epochs a net may be at chance, which is no tick.
    until(lambda: any(f"{mark} {run.name}" in one.screen() for mark in "✓!"))
    one.listens()
    one.press_until("3", "balanced accuracy by size", every=10.0)
    one.see("teacher", "student", "int8", "to pinned", "synthetic data", "×", "smaller")


@pytest.mark.parametrize(
    "variables",
    [{"NO_COLOR": "1"}, {"TERM": "screen", "COLORTERM": ""}],
    ids=["no colour", "16 colours in screen"],
)
def test_poor_terminals_show_everything(terminal: Opening, variables: dict[str, str]) -> None:
    fakes.run("job", "compress")
    one = terminal(80, 24, **variables)
    one.open()
    one.see("job", "loss", "●", "■")
    if "NO_COLOR" in variables:
        codes = one.screen(colours=True)
        assert "38;2;230;159;0" not in codes


def test_leaving_is_quick_and_the_terminal_is_left_clean(terminal: Opening) -> None:
    fakes.run("job", "compress")
    one = terminal()
    one.type("echo before")
    one.press("Enter")
    one.open()
    one.listens()
    one.press("q")
    left = one.see("left with 0", "before")
    assert "╭" not in left
    one.type("echo typing works")
    one.press("Enter")
    one.see("\ntyping works")


def test_without_a_terminal_it_says_how_to_print(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lungcli", "dashboard"],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 2
    assert "lungcli dashboard --once" in done.stderr
    fakes.run("job", "compress")
    done = subprocess.run(
        [sys.executable, "-m", "lungcli", "dashboard", "--once"], capture_output=True, text=True, check=True
    )
    assert "job" in done.stdout
    assert "balanced accuracy" in done.stdout
    assert "● job/base" in done.stdout
    assert "\x1b" not in done.stdout


def test_a_crash_leaves_a_clean_terminal_and_says_what_it_was(terminal: Opening, tmp_path: Path) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text(
        "import sys\n"
        "from lungcli.tui.runs.view import RunsView\n"
        "RunsView.action_smooth = lambda self: 1 / 0\n"
        "from lungcli.cli.app import main\n"
        "sys.argv = ['lungcli', 'dashboard']\n"
        "main()\n"
    )
    fakes.run("job", "compress")
    one = terminal()
    one.type(f"{shlex.quote(sys.executable)} {shlex.quote(str(broken))}; echo left with $?")
    one.press("Enter")
    one.see("1 Runs", "Quit")
    one.listens()
    one.press("s")
    left = one.see("left with 1", "division by zero")
    assert "╭" not in left
    assert "Traceback" not in left
    one.type("echo typing works")
    one.press("Enter")
    one.see("\ntyping works")
