"""Who says what where: data on stdout, narration on stderr. Foreign names are never read as markup."""

import functools
import re
import sys
from typing import TYPE_CHECKING

import msgspec

from lungcli import DISCLAIMER

if TYPE_CHECKING:
    from rich.console import Console

SCHEMA_VERSION = 1

# Control characters of a foreign file name could move the cursor or recolour the terminal.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


class Manner:
    """How to speak, set once by the options before the command's name."""

    quiet = False
    colour = True
    debug = False


@functools.cache
def out() -> "Console":
    """Console for data (stdout)."""
    from rich.console import Console

    return Console(no_color=not Manner.colour or None, highlight=False, markup=False, emoji=False)


@functools.cache
def err() -> "Console":
    """Console for narration (stderr)."""
    from rich.console import Console

    return Console(stderr=True, no_color=not Manner.colour or None, highlight=False, markup=False, emoji=False)


def plain(name: object) -> str:
    """Return a foreign name with control characters made visible."""
    return _CONTROL.sub(lambda match: match.group().encode("unicode_escape").decode(), str(name))


def say(text: str, style: str = "") -> None:
    """Tell the user something on stderr, unless asked to be quiet."""
    if not Manner.quiet:
        err().print(plain(text), style=style, soft_wrap=True)


def warn(text: str) -> None:
    """Tell the user something that should not be missed."""
    err().print(f"warning: {plain(text)}", style="yellow", soft_wrap=True)


def fail(message: str, hint: str = "") -> None:
    """Say what failed, why, and what to do: the important line last."""
    err().print(f"error: {plain(message)}", style="bold red", soft_wrap=True)
    if hint:
        err().print(f"  {plain(hint)}", soft_wrap=True)


def disclaim() -> None:
    """Say once that this is no medical device."""
    say(DISCLAIMER, style="dim")


def print_json(value: object) -> None:
    """Print a value as one JSON object with its schema version and the disclaimer."""
    fields = msgspec.to_builtins(value)
    whole = {"schema_version": SCHEMA_VERSION, "disclaimer": DISCLAIMER} | fields
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(whole), indent=2).decode() + "\n")


def print_text(text: str) -> None:
    """Print data that is text already (CSV, Markdown) exactly as it is."""
    sys.stdout.write(text if text.endswith("\n") else text + "\n")
