"""Small questions over the screen, and the list of keys."""

from typing import ClassVar

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Static

Keys = tuple[tuple[str, str, str], ...]


class Confirm(ModalScreen[bool]):
    """A question with yes and no; no is what Enter means."""

    AUTO_FOCUS = "#no"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "Yes"),
        Binding("n,escape", "answer(False)", "No"),
        Binding("left,right", "app.focus_next", "Other button", show=False),
    ]

    def __init__(self, question: str, yes: str) -> None:
        super().__init__()
        self._question, self._yes = question, yes

    def compose(self) -> ComposeResult:
        """The question and its two buttons."""
        with Vertical(classes="dialog"):
            yield Static(Text(self._question))
            with Horizontal(classes="buttons"):
                yield Button("No (n)", id="no")
                yield Button(f"{self._yes} (y)", id="yes", variant="error")

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Answer with the button."""
        self.dismiss(event.button.id == "yes")

    def action_answer(self, yes: bool) -> None:
        """Answer with a key."""
        self.dismiss(yes)


class Ask(ModalScreen[str | None]):
    """One line of text; Escape answers None."""

    AUTO_FOCUS = "Input"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", "Leave")]

    def __init__(self, question: str, value: str) -> None:
        super().__init__()
        self._question, self._value = question, value

    def compose(self) -> ComposeResult:
        """The question and its line."""
        with Vertical(classes="dialog"):
            yield Static(Text(self._question))
            yield Input(self._value)
            yield Static("Enter: take it · Esc: leave", classes="faint")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Answer with the line."""
        self.dismiss(event.value.strip())

    def action_leave(self) -> None:
        """Answer nothing."""
        self.dismiss(None)


class Help(ModalScreen[None]):
    """The keys that work where the user is."""

    AUTO_FOCUS = "VerticalScroll"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,question_mark,q,f1", "leave", "Leave")]

    def __init__(self, keys: Keys, more: str) -> None:
        super().__init__()
        self._keys, self._more = keys, more

    def compose(self) -> ComposeResult:
        """A table of keys, and what is worth knowing besides."""
        table = Table(box=None, pad_edge=False, show_header=False)
        for key, what, why in self._keys:
            table.add_row(Text(key, style="bold"), Text(what), Text(why, style="dim"))
        with VerticalScroll(classes="dialog wide"):
            yield Static(Text("Keys here (Esc closes)", style="bold"))
            yield Static(table)
            yield Static(Text(self._more, style="dim"))

    def action_leave(self) -> None:
        """Close."""
        self.dismiss(None)
