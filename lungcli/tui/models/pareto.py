"""Cost against accuracy of models, drawn with the Pareto front: the models that no other beats in both."""

import dataclasses
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.text import Text
from textual.widget import Widget

from lungcli.tui.widgets import scales
from lungcli.tui.widgets.scales import Scale

FRONT, BEATEN, RANDOM, OTHER, INTERVAL = "●", "○", "◇", "·", "┊"

_MEANINGS = {
    FRONT: "on the front",
    BEATEN: "behind it",
    RANDOM: "random split",
    OTHER: "other slices",
    INTERVAL: "95 % interval",
}
_LEFT = 8
_BELOW = 2
# Scores that differ by less are the same.
_LEAST_SPAN = 0.01
_LINE_STYLE = "cyan"
_STYLES = {FRONT: "bold green", BEATEN: "", RANDOM: "yellow", OTHER: "dim"}
# What a name may cover; the right half of a wide letter is an empty cell, and no such place.
_FREE = frozenset({" ", "─", "│", "╯", INTERVAL})

Cell = tuple[str, str]
Canvas = list[list[Cell]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One model: its `cost` (bytes or milliseconds, above 0) and its `score` (0 to 1).

    `low` and `high` are the 95 % interval, drawn for the `chosen` point. Only points that are `fair` — evaluated on the
    same slices, not under a random split — take part in the front.
    """

    name: str
    cost: float
    score: float
    fair: bool = True
    random: bool = False
    low: float | None = None
    high: float | None = None
    chosen: bool = False


def front(points: Sequence[Point]) -> tuple[Point, ...]:
    """Return the fair points that no other fair point beats in cost and score, the cheapest first."""
    best: list[Point] = []
    for point in sorted((item for item in points if item.fair), key=lambda item: (item.cost, -item.score)):
        if not best or point.score > best[-1].score:
            best.append(point)
    return tuple(best)


def legend(points: Sequence[Point]) -> str:
    """Explain the symbols that are drawn."""
    best = front(points)
    drawn = {_symbol(point, best) for point in points}
    drawn |= {INTERVAL for point in points if point.chosen and point.low is not None}
    return "  ".join(f"{symbol} {meaning}" for symbol, meaning in _MEANINGS.items() if symbol in drawn)


def plot(points: Sequence[Point], width: int, height: int, unit: str, divide: float = 1.0) -> Text:
    """Draw points in `width` × `height` cells: cost (log, in `unit` after division by `divide`) against score."""
    inner, rows = width - _LEFT - 1, height - _BELOW
    if not points or inner < 10 or rows < 3:
        return Text("")
    plane = _Plane.around(points, inner, rows)
    canvas: Canvas = [[(" ", "")] * inner for _ in range(rows)]
    best = front(points)
    _draw_front(canvas, plane, best)
    _draw_interval(canvas, plane, points)
    ordered = sorted(points, key=lambda point: (point.chosen, point in best))
    for point in ordered:
        x, y = plane.place(point)
        symbol = _symbol(point, best)
        canvas[y][x] = (symbol, _STYLES[symbol] + (" reverse" if point.chosen else ""))
    for point in reversed(ordered):
        _label(canvas, *plane.place(point), point)
    return _framed(canvas, plane, unit, divide)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plane:
    """Where points lie: `x` is the scale of costs in columns, `y` that of scores in dots."""

    x: Scale
    y: Scale

    @classmethod
    def around(cls, points: Sequence[Point], columns: int, rows: int) -> "_Plane":
        costs, scores = [point.cost for point in points], [point.score for point in points]
        spare = max((max(costs) / min(costs)) ** 0.12, 1.05)
        low, high = min(costs) / spare, max(costs) * spare
        y = scales.upright(min(scores), max(*scores, min(scores) + _LEAST_SPAN), rows)
        return cls(
            x=scales.across(low, high, columns, columns // 12, log=True),
            y=dataclasses.replace(y, ticks=tuple(tick for tick in y.ticks if 0 <= tick <= 1)),
        )

    def row(self, score: float) -> int:
        return (self.y.dots - 1 - self.y.dot(score)) // scales.DOTS

    def place(self, point: Point) -> tuple[int, int]:
        return self.x.dot(point.cost), self.row(point.score)


def _symbol(point: Point, best: Sequence[Point]) -> str:
    if point.random:
        return RANDOM
    if not point.fair:
        return OTHER
    return FRONT if point in best else BEATEN


def _draw_front(canvas: Canvas, plane: _Plane, best: Sequence[Point]) -> None:
    """Draw the staircase: along to the next point's cost, then up to its score, and on to the right edge."""
    places = [plane.place(point) for point in best]
    for (x, y), after in itertools.zip_longest(places, places[1:]):
        end = plane.x.dots if after is None else after[0]
        for column in range(x, end):
            canvas[y][column] = ("─", _LINE_STYLE)
        if after is not None:
            for row in range(after[1], y):
                canvas[row][after[0]] = ("│", _LINE_STYLE)
            canvas[y][after[0]] = ("╯" if after[1] < y else "─", _LINE_STYLE)


def _draw_interval(canvas: Canvas, plane: _Plane, points: Sequence[Point]) -> None:
    """Draw the chosen point's interval as far as it is in the picture: what differs by less may be chance."""
    for point in points:
        if point.chosen and point.low is not None and point.high is not None:
            x, _ = plane.place(point)
            for row in range(max(0, plane.row(point.high)), min(len(canvas) - 1, plane.row(point.low)) + 1):
                canvas[row][x] = (INTERVAL, "magenta")


def _label(canvas: Canvas, x: int, y: int, point: Point) -> None:
    """Write a name where it hides no point and no other name: right, left, above or below; else leave it out."""
    width = cell_len(point.name)
    choices = [(x + 2, y), (x - width - 1, y), (x - width // 2, y - 1), (x - width // 2, y + 1)]
    choices += [(x + 2, y - 1), (x + 2, y + 1), (x - width - 1, y - 1), (x - width - 1, y + 1)]
    for left, row in choices:
        inside = 0 <= row < len(canvas) and left >= 0 and left + width <= len(canvas[0])
        if inside and all(canvas[row][column][0] in _FREE for column in range(left, left + width)):
            column = left
            for letter in point.name:
                canvas[row][column] = (letter, "bold" if point.chosen else "")
                for _ in range(cell_len(letter) - 1):
                    column += 1
                    canvas[row][column] = ("", "")
                column += 1
            return


def _framed(canvas: Canvas, plane: _Plane, unit: str, divide: float) -> Text:
    text = Text(no_wrap=True)
    labels = {plane.row(tick): scales.rounded(tick) for tick in plane.y.ticks}
    for row, cells in enumerate(canvas):
        text.append(f"{labels.get(row, ''):>{_LEFT - 1}} {'┤' if row in labels else '│'}", "dim")
        for style, same in itertools.groupby(cells, lambda cell: cell[1]):
            text.append("".join(letter for letter, _ in same), style)
        text.append("\n")
    text.append(" " * _LEFT + "└" + "─" * plane.x.dots + "\n", "dim")
    return text.append(scales.labels_below(plane.x, plane.x.dots, _LEFT + 1, unit, divide=divide), "dim")


class Chart(Widget):
    """The plot of the models view: size or latency against balanced accuracy."""

    DEFAULT_CSS = """
    Chart { height: 1fr; width: 3fr; padding: 0 1; }
    """

    def __init__(self) -> None:
        super().__init__(classes="panel")
        self._points: list[Point] = []
        self._speed = False

    def show(self, points: list[Point], *, speed: bool) -> None:
        """Draw other points; `speed` says that costs are milliseconds, not bytes."""
        self._points, self._speed = points, speed
        self.border_title = f"balanced accuracy by {'latency (p50)' if speed else 'size'}"
        self.refresh()

    def render(self) -> Text:
        if not self._points:
            return Text("not timed yet: l measures latency" if self._speed else "nothing to draw yet", "dim")
        width, height = self.content_size
        unit, divide = ("ms", 1.0) if self._speed else ("MB", 1e6)
        drawn = plot(self._points, width, height - 1, unit, divide)
        symbols = legend(self._points)
        return drawn.append("\n").append(symbols, "dim") if drawn else Text(symbols, "dim")
