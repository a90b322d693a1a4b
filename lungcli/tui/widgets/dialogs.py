"""Dialogs over a view: a question, a line of text, one or several of a list, something to read, the keys."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, TypeVar

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Button, Input, OptionList, Static
from textual.widgets.option_list import Option

from lungcli.core.formatting import plain

T = TypeVar("T")

_HELP = """
Mouse: click a run, a chart (cursor) or a key below; the wheel over a chart zooms, dragging it pans.
Everything is in the palette too: Ctrl+P."""


class Dialog(ModalScreen[T | None]):
    """A framed screen over a view that Escape leaves with the answer None."""

    AUTO_FOCUS = "*"
    DEFAULT_CSS = """
    Dialog { align: center middle; background: $background 60%; }
    Dialog > .frame { border: round $accent; padding: 0 1; background: $surface; }
    Dialog > .frame { width: auto; min-width: 46; max-width: 96%; height: auto; max-height: 92%; }
    Dialog > .question { width: 64; padding: 1 2; }
    Dialog > .sheet { width: 96%; max-width: 110; }
    Dialog .sheet Static { width: 100%; height: auto; }
    Dialog OptionList { width: auto; height: auto; max-height: 100%; border: none; background: $surface; }
    Dialog .faint { color: $text-muted; }
    Dialog .buttons { height: 3; margin-top: 1; align-horizontal: right; }
    Dialog .buttons Button { margin-left: 2; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "close", "Close", id="dialog.close", tooltip="Back to the view"),
        Binding("q", "close", "Close", show=False),
    ]

    def action_close(self) -> None:
        self.dismiss(None)


class Confirm(Dialog[bool]):
    """A question to be answered by yes (True) or no (None); Enter means no."""

    AUTO_FOCUS = "#no"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "confirm", "Yes"),
        Binding("n", "close", "No"),
        Binding("left,right", "app.focus_next", "Other button", show=False),
    ]

    def __init__(self, question: str, yes: str) -> None:
        super().__init__()
        self._question, self._yes = question, yes

    def compose(self) -> ComposeResult:
        with Vertical(classes="frame question"):
            yield Static(Text(self._question))
            with Horizontal(classes="buttons"):
                yield Button("No (n)", id="no")
                yield Button(f"{self._yes} (y)", id="yes", variant="error")

    def on_button_pressed(self, event: Button.Pressed) -> None:
        self.dismiss(True if event.button.id == "yes" else None)

    def action_confirm(self) -> None:
        self.dismiss(True)


class Ask(Dialog[str]):
    """One line of text."""

    AUTO_FOCUS = "Input"

    def __init__(self, question: str, value: str) -> None:
        super().__init__()
        self._question, self._value = question, value

    def compose(self) -> ComposeResult:
        with Vertical(classes="frame question"):
            yield Static(Text(self._question))
            yield Input(self._value)
            yield Static("Enter: take it · Esc: leave", classes="faint")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self.dismiss(event.value.strip())


class Choose(Dialog[str]):
    """Choose one of `options` (id and what to show)."""

    def __init__(self, title: str, options: Sequence[tuple[str, str]], current: str = "") -> None:
        super().__init__()
        self._title, self._options, self._current = title, options, current

    def compose(self) -> ComposeResult:
        with Vertical(classes="frame") as frame:
            frame.border_title = Content(self._title)
            yield OptionList(*(Option(Text(plain(shown)), id=key) for key, shown in self._options))

    def on_mount(self) -> None:
        keys = [key for key, _ in self._options]
        self.query_one(OptionList).highlighted = keys.index(self._current) if self._current in keys else 0

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(event.option_id)


class Tick(Dialog[tuple[str, ...]]):
    """Choose several of `options`; Enter takes the choice, Escape leaves everything as it was."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "take", "Take", id="dialog.take", tooltip="Take the choice", priority=True),
        Binding("space", "tick", "Tick", tooltip="Tick or untick"),
    ]

    def __init__(self, title: str, options: Sequence[str], ticked: Sequence[str]) -> None:
        super().__init__()
        self._title, self._options, self._ticked = title, options, {*ticked}

    def compose(self) -> ComposeResult:
        with Vertical(classes="frame") as frame:
            frame.border_title = Content(self._title)
            frame.border_subtitle = Content("space ticks · enter takes · esc leaves")
            yield OptionList(*(Option(self._line(item), id=item) for item in self._options))

    def _line(self, item: str) -> Text:
        """A ticked box differs by its shape, not only by colour."""
        return Text(f"[{'x' if item in self._ticked else ' '}] {item}")

    def on_mount(self) -> None:
        self.query_one(OptionList).highlighted = 0

    def on_option_list_option_selected(self) -> None:
        self.action_tick()

    def action_tick(self) -> None:
        options = self.query_one(OptionList)
        if options.highlighted is not None:
            item = self._options[options.highlighted]
            self._ticked ^= {item}
            options.replace_option_prompt_at_index(options.highlighted, self._line(item))

    def action_take(self) -> None:
        """Return the ticked options in the order they were offered."""
        self.dismiss(tuple(item for item in self._options if item in self._ticked))


class Sheet(Dialog[None]):
    """Something to read, which scrolls."""

    def __init__(self, title: str, *parts: RenderableType) -> None:
        super().__init__()
        self._title, self._parts = title, parts

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="frame sheet") as frame:
            frame.border_title = Content(plain(self._title))
            frame.border_subtitle = Content("esc closes")
            for part in self._parts:
                yield Static(part)


class Help(Sheet):
    """The keys that work in the view, by area: key, name, what it does."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("question_mark,f1", "close", "Close", show=False)]

    def __init__(self, areas: Mapping[str, Sequence[tuple[str, str, str]]]) -> None:
        parts: list[RenderableType] = []
        for area, keys in areas.items():
            table = Table(box=None, pad_edge=False, show_header=False)
            table.add_column(width=12, style="bold")
            table.add_column(width=14)
            table.add_column(style="dim")
            for key, what, why in keys:
                table.add_row(Text(key.strip()), Text(what), Text(why))
            parts += [Text(area, style="bold underline"), table]
        super().__init__("keys", *parts, Text(_HELP, style="dim"))
