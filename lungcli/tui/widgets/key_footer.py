"""The last line of the screen: the keys that work where the focus is, as many as fit."""

import dataclasses
from typing import ClassVar

from rich.cells import cell_len
from rich.text import Text
from textual import events
from textual.binding import Binding
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Input

from lungcli.tui import NARROW

# Keys that a field for text leaves to others; actions whose keys are shown however narrow the terminal.
_NOT_TYPED = ("escape", "enter")
_LAST = ("quit", "help", "command_palette")


class KeyFooter(Widget):
    """Keys with their names; a click presses one. One line of text costs less than a widget a key."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"keyfooter--key", "keyfooter--disabled"}
    DEFAULT_CSS = """
    KeyFooter { dock: bottom; height: 1; background: $panel; color: $foreground; }
    .keyfooter--key { color: $accent; text-style: bold; }
    .keyfooter--disabled { color: $text-muted; }
    """

    def __init__(self) -> None:
        super().__init__()
        self.keys: list[tuple[Binding, bool]] = []

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, self._follow)
        self.call_after_refresh(self._follow, self.screen)

    def on_resize(self) -> None:
        self._follow(self.screen)

    def _follow(self, screen: Screen[object]) -> None:
        if screen is self.screen and (keys := self._fitting()) != self.keys:
            self.keys = keys
            self.refresh()

    def _fitting(self) -> list[tuple[Binding, bool]]:
        """The keys to show, Help and Quit at the end; none that would be typed into a field."""
        typing = isinstance(self.screen.focused, Input)
        keys: dict[str, tuple[Binding, bool]] = {}
        for _, binding, enabled, _ in self.screen.active_bindings.values():
            reachable = not typing or binding.key.startswith("ctrl+") or binding.key in _NOT_TYPED
            palette = binding.action.endswith("command_palette") and self.size.width >= NARROW
            leaves = typing and binding.key in _NOT_TYPED and binding.description
            if (binding.show or palette or leaves) and reachable:
                # The key itself: what is shown in its place (q for Ctrl+Q) would be typed.
                shown = dataclasses.replace(binding, key_display=None) if typing else binding
                keys.setdefault(binding.action.rpartition(".")[2], (shown, enabled))
        last = [keys.pop(action) for action in _LAST if action in keys]
        room = self.size.width - sum(cell_len(self._label(binding)) for binding, _ in last)
        fitting = []
        for key in keys.values():
            room -= cell_len(self._label(key[0]))
            if room < 0:
                break
            fitting.append(key)
        return fitting + last

    def _label(self, binding: Binding) -> str:
        return f"{self.app.get_key_display(binding)} {binding.description}  "

    def render(self) -> Text:
        text = Text(no_wrap=True)
        for binding, enabled in self.keys:
            key, name = self.app.get_key_display(binding), f" {binding.description}  "
            style = "keyfooter--key" if enabled else "keyfooter--disabled"
            text.append(key, self.get_component_rich_style(style, partial=True)).append(name)
        return text

    def on_click(self, event: events.Click) -> None:
        end = 0
        for binding, _ in self.keys:
            end += cell_len(self._label(binding))
            if event.x < end:
                self.app.simulate_key(binding.key)
                return
