"""The two consoles: data on stdout, messages on stderr. Foreign names are never read as markup."""

import codecs
import functools
import io
import json
import os
import re
import sys
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from lungcli import DISCLAIMER
from lungcli.core.formatting import as_json, plain_lines
from lungcli.core.formatting import plain as plain

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text


# The signs that lungcli prints beyond ASCII, for encodings that lack them.
_ASCII = {
    "█": "#",
    "░": ".",
    "┃": "|",
    "–": "-",
    "…": "...",
    "·": "-",
    "→": "->",
    "←": "<-",
    "≤": "<=",
    "≥": ">=",
    "×": "x",
}
_ASCII |= dict.fromkeys("▏▎▍▌▋▊▉", "#")

# Cells of a line: what reads a pipe gets the names of runs whole, however narrow COLUMNS is.
_IN_A_PIPE = 10_000


def prepare_streams() -> bool:
    """Make stdout and stderr fit to be written to; return whether stdout was open.

    What their encoding lacks is written in ASCII, foreign letters as question marks: Windows redirects to cp1252, and
    LC_ALL=C means ASCII. A closed stream becomes the null device, so that no file opened later takes its number.
    """
    codecs.register_error("lungcli", _in_ascii)
    stdout_open = sys.stdout is not None
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="lungcli")
    return stdout_open


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_ASCII.get(letter, "?") for letter in error.object[error.start : error.end]), error.end


class ConsoleOptions:
    """Global options, set once from those before the command's name."""

    quiet = False
    colour = True
    debug = False


@functools.cache
def out() -> "Console":
    """Console for data (stdout)."""
    return _console(stderr=False)


@functools.cache
def err() -> "Console":
    """Console for messages (stderr)."""
    return _console(stderr=True)


def _console(*, stderr: bool) -> "Console":
    """A console that reads no markup, and shows control characters instead of sending them."""
    from rich.console import Console

    class Harmless(Console):
        def render_str(self, text: str, **how: Any) -> "Text":
            return super().render_str(plain_lines(text), **how)

    console = Harmless(
        stderr=stderr, no_color=not ConsoleOptions.colour or None, highlight=False, markup=False, emoji=False
    )
    if not console.is_terminal:
        console.width = _IN_A_PIPE
    return console


def info(text: str, style: str = "") -> None:
    """Print a message on stderr, unless --quiet."""
    if not ConsoleOptions.quiet:
        err().print(plain(text), style=style, soft_wrap=True)


def warn(text: str) -> None:
    """Print a warning on stderr."""
    err().print(f"warning: {plain(text)}", style="yellow", soft_wrap=True)


def error(message: str, hint: str = "") -> None:
    """Print what failed and why, and what to do about it."""
    err().print(f"error: {plain(message)}", style="bold red", soft_wrap=True)
    if hint:
        err().print(f"  {plain(hint)}", soft_wrap=True)


def disclaim() -> None:
    """Print the disclaimer on stderr."""
    info(DISCLAIMER, style="dim")


def print_json(value: object) -> None:
    """Print a value as one JSON object with its schema version and the disclaimer."""
    print_json_text(as_json(value))


def print_json_text(text: str) -> None:
    """Print JSON; what the encoding of stdout cannot say is escaped, so that nothing is lost."""
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = re.sub(r"[^\x00-\x7f]", lambda match: json.dumps(match.group())[1:-1], text)
    sys.stdout.write(text)


def print_table(
    headings: "Sequence[str]", rows: "Sequence[Sequence[str]]", best: "Collection[tuple[int, int]]" = ()
) -> None:
    """Print a table, in a pipe each row as one line; a terminal that is too narrow gets its last column wrapped."""
    from lungcli.views import text_table

    for line in text_table.lines(headings, rows, best, out().width if out().is_terminal else None):
        out().print(line, soft_wrap=True)


def print_text(text: str) -> None:
    """Print data that is text already (CSV, Markdown, TOML), unchanged but for control characters."""
    shown = plain_lines(text)
    sys.stdout.write(shown if shown.endswith("\n") else shown + "\n")
