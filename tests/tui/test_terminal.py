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

PATIENCE = 25.0


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

    def press_until(self, key: str, text: str, every: float = 0.5) -> None:
        """Press a key until it is answered: a view takes keys a moment after it was drawn, which cannot be seen."""
        end = time.monotonic() + PATIENCE
        while text not in self.screen():
            assert time.monotonic() < end, f"{key} is not answered by {text}:\n{self.screen()}"
            self.press(key)
            again = time.monotonic() + every
            while text not in self.screen() and time.monotonic() < again:
                time.sleep(0.1)

    def walk_to(self, label: str) -> None:
        """Press Tab until the cursor is in the line of a field: what is typed too early goes to the one before."""
        end = time.monotonic() + PATIENCE
        while label not in self.screen().splitlines()[int(self._call("display-message", "-p", "#{cursor_y}"))]:
            assert time.monotonic() < end, f"no way to {label}:\n{self.screen()}"
            self.press("Tab")
            time.sleep(0.3)

    def open(self) -> None:
        """Start the dashboard."""
        self.type(f"{shlex.quote(sys.executable)} -m lungcli dashboard; echo left with $?")
        self.press("Enter")
        self.see("palette")

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


def test_a_job_from_the_form_is_watched_stopped_and_resumed(terminal: Opening) -> None:
    subprocess.run(
        [sys.executable, "-m", "lungcli", "data", "phantom", "--slices", "72"], check=True, capture_output=True
    )
    one = terminal()
    one.open()
    one.press("2")
    one.see("lungcli compress")
    one.press_until("Enter", "distill")
    one.press("Down", "Enter")
    one.see("$ lungcli train")
    for label, text in (("Net", "ownmodel"), ("Epochs", "400"), ("Size", "64"), ("Batch", "8"), ("Patience", "0")):
        one.walk_to(label)
        one.type(text)
    one.see("$ lungcli train --model ownmodel --epochs 400 --size 64 --batch 8 --patience 0")
    one.press("C-s")
    one.see("started")
    one.press("Escape")
    one.see("1 running", "train-ownm", "▶")
    run = runs.load("train-ownmodel-phantom")
    until(lambda: b'"epoch":3' in run.events.read_bytes())
    one.see("3/400", "train-ownmodel-phantom/train")
    one.press_until("x", "‖", every=8.0)
    assert runs.state(runs.load(run.name)) == "stopped"
    size = run.events.stat().st_size
    one.press_until("r", "▶", every=8.0)
    until(lambda: run.events.stat().st_size > size + 2000)
    one.press("q")
    one.see("left with 0")
    grown = run.events.stat().st_size
    until(lambda: run.events.stat().st_size > grown)  # It outlives the dashboard.
    from lungcli.tui import jobs

    jobs.ask_to_stop(runs.load(run.name))
    until(lambda: runs.state(runs.load(run.name)) == "stopped")


@pytest.mark.parametrize(
    "variables",
    [{"NO_COLOR": "1"}, {"TERM": "xterm", "COLORTERM": ""}, {"TERM": "screen", "COLORTERM": ""}],
    ids=["no colour", "16 colours", "screen"],
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
