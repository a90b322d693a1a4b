"""A widget that shows one picture in half blocks, or without colours in shades of characters."""

from rich.segment import Segment
from rich.text import Text
from textual.strip import Strip
from textual.widget import Widget

from lungcli.inference import halfblocks
from lungcli.inference.halfblocks import Pixels
from lungcli.tui import tiles

# Of the colours a terminal may have, these can show greys.
_SHOWS_GREYS = {"truecolor", "256", "windows"}


class Picture(Widget):
    """One picture, as large as the widget, or a line that says why there is none."""

    DEFAULT_CSS = """
    Picture { width: 1fr; height: 1fr; }
    """

    def __init__(self, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._pixels: Pixels | None = None
        self._grey: Pixels | None = None
        self._instead = ""
        self._strips: list[Strip] = []

    @property
    def pixels(self) -> Pixels | None:
        """What is shown: uint8, grey (H, W) or RGB (H, W, 3)."""
        return self._pixels

    @property
    def coloured(self) -> bool:
        """Whether the terminal can show pictures in colours."""
        return not self.app.no_color and self.app.console.color_system in _SHOWS_GREYS

    def show(self, pixels: Pixels | None, instead: str = "", *, grey: Pixels | None = None) -> None:
        """Show a picture, or the sentence `instead` where there is none; `grey` stands in where there are no colours.

        What only colours tell is lost without them, unless `grey` (H, W) tells it otherwise.
        """
        self._pixels, self._instead, self._grey = pixels, instead, grey
        self._draw()

    def on_resize(self) -> None:
        """Draw again at the new size."""
        self._draw()

    def render_line(self, y: int) -> Strip:
        """Return one row of cells."""
        if self._pixels is None:
            lines = self._instead.splitlines()
            row = y - max(0, self.size.height - len(lines)) // 2
            text = Text(lines[row] if 0 <= row < len(lines) else "")
            text.align("center", self.size.width)
            line = Strip([Segment(text.plain)]).adjust_cell_length(self.size.width)
        else:
            line = self._strips[y] if y < len(self._strips) else Strip.blank(self.size.width)
        return line.apply_style(self.rich_style)

    def _draw(self) -> None:
        columns, rows = self.size
        if self._pixels is not None and columns > 0 and rows > 0:
            grey = tiles.grey_of(self._pixels) if self._grey is None else self._grey
            self._strips = strips(self._pixels if self.coloured else grey, columns, rows, coloured=self.coloured)
        self.refresh()


def strips(pixels: Pixels, columns: int, rows: int, *, coloured: bool) -> list[Strip]:
    """Draw a picture, grey (H, W) or (`coloured`) RGB (H, W, 3), in the middle of `columns` × `rows` cells."""
    if coloured:
        lines = halfblocks.lines(pixels, columns, rows)
    else:
        lines = [[Segment(line)] for line in halfblocks.shades(pixels, columns, rows)]
    drawn = [Strip(line) for line in lines]
    left, top = (columns - drawn[0].cell_length) // 2, (rows - len(drawn)) // 2
    middle = [Strip([Segment(" " * left), *line]).adjust_cell_length(columns) for line in drawn]
    empty = Strip.blank(columns)
    return [*[empty] * top, *middle, *[empty] * (rows - top - len(drawn))]
