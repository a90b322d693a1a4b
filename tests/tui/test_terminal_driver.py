"""The driver between the dashboard and its terminal: it leaves at once, and the app knows it."""

import asyncio
import os
import pty
import signal
import sys
import termios
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from textual.app import App
from textual.drivers.headless_driver import HeadlessDriver
from textual.drivers.linux_driver import LinuxDriver

from lungcli.tui import terminal_driver
from lungcli.tui.app import Dashboard

# As Textual turns the mouse on and off.
MOUSE_ON, MOUSE_OFF = b"\x1b[?1000h", (b"\x1b[?1000l", b"\x1b[?1003l", b"\x1b[?1015l", b"\x1b[?1006l")


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A terminal for stdin; what is drawn goes to the file that is given here."""
    drawing, using = pty.openpty()
    signals = {number: signal.getsignal(number) for number in (signal.SIGTSTP, signal.SIGCONT, signal.SIGWINCH)}
    path = tmp_path / "drawn"
    with os.fdopen(using, "rb", buffering=0) as stdin, path.open("w") as stderr:
        monkeypatch.setattr(sys, "__stdin__", stdin)
        monkeypatch.setattr(sys, "__stderr__", stderr)
        yield path
    os.close(drawing)
    for number, handler in signals.items():
        signal.signal(number, handler)


def attributes() -> list[object]:
    assert sys.__stdin__ is not None
    return termios.tcgetattr(sys.__stdin__.fileno())


@pytest.mark.parametrize("left", [True, False], ids=["left", "suspended"])
def test_the_thread_of_keys_is_waited_for_only_while_the_app_goes_on(drawn: Path, left: bool) -> None:
    released, begun = threading.Event(), threading.Event()
    before = attributes()

    class Stuck(LinuxDriver):
        """Its thread of keys ends only when told to."""

        def run_input_thread(self) -> None:
            begun.set()
            released.wait()

    async def go() -> bool:
        app: App[None] = App()
        one = terminal_driver.leaving_at_once(Stuck)(app)
        one.start_application_mode()
        assert begun.wait(60)
        assert attributes() != before
        if left:
            app.exit()
        # Ends the test where the thread is waited for, which it is to be when the app goes on.
        end = threading.Timer(60 if left else 0.2, released.set)
        end.start()
        one.stop_application_mode()
        waited = released.is_set()
        end.cancel()
        released.set()
        one.close()
        return waited

    assert asyncio.run(go()) is not left
    assert attributes() == before
    told = drawn.read_bytes()
    assert all(told.rindex(off) > told.rindex(MOUSE_ON) for off in MOUSE_OFF)


def test_a_driver_that_reads_no_terminal_is_left_as_it_is() -> None:
    assert terminal_driver.leaving_at_once(HeadlessDriver) is HeadlessDriver


@pytest.mark.usefixtures("drawn")
def test_the_dashboard_knows_what_draws_it() -> None:
    async def go() -> None:
        app = Dashboard()
        made = app.get_driver_class()(app)
        assert app.terminal is made
        assert isinstance(made, LinuxDriver)

    asyncio.run(go())
