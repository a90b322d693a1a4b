"""Leaving the terminal without waiting for the thread that reads its keys."""

from typing import Any

from textual.driver import Driver


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
