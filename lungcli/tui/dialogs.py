"""Small screens over a view: choose one, choose several, read something."""

from collections.abc import Sequence
from typing import ClassVar

from rich.console import RenderableType
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import OptionList, SelectionList, Static
from textual.widgets.option_list import Option
from textual.widgets.selection_list import Selection

from lungcli.core.words import plain

_CLOSE = Binding("escape,q", "close", "Close", id="dialog.close", tooltip="Back to the view")


class Choose(ModalScreen[str | None]):
    """Choose one of `options` (id and what to show); Escape chooses none."""

    DEFAULT_CSS = """
    Choose { align: center middle; }
    Choose > Vertical { width: auto; min-width: 36; max-width: 90%; height: auto; max-height: 80%; }
    Choose > Vertical { border: round $accent; padding: 0 1; background: $surface; }
    Choose OptionList { width: auto; height: auto; max-height: 100%; border: none; background: $surface; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [_CLOSE]

    def __init__(self, title: str, options: Sequence[tuple[str, str]], current: str = "") -> None:
        super().__init__()
        self._title, self._options, self._current = title, options, current

    def compose(self) -> ComposeResult:
        """Lay out a titled list."""
        with Vertical() as frame:
            frame.border_title = Content(self._title)
            yield OptionList(*(Option(Text(plain(shown)), id=key) for key, shown in self._options))

    def on_mount(self) -> None:
        """Start on what is chosen now."""
        keys = [key for key, _ in self._options]
        self.query_one(OptionList).highlighted = keys.index(self._current) if self._current in keys else 0

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Return the choice."""
        self.dismiss(event.option_id)

    def action_close(self) -> None:
        """Choose nothing."""
        self.dismiss(None)


class Tick(ModalScreen[tuple[str, ...] | None]):
    """Choose several of `options`; Enter takes the choice, Escape leaves everything as it was."""

    DEFAULT_CSS = """
    Tick { align: center middle; }
    Tick > Vertical { width: auto; min-width: 36; height: auto; max-height: 90%; }
    Tick > Vertical { border: round $accent; padding: 0 1; background: $surface; }
    Tick SelectionList { width: auto; min-width: 32; height: auto; max-height: 100%; border: none; }
    Tick SelectionList { background: $surface; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        _CLOSE,
        Binding("enter", "take", "Take", id="dialog.take", tooltip="Take the choice", priority=True),
    ]

    def __init__(self, title: str, options: Sequence[str], ticked: Sequence[str]) -> None:
        super().__init__()
        self._title, self._options, self._ticked = title, options, ticked

    def compose(self) -> ComposeResult:
        """Lay out a titled list with boxes."""
        with Vertical() as frame:
            frame.border_title = Content(self._title)
            frame.border_subtitle = Content("space ticks · enter takes · esc leaves")
            yield SelectionList[str](*(Selection(Text(item), item, item in self._ticked) for item in self._options))

    def action_take(self) -> None:
        """Return the ticked options in the order they were offered."""
        chosen = set(self.query_one(SelectionList).selected)
        self.dismiss(tuple(item for item in self._options if item in chosen))

    def action_close(self) -> None:
        """Leave everything as it was."""
        self.dismiss(None)


class Sheet(ModalScreen[None]):
    """Something to read, which scrolls."""

    DEFAULT_CSS = """
    Sheet { align: center middle; }
    Sheet > VerticalScroll { width: 96%; max-width: 110; height: auto; max-height: 92%; }
    Sheet > VerticalScroll { border: round $accent; padding: 0 1; background: $surface; }
    Sheet Static { width: 100%; height: auto; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [_CLOSE]

    def __init__(self, title: str, *parts: RenderableType) -> None:
        super().__init__()
        self._title, self._parts = title, parts

    def compose(self) -> ComposeResult:
        """Lay out the parts under each other."""
        with VerticalScroll() as frame:
            frame.border_title = Content(plain(self._title))
            frame.border_subtitle = Content("esc closes")
            for part in self._parts:
                yield Static(part)

    def action_close(self) -> None:
        """Go back to the view."""
        self.dismiss(None)
