"""Curves as text: series in, rows of braille with axes, marks and a cursor out. Pure, and without textual.

A line's style is a number: it stands for a mark and, in each theme, for a colour.
"""

import bisect
import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

from rich.text import Text

from lungcli.tui.widgets import scales
from lungcli.tui.widgets.scales import DOTS, Scale

AXIS, CURSOR = -1, -2
"""Styles of what is no line."""

_MARKS, _LEVEL, ABOVE, BELOW = "●■▲◆○□△◇★✚", "╌", "↑", "↓"
# After Okabe and Ito (2008, Color Universal Design): told apart by the colour-blind too.
_DARK = ("#E69F00", "#56B4E9", "#2FC99A", "#F0E442", "#CC79A7", "#FF7F50", "#9AA7FF", "#DDDDDD")
_LIGHT = ("#A65800", "#0072B2", "#00714F", "#7A6A00", "#9C3F78", "#C23B00", "#3F3FBF", "#333333")
_CONTRAST = ("#FFB000", "#5CC8FF", "#00FFB0", "#FFFF40", "#FF8CD0", "#FF9060", "#B0B8FF", "#FFFFFF")

GUTTER = 8
"""Cells left of the plot, for the labels of its scale."""

# Bits of the eight dots of a braille cell, by row and column.
_BITS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a plot. `xs` rise; `gaps` are the indices before which it breaks; `level`: a value all along."""

    label: str
    style: int
    xs: Sequence[float] = ()
    ys: Sequence[float] = ()
    gaps: Sequence[int] = ()
    level: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What part is drawn, and how. `low` and `high` bound x (None: all there is), `values` y; `cursor` is an x.

    Without `values`, y goes from the lowest to the highest value in view, outliers left out: an arrow stands for them.
    """

    width: int
    height: int
    low: float | None = None
    high: float | None = None
    values: tuple[float, float] | None = None
    log: bool = False
    cursor: float | None = None


Span = tuple[str, int]
"""A text and its style."""

Rows = tuple[tuple[Span, ...], ...]


def mark(style: int, *, level: bool = False) -> str:
    """The mark of a line, set on it here and there so that nothing depends on colour; a `level` is dashed instead."""
    return _LEVEL if level else _MARKS[style % len(_MARKS)]


def colour(style: int, theme: str = "") -> str:
    """The colour of a line in a theme of this name, as `#RRGGBB`."""
    colours = _LIGHT if "light" in theme else _CONTRAST if "contrast" in theme else _DARK
    return colours[style % len(colours)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sketch:
    """A plot that lacks only its cursor: moving that costs a hundredth of drawing the lines again."""

    canvas: "_Canvas"
    x: Scale
    labels: dict[int, str]
    below: str


def plot(lines: Sequence[Line], frame: Frame) -> Rows:
    """Draw `lines` into exactly `frame.height` rows of `frame.width` cells. Too small a frame is left empty."""
    return finish(sketch(lines, frame), frame)


def as_text(lines: Sequence[Line], frame: Frame) -> Text:
    """The plot as coloured text."""
    text = Text()
    for row in plot(lines, frame):
        for span, style in row:
            text.append(span, style=colour(style) if style >= 0 else "")
        text.append("\n")
    text.right_crop(1)
    return text


def finish(drawn: Sketch | None, frame: Frame) -> Rows:
    """The rows of a sketch with the frame's cursor; empty ones where the frame is too small for a sketch."""
    if drawn is None:
        return (((" " * max(0, frame.width), AXIS),),) * max(0, frame.height)
    height, labels = drawn.canvas.height, drawn.labels
    column = None
    if frame.cursor is not None and drawn.x.low <= frame.cursor <= drawn.x.high:
        column = drawn.x.dot(frame.cursor) // 2
    body = []
    for row in range(height):
        gutter = (f"{labels.get(row, ''):>{GUTTER - 1}.{GUTTER - 1}}{'┤' if row in labels else '│'}", AXIS)
        body.append((gutter, *drawn.canvas.row(row, column)))
    return (*body, ((drawn.below, AXIS),))


def sketch(lines: Sequence[Line], frame: Frame) -> Sketch | None:
    """Draw everything but the cursor; None where the frame is too small."""
    width, height = frame.width - GUTTER, frame.height - 1
    if width < 6 or height < 2:
        return None
    low, high = x_range(lines, frame)
    x = scales.across(low, high, 2 * width, max(2, width // 8))
    canvas = _Canvas(width, height)
    y = _y_scale(lines, x, height, frame)
    if y is not None:
        for line in lines:
            _draw(canvas, line, x, y)
    return Sketch(
        canvas=canvas, x=x, labels=_y_labels(y, height), below=scales.labels_below(x, width, GUTTER, "epoch", dots=2)
    )


def x_range(lines: Sequence[Line], frame: Frame) -> tuple[float, float]:
    """The epochs that the plot spans from left to right."""
    ends = [line.xs[-1] for line in lines if line.xs]
    low = frame.low if frame.low is not None else 0.0
    high = frame.high if frame.high is not None else max(ends, default=1.0)
    return (low, high) if high > low else (low, low + 1.0)


def value_at(line: Line, x: float) -> float | None:
    """The value of `line` at `x`: that of its last point up to there; None before it began and after it ended."""
    if line.level is not None:
        return line.level
    if not line.xs or x > line.xs[-1] + 1:
        return None
    index = bisect.bisect_right(line.xs, x + 1e-9) - 1
    return line.ys[index] if index >= 0 else None


def short(value: float | None) -> str:
    """A figure in at most seven characters."""
    if value is None or not math.isfinite(value):
        return "–"
    size = abs(value)
    if size == 0:
        return "0"
    if size < 0.001 or size >= 100_000:
        return f"{value:.1e}".replace("e-0", "e-").replace("e+0", "e+")
    digits = 4 if size < 0.01 else 3 if size < 10 else 1 if size < 1000 else 0
    return f"{value:.{digits}f}"


def _y_scale(lines: Sequence[Line], x: Scale, height: int, frame: Frame) -> Scale | None:
    if frame.values and lines:
        scale = scales.upright(*frame.values, height)
        return dataclasses.replace(scale, ticks=tuple(tick for tick in scale.ticks if tick <= frame.values[1]))
    in_view = []
    for line in lines:
        start, end = bisect.bisect_left(line.xs, x.low), bisect.bisect_right(line.xs, x.high)
        values = line.ys[start:end] if line.level is None else (line.level,)
        in_view.append([value for value in values if value > 0] if frame.log else values)
    bounds = scales.robust_range(in_view)
    return scales.upright(*bounds, height, log=frame.log) if bounds else None


class _Canvas:
    """Cells of braille dots, each with the style of the line drawn there last, and marks over them."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self._dots = bytearray(width * height)
        self._styles = [AXIS] * (width * height)
        self._over: dict[int, Span] = {}

    def stroke(self, column: int, top: int, bottom: int, style: int) -> None:
        """Set the dots of one dot column from row `top` down to row `bottom`."""
        for row in range(top, bottom + 1):
            cell = (row >> 2) * self.width + (column >> 1)
            self._dots[cell] |= _BITS[row & 3][column & 1]
            self._styles[cell] = style

    def mark(self, column: int, row: int, style: int, sign: str = "") -> None:
        """Put the mark of `style`, or a `sign`, on a dot, where no other mark is."""
        cell = (row >> 2) * self.width + (column >> 1)
        self._over.setdefault(cell, (sign or mark(style), style))

    def level(self, row: int, style: int) -> None:
        """Draw a broken line across."""
        start = (row >> 2) * self.width
        for cell in range(start, start + self.width):
            if not self._dots[cell]:
                self._over.setdefault(cell, (_LEVEL, style))

    def row(self, row: int, cursor: int | None) -> list[Span]:
        """One row of cells as spans of the same style; the cursor goes through empty cells and crosses lines."""
        spans: list[Span] = []
        start = row * self.width
        for cell in range(start, start + self.width):
            dots = self._dots[cell]
            over = self._over.get(cell)
            text, style = over or ((chr(0x2800 + dots), self._styles[cell]) if dots else (" ", AXIS))
            if cell - start == cursor:
                text, style = ("│", CURSOR) if text == " " else ("┼", style)
            if spans and spans[-1][1] == style:
                spans[-1] = (spans[-1][0] + text, style)
            else:
                spans.append((text, style))
        return spans


def _draw(canvas: _Canvas, line: Line, x: Scale, y: Scale) -> None:
    last = y.dots - 1

    def row_of(value: float) -> int:
        """The row of dots, from the top; values beyond the scale lie on its edge."""
        return min(last, max(0, last - y.dot(value)))

    if line.level is not None:
        if not y.log or line.level > 0:
            canvas.level(row_of(line.level), line.style)
        return
    before: tuple[int, int] | None = None
    for column, first, lowest, highest, end, broken in columns(line, x, log=y.log):
        if before is not None and not broken:
            _join(canvas, before, (column, row_of(first)), line.style)
            _mark_between(canvas, before, (column, row_of(first)), line.style)
        canvas.stroke(column, row_of(highest), row_of(lowest), line.style)
        if y.dot(highest) > last:
            canvas.mark(column, 0, line.style, ABOVE)
        if y.dot(lowest) < 0:
            canvas.mark(column, last, line.style, BELOW)
        before = (column, row_of(end))
    if before is not None:
        canvas.mark(*before, line.style)


def _mark_between(canvas: _Canvas, start: tuple[int, int], end: tuple[int, int], style: int) -> None:
    """Mark the line where it passes a column of its style; each style has others, so that equal lines both show."""
    apart = max(16, canvas.width // 2)
    place = (style * 6 + 4) % apart
    column = start[0] + (place - start[0]) % apart
    if column < end[0]:
        share = (column - start[0]) / (end[0] - start[0])
        canvas.mark(column, round(start[1] + share * (end[1] - start[1])), style)


def columns(line: Line, x: Scale, *, log: bool) -> "list[tuple[int, float, float, float, float, bool]]":
    """Gather the points of each dot column: (column, first, lowest, highest, last value, whether the line broke)."""
    low, high = x.low, x.high
    scale = (x.dots - 1) / (high - low)
    at, end = bisect.bisect_left(line.xs, low), bisect.bisect_right(line.xs, high)
    gaps = [gap for gap in line.gaps if at < gap < end]
    gathered = []
    while at < end:
        column = round((line.xs[at] - low) * scale)
        until = bisect.bisect_left(line.xs, low + (column + 0.5) / scale, at + 1, end)
        nearest = bisect.bisect_right(gaps, at)
        if nearest < len(gaps):
            until = min(until, gaps[nearest])
        values = line.ys[at:until]
        if log:
            values = [value for value in values if value > 0]
        if values:
            gathered.append((column, values[0], min(values), max(values), values[-1], at in line.gaps))
        at = until
    return gathered


def _join(canvas: _Canvas, start: tuple[int, int], end: tuple[int, int], style: int) -> None:
    """Draw a straight line between two dots, the first of them left out."""
    across, down = end[0] - start[0], end[1] - start[1]
    if across <= 0:
        canvas.stroke(end[0], min(start[1], end[1]), max(start[1], end[1]), style)
        return
    row = start[1]
    for step in range(1, across + 1):
        goal = start[1] + round(down * step / across)
        canvas.stroke(start[0] + step, min(row, goal), max(row, goal), style)
        row = goal


def _y_labels(y: Scale | None, height: int) -> dict[int, str]:
    """The text of each tick, by the row in which the dot of its value lies."""
    return {height - 1 - y.dot(tick) // DOTS: scales.rounded(tick) for tick in reversed(y.ticks)} if y else {}
