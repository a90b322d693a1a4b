"""Signals and broken pipes: how a call ends early."""

import contextlib
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType

INTERRUPTED = 130
BROKEN_PIPE = 141
"""The exit code of a program that the system ends when its reader has gone: 128 + SIGPIPE."""

Handler = Callable[[int, FrameType | None], None]

Before = dict[int, "signal._HANDLER"]

# Sent by a scheduler, and by a terminal that is closed.
_STOP_SIGNALS = ("SIGTERM", "SIGHUP")
_SHOW_CURSOR = b"\x1b[?25h"


def install_handlers(handler: Handler | None = None, *, also: tuple[str, ...] = ()) -> Before:
    """Install `handler` (raising KeyboardInterrupt if None) for SIGTERM and SIGHUP; return the handlers before.

    `also` names further signals. Under `nohup`, SIGHUP stays ignored.
    """
    names = [name for name in (*also, *_STOP_SIGNALS) if hasattr(signal, name) and not _is_ignored(name)]
    return {getattr(signal, name): signal.signal(getattr(signal, name), handler or _interrupt) for name in names}


def install_default_handlers() -> None:
    """Raise KeyboardInterrupt at the first signal, exit at once at the second."""
    # A script's `&` ignores SIGINT, and only training handles it then.
    also = ("SIGINT",) if signal.getsignal(signal.SIGINT) is signal.default_int_handler else ()
    install_handlers(_interrupt_once, also=also)


def exit_on_next_signal(code: int) -> None:
    """Exit with `code` at once at the next signal.

    During cleanup and while Python exits nothing would catch an exception any more.
    """

    def end(number: int, frame: FrameType | None) -> None:
        del number, frame
        with contextlib.suppress(OSError):
            if os.isatty(2):
                os.write(2, _SHOW_CURSOR)
        os._exit(code)

    numbers = [getattr(signal, name) for name in ("SIGINT", *_STOP_SIGNALS) if hasattr(signal, name)]
    for number in numbers:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, end)


def restore_handlers(before: Before) -> None:
    """Restore the handlers that `install_handlers` has returned."""
    for number, handler in before.items():
        signal.signal(number, handler)


def flush_or_devnull(code: int) -> int:
    """Flush stdout and stderr, and return the exit code: `code`, or BROKEN_PIPE where 0 and the reader has gone."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            # Python would try to write the buffer once more at exit, and print an error.
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            code = code or BROKEN_PIPE
    return code


def _is_ignored(name: str) -> bool:
    return name == "SIGHUP" and signal.getsignal(getattr(signal, name)) is signal.SIG_IGN


def _interrupt_once(number: int, frame: FrameType | None) -> None:
    exit_on_next_signal(INTERRUPTED)
    _interrupt(number, frame)


def _interrupt(number: int, frame: FrameType | None) -> None:
    del number, frame
    raise KeyboardInterrupt
