"""The slices on which two models disagree, each with its picture."""

from pathlib import Path

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import DataTable, Static

from lungcli.core.errors import LungcliError
from lungcli.core.formatting import plain
from lungcli.imaging.image_io import read
from lungcli.metrics.predictions import Flip
from lungcli.tui import NARROW
from lungcli.tui.widgets.dialogs import Dialog
from lungcli.tui.widgets.image_ops import on_screen
from lungcli.tui.widgets.picture import Picture
from lungcli.views.evaluation import FLIP_HEADINGS, flip_cells, flips_headline

_STYLES = {"corrected": "green", "broken": "red", "both wrong": "yellow"}


class Flips(Dialog[None]):
    """A table of flipped predictions; the picture follows the cursor."""

    AUTO_FOCUS = "DataTable"
    DEFAULT_CSS = """
    Flips > .frame { width: 96%; height: 92%; }
    Flips Static { height: auto; }
    Flips DataTable { width: 3fr; height: 1fr; background: $surface; scrollbar-size-vertical: 1; }
    Flips Picture { width: 2fr; margin-left: 1; }
    Flips.-narrow > .frame { width: 100%; max-width: 100%; padding: 0; }
    Flips.-narrow Horizontal { layout: vertical; }
    Flips.-narrow DataTable, Flips.-narrow Picture { width: 1fr; height: 1fr; margin-left: 0; }
    """

    def __init__(self, ours: str, theirs: str, flips: tuple[Flip, ...], slices: int, folder: Path | None) -> None:
        super().__init__()
        self._title = f"{plain(theirs)} → {plain(ours)}"
        self._flips, self._slices, self._folder = flips, slices, folder

    def compose(self) -> ComposeResult:
        with Vertical(classes="frame") as frame:
            frame.border_title = Content(self._title)
            frame.border_subtitle = Content("↑↓ walks · esc closes")
            yield Static(Text(flips_headline(self._flips, self._slices)))
            with Horizontal():
                yield DataTable[Text](cursor_type="row")
                yield Picture()

    def on_resize(self, event: events.Resize) -> None:
        self.set_class(event.size.width < NARROW, "-narrow")

    def on_mount(self) -> None:
        table = self.query_one(DataTable)
        table.add_columns(*map(Text, FLIP_HEADINGS))
        for flip in self._flips:
            outcome, *cells = flip_cells(flip)
            table.add_row(Text(outcome, _STYLES[outcome]), *map(Text, cells))
        if not self._flips:
            self.query_one(Picture).show(None, "both agree on every slice")

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        picture = self.query_one(Picture)
        if self._folder is None:
            picture.show(None, "its data set is not on this machine")
            return
        try:
            picture.show(on_screen(read(self._folder / self._flips[event.cursor_row].slice).grey))
        except LungcliError as error:
            picture.show(None, plain(error.message))
