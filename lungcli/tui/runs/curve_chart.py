"""One chart on screen: the curves of one figure, their values, and the mouse."""

import dataclasses
from collections.abc import Sequence

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from lungcli.tui.runs.history import LOG_METRICS, value_range
from lungcli.tui.widgets import braille_plot, scales
from lungcli.tui.widgets.braille_plot import Frame, Line, Rows, Sketch, Span

_PLAIN = -9
# Cells of the widest value with its mark, and of `+3` after it.
_VALUE_WIDTH = 13


class CurveChart(Widget):
    """The curves of one figure, under a line with their values at the cursor (or at the end)."""

    class Picked(Message):
        """The mouse set the cursor to an epoch."""

        def __init__(self, x: float) -> None:
            super().__init__()
            self.x = x

    class Zoomed(Message):
        """The wheel asked for another part: `factor` below 1 shows less, around epoch `x`."""

        def __init__(self, x: float, factor: float) -> None:
            super().__init__()
            self.x, self.factor = x, factor

    class Panned(Message):
        """The mouse dragged the curves by so many epochs, backwards where below 0."""

        def __init__(self, by: float) -> None:
            super().__init__()
            self.by = by

    def __init__(self, metric: str) -> None:
        super().__init__()
        self._drag_column: int | None = None
        self._dragged = False
        self.metric = metric
        self.lines: tuple[Line, ...] = ()
        self.frame = Frame(width=0, height=0)
        self._rows: Rows | None = None
        self._sketch: Sketch | None = None
        self._drawn: object = None
        self._styles: dict[int, Style] = {}
        self.border_title = metric

    def show(
        self,
        lines: Sequence[Line],
        *,
        window: tuple[float, float] | None,
        log: bool,
        cursor: float | None,
        smoothing: str = "",
    ) -> None:
        """Draw these lines from now on; called as well when they have grown. `smoothing` is named where it is used."""
        low, high = window or (None, None)
        log = log and self.metric in LOG_METRICS
        values = value_range(self.metric)
        frame = Frame(width=0, height=0, low=low, high=high, values=values, log=log, cursor=cursor)
        drawn = (window, log, self.app.theme, tuple(map(_fingerprint, lines)))
        if drawn != self._drawn:
            self._drawn, self._sketch, self._rows = drawn, None, None
        elif frame == self.frame:
            return
        self.lines, self.frame, self._rows = tuple(lines), frame, None
        self.border_subtitle = " · ".join(filter(None, ("log" if log else "", smoothing)))
        self.refresh()

    def on_resize(self) -> None:
        self._sketch = self._rows = None

    def _plot(self) -> Rows:
        frame = dataclasses.replace(self.frame, width=self.size.width, height=self.size.height - 1)
        if self._sketch is None:
            self._sketch = braille_plot.sketch(self.lines, frame)
        return braille_plot.finish(self._sketch, frame)

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._styles.clear()

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        if y == 0:
            spans: Sequence[Span] = readout(self.lines, self.frame, width)
        else:
            if self._rows is None:
                self._rows = self._plot()
            spans = self._rows[y - 1] if y - 1 < len(self._rows) else ()
        segments = [Segment(text, self._rich_style(style)) for text, style in spans]
        return Strip(segments).adjust_cell_length(width, self._rich_style(_PLAIN)).crop(0, width)

    def _rich_style(self, style: int) -> Style:
        """The style of a span; kept, as asking for it costs more than drawing a line with it."""
        if style not in self._styles:
            plain = self.rich_style
            if style == braille_plot.AXIS:
                plain += Style(dim=True)
            elif style == braille_plot.CURSOR:
                plain += Style(bold=True)
            elif style >= 0:
                plain += Style(color=braille_plot.colour(style, self.app.theme))
            self._styles[style] = plain
        return self._styles[style]

    def _x_at(self, column: int) -> float:
        low, high = braille_plot.x_range(self.lines, self.frame)
        width = max(2, self.size.width - braille_plot.GUTTER)
        return low + (high - low) * min(1.0, max(0.0, (column - braille_plot.GUTTER) / (width - 1)))

    def on_mouse_down(self, event: events.MouseDown) -> None:
        self._drag_column, self._dragged = event.screen_x, False
        self.capture_mouse()

    def on_mouse_up(self) -> None:
        self._drag_column = None
        self.release_mouse()

    def on_mouse_move(self, event: events.MouseMove) -> None:
        if self._drag_column is None or event.screen_x == self._drag_column:
            return
        epochs_a_cell = self._x_at(braille_plot.GUTTER + 1) - self._x_at(braille_plot.GUTTER)
        self.post_message(self.Panned((self._drag_column - event.screen_x) * epochs_a_cell))
        self._drag_column, self._dragged = event.screen_x, True

    def on_click(self, event: events.Click) -> None:
        """Put the cursor there, unless the click was the end of a drag."""
        if not self._dragged and (at := event.get_content_offset(self)) is not None:
            self.post_message(self.Picked(self._x_at(at.x)))

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self.post_message(self.Zoomed(self._x_at(event.x - 1), 0.8))

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self.post_message(self.Zoomed(self._x_at(event.x - 1), 1.25))


def readout(lines: Sequence[Line], frame: Frame, width: int) -> list[Span]:
    """The value of every line at the cursor, or its last one, in `width` cells; `+3` stands for those without room."""
    spans: list[Span] = []
    if frame.cursor is not None:
        spans.append((f"epoch {scales.rounded(frame.cursor)}  ", braille_plot.CURSOR))
    for index, line in enumerate(lines):
        if sum(len(text) for text, _ in spans) + _VALUE_WIDTH > width:
            return [*spans, (f"+{len(lines) - index}", braille_plot.AXIS)]
        x = frame.cursor if frame.cursor is not None else line.xs[-1] if line.xs else 0.0
        mark = braille_plot.mark(line.style, level=line.level is not None)
        spans.append((f"{mark} {braille_plot.short(braille_plot.value_at(line, x))}  ", line.style))
    return spans


def _fingerprint(line: Line) -> tuple[object, ...]:
    """What a line's picture depends on. Its points only grow, so that their number and the last tell."""
    ends = (line.xs[0], line.xs[-1], line.ys[-1]) if line.xs else ()
    return line.label, line.style, line.level, len(line.xs), len(line.gaps), ends
