"""Leaving the terminal without waiting for the thread that reads its keys, and keys that nobody pressed."""

import re
import time
from typing import Any

from textual import events
from textual.driver import Driver
from textual.message import Message

# The beginning of an answer to a question of `graphics`, as the keys that it is taken for.
_ANSWER = re.compile(r"(\^|\^_(G[i=;\dOK]*)?\^?\\?)?(\[\?[\d;]*S)?(\[(\?[\d;]*[cS]?)?)?")
# When the last answer of a slow line has long come, in seconds.
_LATEST = 5.0


def leaving_at_once(driver: type[Driver]) -> type[Driver]:
    """Return a driver that, once the app was left, restores the terminal and waits for nothing more.

    Textual's own waits up to 0.2 s until its thread of keys has noticed; the process ends that thread anyway.
    """
    if not hasattr(driver, "disable_input") or not hasattr(driver, "stop_application_mode"):
        return driver

    class Leaving(driver):  # type: ignore[misc, valid-type]
        _key_thread: Any

        def disable_input(self) -> None:
            """Stop reading keys."""
            left = self._app._exit and not self.is_headless
            if left:
                self._key_thread = None
            super().disable_input()
            if left:
                self.exit_event.set()

    return Leaving


def deaf_to_answers(driver: type[Driver]) -> type[Driver]:
    """Return a driver that drops one late answer of the terminal, which Textual would take for keys pressed.

    Keys that only begin like one are kept back until the next key tells.
    """

    class Deaf(driver):  # type: ignore[misc, valid-type]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self._until = time.monotonic() + _LATEST
            self._held: list[Message] = []

        def process_message(self, message: Message) -> None:
            """Pass on what is not part of an answer."""
            before = self._held
            if isinstance(message, events.Key) and time.monotonic() < self._until:
                # What was held may have been typed just before an answer begins.
                for held in (before, []):
                    typed = "".join(getattr(key, "character", None) or "\0" for key in [*held, message])
                    if _ANSWER.fullmatch(typed):
                        self._pass(before[: len(before) - len(held)])
                        self._held = [*held, message]
                        if typed.endswith("c"):
                            self._held, self._until = [], 0.0
                        return
            self._held = []
            self._pass([*before, message])

        def _pass(self, messages: list[Message]) -> None:
            for message in messages:
                super().process_message(message)

    return Deaf
