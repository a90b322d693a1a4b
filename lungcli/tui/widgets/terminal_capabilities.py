"""Whether the terminal draws real pictures: asked once, before the dashboard takes the terminal over."""

import os
import re
import select
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

# Silent terminals cost this much of the time until the first screen, in seconds.
PATIENCE = 0.1

# Primary device attributes (DEC STD 070): nearly every terminal answers, and attribute 4 is Sixel.
_ATTRIBUTES = b"\x1b[c"
# How many colours a Sixel picture may have (xterm, XTSMGRAPHICS): asked only of terminals that know Sixel.
_COLOURS = b"\x1b[?1;1;0S"
# One pixel in Kitty's protocol, to be looked at, not kept. U: in cells of text, which it knows from 0.28 on.
_KITTY = b"\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24,U=1;AAAA\x1b\\"

_ANSWER = re.compile(rb"\x1b\[\?([\d;]*)c")
_COUNTED = re.compile(rb"\x1b\[\?1;0;(\d+)S")
# Those of a VT340, whose Sixel the others follow: colours, and the width and height of a cell in pixels.
_VT340_COLOURS = 16
CELL = (10, 20)


@dataclass(frozen=True, slots=True, kw_only=True)
class Graphics:
    """How the terminal draws pictures: `way`, and for Sixel in how many `colours`. `late`: answers may still come."""

    way: Literal["sixel", "kitty", "none"] = "none"
    colours: int = _VT340_COLOURS
    late: bool = False


def wanted(environ: Mapping[str, str]) -> bool:
    """Whether to ask at all: not where the user forbade it, nor in tmux and screen, which hide the terminal."""
    off = _setting(environ) in {"off", "0", "no", "false"}
    term = environ.get("TERM", "")
    between = "TMUX" in environ or "STY" in environ or term.startswith(("tmux", "screen"))
    return not (off or between or environ.get("NO_COLOR") or term in {"", "dumb", "linux"})


def question(environ: Mapping[str, str]) -> bytes:
    """Return what to ask first; for Kitty's protocol only where it is wanted: some terminals print that question."""
    return (_KITTY if _setting(environ) == "kitty" else b"") + _ATTRIBUTES


def _setting(environ: Mapping[str, str]) -> str:
    return environ.get("LUNGCLI_GRAPHICS", "auto").strip().lower()


def parse_answer(answer: bytes) -> Graphics:
    """Read the terminal's answers, among which keys may lie that were typed meanwhile."""
    if b"\x1b_Gi=31;OK" in answer:
        return Graphics(way="kitty")
    attributes = _ANSWER.search(answer)
    if attributes is None or b"4" not in attributes[1].split(b";")[1:]:
        return Graphics(late=attributes is None)
    colours = _COUNTED.search(answer)
    return Graphics(way="sixel", colours=max(2, int(colours[1])) if colours else _VT340_COLOURS)


def ask(environ: Mapping[str, str], reads: int, writes: int) -> Graphics:
    """Ask the terminal behind these file descriptors. Both must be terminals, else there is nothing to ask.

    Nothing is echoed, and it takes at most `PATIENCE` seconds.
    """
    if sys.platform == "win32" or not wanted(environ) or not (os.isatty(reads) and os.isatty(writes)):
        return Graphics()
    import termios
    import tty

    end = time.monotonic() + PATIENCE
    before = termios.tcgetattr(reads)
    tty.setcbreak(reads, termios.TCSANOW)
    try:
        answer = _answer(reads, writes, question(environ), end)
        if parse_answer(answer).way == "sixel":
            more = _answer(reads, writes, _COLOURS + _ATTRIBUTES, end)
            if not _ANSWER.search(more):
                return Graphics(late=True)
            answer += more
        return parse_answer(answer)
    finally:
        termios.tcsetattr(reads, termios.TCSANOW, before)


def _answer(reads: int, writes: int, asked: bytes, end: float) -> bytes:
    """Ask, and read until the device attributes have come or time is up."""
    os.write(writes, asked)
    answer = b""
    while not _ANSWER.search(answer) and (left := end - time.monotonic()) > 0:
        if select.select([reads], [], [], left)[0]:
            read = os.read(reads, 1024)
            if not read:
                break
            answer += read
    return answer


def cell(fd: int) -> tuple[int, int]:
    """Return width and height of a cell of the terminal in pixels; where it doesn't say, those of a VT340."""
    if sys.platform != "win32":
        import fcntl
        import struct
        import termios

        try:
            rows, columns, width, height = struct.unpack("4H", fcntl.ioctl(fd, termios.TIOCGWINSZ, bytes(8)))
        except OSError:
            return CELL
        if rows and columns and width >= columns and height >= rows:
            return width // columns, height // rows
    return CELL
