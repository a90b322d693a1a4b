"""A widget that shows one picture in half blocks."""

from rich.segment import Segment
from rich.text import Text
from textual.strip import Strip
from textual.widget import Widget

from lungcli.tui import halfblocks
from lungcli.tui.halfblocks import Pixels

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
        self._instead = ""
        self._strips: list[Strip] = []

    @property
    def pixels(self) -> Pixels | None:
        """What is shown: uint8, grey (H, W) or RGB (H, W, 3)."""
        return self._pixels

    def show(self, pixels: Pixels | None, instead: str = "") -> None:
        """Show a picture, or the sentence `instead` where there is none."""
        self._pixels, self._instead = pixels, instead
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
        if self._pixels is not None:
            coloured = not self.app.no_color and self.app.console.color_system in _SHOWS_GREYS
            self._strips = halfblocks.strips(self._pixels, *self.size, coloured=coloured)
        self.refresh()
