"""Telling the user that long work has ended: a bell, or a command of theirs."""

import contextlib
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator

from lungcli.cli import console
from lungcli.core.errors import UsageError

BELL = "bell"


@contextlib.contextmanager
def notified(command: str) -> Iterator[None]:
    """Run `command` when the work inside ends, however it does; LUNGCLI_RESULT tells the command `done` or `failed`.

    An empty one does nothing, and so does a rank that another process has started. Raises UsageError for a command that
    is not closed.
    """
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UsageError(f"--notify {command!r} is no command: {error}", "close its quotes") from error
    if not words or "TORCHELASTIC_RUN_ID" in os.environ:
        yield
        return
    result = "failed"
    try:
        yield
        result = "done"
    finally:
        _notify(words, result)


def _notify(words: list[str], result: str) -> None:
    if words == [BELL]:
        if sys.stderr.isatty():
            sys.stderr.write("\a")
        return
    try:
        # The command is the user's own, and no shell reads it.
        subprocess.run(words, env=os.environ | {"LUNGCLI_RESULT": result}, check=True)  # noqa: S603
    except (OSError, subprocess.CalledProcessError) as error:
        console.warn(f"--notify {shlex.join(words)} failed: {error}")
