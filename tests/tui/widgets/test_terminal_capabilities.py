"""A terminal is asked whether it draws pictures: what it answers, and what is left of the question."""

import os
import pty
import sys
import termios
import threading
import time
from collections.abc import Iterator

import pytest
from textual import events
from textual._xterm_parser import XTermParser
from textual.driver import Driver
from textual.message import Message

from lungcli.tui import terminal_driver
from lungcli.tui.widgets import terminal_capabilities
from lungcli.tui.widgets.terminal_capabilities import Graphics

XTERM = {"TERM": "xterm-256color"}
KITTY = {"TERM": "xterm-kitty", "LUNGCLI_GRAPHICS": "kitty"}
ATTRIBUTES, COLOURS = b"\x1b[c", b"\x1b[?1;1;0S"

Ends = tuple[int, int]


@pytest.fixture
def ends() -> Iterator[Ends]:
    """The two ends of a terminal: the one that draws, and the one that programs read and write."""
    drawing, using = pty.openpty()
    yield drawing, using
    os.close(drawing)
    os.close(using)


def answering(drawing: int, answers: dict[bytes, bytes]) -> threading.Thread:
    """Answer each question once it was asked, as terminals do, in the order of the answers given."""

    def answer() -> None:
        asked = b""
        for question, told in answers.items():
            while question not in asked:
                asked += os.read(drawing, 1024)
            asked = b""
            os.write(drawing, told)

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    return thread


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine answers late; what is answered is what counts here."""
    monkeypatch.setattr(terminal_capabilities, "PATIENCE", 30.0)


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(
    ("environ", "answers", "found"),
    [
        (XTERM, {ATTRIBUTES: b"\x1b[?1;2c"}, Graphics()),
        (XTERM, {ATTRIBUTES: b"\x1b[?4c"}, Graphics()),
        (
            XTERM,
            {ATTRIBUTES: b"\x1b[?63;1;4;9c", COLOURS + ATTRIBUTES: b"\x1b[?1;0;256S\x1b[?63;1;4;9c"},
            Graphics(way="sixel", colours=256),
        ),
        (
            XTERM,
            {ATTRIBUTES: b"typed\x1b[?62;4c", COLOURS + ATTRIBUTES: b"\x1b[?62;4c"},
            Graphics(way="sixel", colours=16),
        ),
        (KITTY, {b"\x1b_G": b"\x1b_Gi=31;OK\x1b\\\x1b[?62;c"}, Graphics(way="kitty")),
        (KITTY, {b"\x1b_G": b"\x1b_Gi=31;ENOTSUPPORTED\x1b\\\x1b[?62;c"}, Graphics()),
    ],
    ids=["text only", "a class is no attribute", "sixel", "sixel, colours untold", "kitty", "kitty without pictures"],
)
def test_what_a_terminal_answers(
    ends: Ends, environ: dict[str, str], answers: dict[bytes, bytes], found: Graphics
) -> None:
    before = termios.tcgetattr(ends[1])
    thread = answering(ends[0], answers)
    assert terminal_capabilities.ask(environ, ends[1], ends[1]) == found
    thread.join(30)
    assert not thread.is_alive()
    assert termios.tcgetattr(ends[1]) == before


def test_a_silent_terminal_costs_little_and_may_answer_later(ends: Ends) -> None:
    before = termios.tcgetattr(ends[1])
    begun = time.thread_time(), time.monotonic()
    assert terminal_capabilities.ask(XTERM, ends[1], ends[1]) == Graphics(late=True)
    assert time.monotonic() - begun[1] >= terminal_capabilities.PATIENCE
    assert time.thread_time() - begun[0] < 0.05  # It waits asleep.
    assert termios.tcgetattr(ends[1]) == before
    assert os.read(ends[0], 1024) == ATTRIBUTES


@pytest.mark.parametrize(
    "environ",
    [
        XTERM | {"NO_COLOR": "1"},
        XTERM | {"LUNGCLI_GRAPHICS": "off"},
        XTERM | {"LUNGCLI_GRAPHICS": " OFF "},
        XTERM | {"TMUX": "/tmp/tmux-0/default,1,0"},
        XTERM | {"STY": "1.pts-0"},
        {"TERM": "tmux-256color"},
        {"TERM": "screen"},
        {"TERM": "dumb"},
        {},
    ],
)
def test_who_must_not_be_asked_is_not(ends: Ends, environ: dict[str, str]) -> None:
    assert terminal_capabilities.ask(environ, ends[1], ends[1]) == Graphics()
    os.set_blocking(ends[0], False)
    with pytest.raises(BlockingIOError):
        os.read(ends[0], 1)


def test_what_is_no_terminal_is_not_asked(ends: Ends) -> None:
    reads, writes = os.pipe()
    assert terminal_capabilities.ask(XTERM, reads, ends[1]) == Graphics()
    assert terminal_capabilities.ask(XTERM, ends[1], writes) == Graphics()
    os.close(writes)
    assert os.read(reads, 1) == b""
    os.close(reads)


def test_only_who_wants_it_is_asked_for_kittys_protocol() -> None:
    assert (
        terminal_capabilities.question(XTERM) == terminal_capabilities.question({"TERM": "xterm-kitty"}) == ATTRIBUTES
    )
    assert terminal_capabilities.question(KITTY).startswith(b"\x1b_G")
    assert terminal_capabilities.question(KITTY).endswith(ATTRIBUTES)


def test_the_size_of_a_cell(ends: Ends) -> None:
    assert terminal_capabilities.cell(ends[1]) == terminal_capabilities.CELL
    termios.tcsetwinsize(ends[1], (50, 100))
    assert terminal_capabilities.cell(ends[1]) == terminal_capabilities.CELL
    if sys.platform != "win32":
        import fcntl
        import struct

        fcntl.ioctl(ends[1], termios.TIOCSWINSZ, struct.pack("4H", 50, 100, 805, 850))
    assert terminal_capabilities.cell(ends[1]) == (8, 17)


class _Passing(Driver):
    """What of a driver matters here: what it passes on."""

    def __init__(self) -> None:
        self.passed: list[str] = []

    def process_message(self, message: Message) -> None:
        self.passed.append(message.character or "" if isinstance(message, events.Key) else "event")

    def write(self, data: str) -> None: ...
    def start_application_mode(self) -> None: ...
    def disable_input(self) -> None: ...
    def stop_application_mode(self) -> None: ...


@pytest.mark.parametrize(
    ("typed", "passed"),
    [
        ("j[?62;4ck", "jk"),
        ("^_Gi=31;OK^\\[?62;ck", "k"),
        ("[?1;0;256S[?62;4cq", "q"),
        ("[?62;4c[?62;4c", "[?62;4c"),
        ("[1]", "[1]"),
        ("?4", "?4"),
        ("[[?62;4cq", "[q"),
    ],
    ids=["attributes", "kitty", "colours", "only one", "typed", "help", "typed before"],
)
def test_a_late_answer_presses_no_keys(typed: str, passed: str) -> None:
    one = terminal_driver.without_late_answers(_Passing)()  # type: ignore[call-arg]
    for character in typed:
        one.process_message(events.Key(character, character))
    assert isinstance(one, _Passing)
    assert "".join(one.passed) == passed


def test_a_late_answer_as_textual_reads_it() -> None:
    one = terminal_driver.without_late_answers(_Passing)()  # type: ignore[call-arg]
    parser = XTermParser()
    # As if nobody went on with a sequence that was begun: what then comes of it are keys.
    for part in ("q", "\x1b_Gi=31;OK\x1b\\", "\x1b[?1;0;256S", "\x1b[?62;4c", "x"):
        keys = list(parser.feed(part))
        time.sleep(0.2)
        for event in [*keys, *parser.tick()]:
            one.process_message(event)
    assert isinstance(one, _Passing)
    assert "".join(one.passed) == "qx"
