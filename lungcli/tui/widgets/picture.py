"""A widget that shows one picture: in half blocks, real pixels where the terminal can, or shades of characters."""

import random
import sys
from functools import partial

from rich.segment import Segment
from rich.text import Text
from textual.driver import Driver
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from lungcli.tui.widgets import image_ops, sixel_kitty, terminal_capabilities
from lungcli.tui.widgets.terminal_capabilities import Graphics
from lungcli.views import terminal_image
from lungcli.views.terminal_image import Pixels

# Of the colours a terminal may have, these can show greys.
_SHOWS_GREYS = {"truecolor", "256", "windows"}
# What may lie over a picture without covering the whole screen.
_OVER = "Toast, Tooltip"


class Picture(Widget):
    """One picture, as large as the widget, or a line that says why there is none."""

    DEFAULT_CSS = """
    Picture { width: 1fr; height: 1fr; }
    """

    def __init__(self, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        # uint8, grey (H, W) or RGB (H, W, 3).
        self.pixels: Pixels | None = None
        self._grey: Pixels | None = None
        self._instead = ""
        self._strips: list[Strip] = []
        # Sixel: the cells of this widget that it fills, and the commands once they are known.
        self._box = Region()
        self._sixels = ""
        # Kitty: the number of the picture that it holds.
        self._number = 0

    @property
    def coloured(self) -> bool:
        """Whether the terminal can show pictures in colours."""
        return not self.app.no_color and (self._in_text or self._can.way == "sixel")

    @property
    def _in_text(self) -> bool:
        return not self.app.no_color and self.app.console.color_system in _SHOWS_GREYS

    @property
    def _can(self) -> Graphics:
        can: Graphics = getattr(self.app, "graphics", Graphics())
        return can

    def show(self, pixels: Pixels | None, instead: str = "", *, grey: Pixels | None = None) -> None:
        """Show a picture, or the sentence `instead` where there is none; `grey` stands in where there are no colours.

        What only colours tell is lost without them, unless `grey` (H, W) tells it otherwise.
        """
        self.pixels, self._instead, self._grey = pixels, instead, grey
        self._draw()

    def on_resize(self) -> None:
        self._draw()

    def on_unmount(self) -> None:
        self._forget()

    def render_lines(self, crop: Region) -> list[Strip]:
        """Return rows of cells, and see to it that real pixels are drawn over them again."""
        if self._sixels:
            self.call_after_refresh(self._paint)
        return super().render_lines(crop)

    def render_line(self, y: int) -> Strip:
        if self.pixels is None:
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
        self._sixels = ""
        self._forget()
        if self.pixels is not None and columns > 0 and rows > 0:
            if not self.coloured:
                grey = image_ops.grey_of(self.pixels) if self._grey is None else self._grey
                self._strips = strips(grey, columns, rows, coloured=False)
            elif self._can.way == "none":
                self._strips = strips(self.pixels, columns, rows, coloured=True)
            else:
                self._draw_pixels(self.pixels, columns, rows, self._can)
        self.refresh()

    def _draw_pixels(self, shown: Pixels, columns: int, rows: int, can: Graphics) -> None:
        """Give the picture to Kitty; or draw half blocks, and Sixel over them once a thread has encoded it."""
        cell = terminal_capabilities.cell(sys.__stdin__.fileno()) if sys.__stdin__ else terminal_capabilities.CELL
        height, width = shown.shape[:2]
        across, down = sixel_kitty.box(width, height, columns, rows, cell)
        countable = self.app.console.color_system == "truecolor" and max(across, down) <= sixel_kitty.most()
        if can.way == "kitty" and countable:
            # Any other program's pictures have other numbers, most likely.
            self._number = random.randrange(1 << 16, 1 << 24)
            self._write(sixel_kitty.kitty(shown, self._number, across, down))
            self._strips = _middle(sixel_kitty.places(self._number, across, down), columns, rows)
            return
        under = image_ops.sized(shown if self._in_text else image_ops.grey_of(shown), across, 2 * down)
        self._strips = _middle(strips(under, across, down, coloured=self._in_text), columns, rows)
        if can.way == "sixel":
            self._box = Region((columns - across) // 2, (rows - down) // 2, across, down)
            encode = partial(sixel_kitty.sixels, shown, across * cell[0], down * cell[1], can.colours)
            self.run_worker(partial(self._encode, shown, self._box, encode), thread=True, exclusive=True, group="sixel")

    def _encode(self, shown: Pixels, box: Region, encode: partial[str]) -> None:
        sixels = encode()

        def take() -> None:
            if self.pixels is shown and self._box == box:
                self._sixels = sixels
                self._paint()

        self.app.call_from_thread(take)

    def _paint(self) -> None:
        """Draw pixels over the cells, unless something else lies there."""
        place = self._box.translate(self.region.offset)
        if not self._sixels or not self.is_attached or not self.screen.is_active or not self.is_on_screen:
            return
        over = (widget for widget in self.screen.query(_OVER) if widget.display and widget.region.overlaps(place))
        if next(over, None) is None and self.screen.region.contains_region(place):
            self._write(f"\x1b7\x1b[{place.y + 1};{place.x + 1}H{self._sixels}\x1b8")

    def _forget(self) -> None:
        if self._number:
            self._write(sixel_kitty.forget(self._number))
            self._number = 0

    def _write(self, commands: str) -> None:
        terminal: Driver | None = getattr(self.app, "terminal", None)
        if terminal is not None:
            terminal.write(commands)


def strips(pixels: Pixels, columns: int, rows: int, *, coloured: bool) -> list[Strip]:
    """Draw a picture, grey (H, W) or (`coloured`) RGB (H, W, 3), in the middle of `columns` × `rows` cells."""
    if coloured:
        lines = terminal_image.lines(pixels, columns, rows)
    else:
        lines = [[Segment(line)] for line in terminal_image.shades(pixels, columns, rows)]
    return _middle([Strip(line) for line in lines], columns, rows)


def _middle(drawn: list[Strip], columns: int, rows: int) -> list[Strip]:
    left, top = (columns - drawn[0].cell_length) // 2, (rows - len(drawn)) // 2
    middle = [Strip([Segment(" " * left), *line]).adjust_cell_length(columns) for line in drawn]
    empty = Strip.blank(columns)
    return [*[empty] * top, *middle, *[empty] * (rows - top - len(drawn))]
