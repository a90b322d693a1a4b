"""Leaving the terminal without waiting for the thread that reads its keys, and keys that nobody pressed."""

import contextlib
import re
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

from textual import events
from textual.app import App
from textual.driver import Driver
from textual.message import Message

# The beginning of an answer to a question of `terminal_capabilities`, as the keys that it is taken for.
_ANSWER = re.compile(r"(\^|\^_(G[i=;\dOK]*)?\^?\\?)?(\[\?[\d;]*S)?(\[(\?[\d;]*[cS]?)?)?")
# Clicks, moves, and the two ways to write where: xterm's control sequences 1000, 1003, 1015 and 1006, reset.
_NO_MOUSE = "\x1b[?1000l\x1b[?1003l\x1b[?1015l\x1b[?1006l"
# When the last answer of a slow line has long come, in seconds.
_LATEST = 5.0


def with_callback(driver: type[Driver], callback: Callable[[Driver], None]) -> type[Driver]:
    """Return a driver that passes itself to `callback` once it is made: an app has no public name for its own."""

    class WithCallback(driver):  # type: ignore[misc, valid-type]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            callback(self)

    return WithCallback


def leaving_at_once(driver: type[Driver]) -> type[Driver]:
    """Return a driver that, once the app was left, restores the terminal and waits for nothing more.

    Textual's own waits up to 0.2 s until its thread of keys has noticed; the process ends that thread anyway.
    """
    if sys.platform == "win32":
        return driver
    import termios

    from textual.drivers.linux_driver import LinuxDriver

    if not issubclass(driver, LinuxDriver):
        return driver

    class Leaving(driver):  # type: ignore[misc, valid-type]
        def __init__(self, app: App[Any], **kwargs: Any) -> None:
            super().__init__(app, **kwargs)
            self._dashboard = app
            self._started = False

        def start_application_mode(self) -> None:
            self._started = True
            super().start_application_mode()

        def disable_input(self) -> None:
            if self._dashboard.return_code is None or not self._started:
                super().disable_input()
            elif not self.exit_event.is_set():
                # All that Textual's own does, but for joining the thread, which ends by the event.
                self.exit_event.set()
                signal.signal(signal.SIGWINCH, signal.SIG_DFL)
                self.write(_NO_MOUSE)
                self.flush()
                # The terminal may be gone.
                with contextlib.suppress(termios.error):
                    termios.tcflush(self.fileno, termios.TCIFLUSH)

    return Leaving


def without_late_answers(driver: type[Driver]) -> type[Driver]:
    """Return a driver that drops one late answer of the terminal, which Textual would take for keys pressed.

    Keys that only begin like one are kept back until the next key tells.
    """

    class WithoutLateAnswers(driver):  # type: ignore[misc, valid-type]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self._deadline = time.monotonic() + _LATEST
            self._pending: list[Message] = []

        def process_message(self, message: Message) -> None:
            before = self._pending
            if isinstance(message, events.Key) and time.monotonic() < self._deadline:
                # The keys kept back may have been typed just before an answer begins.
                for pending in (before, []):
                    typed = "".join(getattr(key, "character", None) or "\0" for key in [*pending, message])
                    if _ANSWER.fullmatch(typed):
                        self._pass_on(before[: len(before) - len(pending)])
                        self._pending = [*pending, message]
                        if typed.endswith("c"):
                            self._pending, self._deadline = [], 0.0
                        return
            self._pending = []
            self._pass_on([*before, message])

        def _pass_on(self, messages: list[Message]) -> None:
            for message in messages:
                super().process_message(message)

    return WithoutLateAnswers
