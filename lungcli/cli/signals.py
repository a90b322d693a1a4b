"""How a call ends that did not come to its end: stopped from outside, or with nobody left to read what it says."""

import contextlib
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType

INTERRUPTED = 130
BROKEN_PIPE = 141
"""As of a program that the system ends when its reader has gone (128 + SIGPIPE)."""

Handler = Callable[[int, FrameType | None], None]

Before = dict[int, "signal._HANDLER"]

# What a scheduler and a terminal that is closed send.
_ORDERS = ("SIGTERM", "SIGHUP")
_SHOW_CURSOR = b"\x1b[?25h"


def install_handlers(handler: Handler | None = None, *, also: tuple[str, ...] = ()) -> Before:
    """End as after Ctrl-C, or by `handler`, when asked to from outside; return what was done before.

    `also` names further signals. Where `nohup` started this process, a terminal that is closed stays unheard.
    """
    names = [name for name in (*also, *_ORDERS) if hasattr(signal, name) and not _is_unheard(name)]
    return {getattr(signal, name): signal.signal(getattr(signal, name), handler or _interrupt) for name in names}


def install_default_handlers() -> None:
    """From here on end as after Ctrl-C when asked to from outside, and at once when asked again."""
    # What a script's `&` has ignored stays so; a job alone hears it.
    also = ("SIGINT",) if signal.getsignal(signal.SIGINT) is signal.default_int_handler else ()
    install_handlers(_interrupt_once, also=also)


def exit_on_next_signal(code: int) -> None:
    """From here on end with `code` at once when asked to from outside.

    While all is tidied up, or Python itself ends, nobody would catch an exception any more.
    """

    def end(number: int, frame: FrameType | None) -> None:
        del number, frame
        with contextlib.suppress(OSError):
            if os.isatty(2):
                os.write(2, _SHOW_CURSOR)
        os._exit(code)

    numbers = [getattr(signal, name) for name in ("SIGINT", *_ORDERS) if hasattr(signal, name)]
    for number in numbers:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, end)


def restore_handlers(before: Before) -> None:
    """Do again what was done before `install_handlers`."""
    for number, handler in before.items():
        signal.signal(number, handler)


def flush_or_devnull(code: int) -> int:
    """Write out what is left to say, and return the exit code: `code`, or UNREAD where nobody reads any more."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            # What is in the buffer would be tried once more at the very end, and complained of.
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            code = code or BROKEN_PIPE
    return code


def _is_unheard(name: str) -> bool:
    return name == "SIGHUP" and signal.getsignal(getattr(signal, name)) is signal.SIG_IGN


def _interrupt_once(number: int, frame: FrameType | None) -> None:
    exit_on_next_signal(INTERRUPTED)
    _interrupt(number, frame)


def _interrupt(number: int, frame: FrameType | None) -> None:
    del number, frame
    raise KeyboardInterrupt
