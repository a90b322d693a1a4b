"""The slices on which two models disagree, each with its picture."""

from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import DataTable, Static

from lungcli.core.errors import LungcliError
from lungcli.core.formatting import plain
from lungcli.imaging.image_io import read
from lungcli.metrics.predictions import Flip
from lungcli.tui.widgets.image_ops import on_screen
from lungcli.tui.widgets.picture import Picture


def outcome(flip: Flip) -> str:
    """Say who was right: `mended` where ours is and theirs was not, `broken` the other way, else `both wrong`."""
    if flip.ours == flip.label:
        return "mended"
    return "broken" if flip.theirs == flip.label else "both wrong"


def headline(found: tuple[Flip, ...], judged: int) -> str:
    """Count the flips by who was right."""
    counts = [sum(outcome(flip) == kind for flip in found) for kind in ("mended", "broken", "both wrong")]
    return f"{len(found)} of {judged} verdicts flipped: {counts[0]} mended, {counts[1]} broken, {counts[2]} both wrong"


class Flips(ModalScreen[None]):
    """A table of flipped verdicts; the picture follows the cursor."""

    AUTO_FOCUS = "DataTable"
    DEFAULT_CSS = """
    Flips { align: center middle; }
    Flips > Vertical { width: 96%; height: 92%; border: round $accent; padding: 0 1; background: $surface; }
    Flips Static { height: auto; }
    Flips DataTable { width: 3fr; height: 1fr; background: $surface; }
    Flips Picture { width: 2fr; margin-left: 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "close", "Close", id="flips.close", tooltip="Back to the models")
    ]

    def __init__(self, ours: str, theirs: str, found: tuple[Flip, ...], judged: int, folder: Path | None) -> None:
        super().__init__()
        self._ours, self._theirs = ours, theirs
        self._found, self._judged, self._folder = found, judged, folder

    def compose(self) -> ComposeResult:
        """Lay out the table beside the picture."""
        with Vertical() as frame:
            frame.border_title = Content(f"{plain(self._theirs)} → {plain(self._ours)}")
            frame.border_subtitle = Content("↑↓ walks · esc closes")
            yield Static(Text(headline(self._found, self._judged)))
            with Horizontal():
                yield DataTable[Text](cursor_type="row")
                yield Picture()

    def on_mount(self) -> None:
        """Fill the table."""
        table = self.query_one(DataTable)
        for title in ("", "true class", "before", "after", "slice"):
            table.add_column(Text(title))
        styles = {"mended": "green", "broken": "red", "both wrong": "yellow"}
        for flip in self._found:
            what = outcome(flip)
            before = f"{flip.theirs} {flip.their_confidence:.0%}"
            after = f"{flip.ours} {flip.our_confidence:.0%}"
            cells = (flip.label, before, after, flip.slice.removeprefix("slices/"))
            table.add_row(Text(what, styles[what]), *(Text(plain(item)) for item in cells))
        if not self._found:
            self.query_one(Picture).show(None, "both agree on every slice")

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        """Show the slice under the cursor."""
        picture = self.query_one(Picture)
        if self._folder is None:
            picture.show(None, "its data set is not on this machine")
            return
        try:
            picture.show(on_screen(read(self._folder / self._found[event.cursor_row].slice).grey))
        except LungcliError as error:
            picture.show(None, plain(error.message))

    def action_close(self) -> None:
        """Go back to the models."""
        self.dismiss(None)
