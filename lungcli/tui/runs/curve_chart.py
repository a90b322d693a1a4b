"""One chart on screen: the curves of one figure, their values, and the mouse."""

from collections.abc import Sequence

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from lungcli.tui.widgets import braille_plot, palette
from lungcli.tui.widgets.braille_plot import Frame, Line, Rows, Sketch, Span

_PLAIN = -9


class CurveChart(Widget):
    """The curves of one figure. A line of values at the cursor (or at the end) stands above the plot."""

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
        """The mouse dragged the curves: so many epochs further on are wanted, backwards where below 0."""

        def __init__(self, by: float) -> None:
            super().__init__()
            self.by = by

    def __init__(self, metric: str) -> None:
        super().__init__()
        self._held: int | None = None
        self._dragged = False
        self.metric = metric
        self.lines: tuple[Line, ...] = ()
        self.frame = Frame(width=0, height=0)
        self._rows: Rows | None = None
        self._sketch: Sketch | None = None
        self._ink: object = None
        self._looks: dict[int, Style] = {}
        self.border_title = metric

    def show(
        self,
        lines: Sequence[Line],
        *,
        window: tuple[float, float] | None,
        log: bool,
        cursor: float | None,
    ) -> None:
        """Draw these lines from now on; called as well when they have grown."""
        low, high = window or (None, None)
        frame = Frame(width=0, height=0, low=low, high=high, log=log, cursor=cursor)
        ink = (low, high, log, self.app.theme, tuple(map(_ink, lines)))
        if ink != self._ink:
            self._ink, self._sketch, self._rows = ink, None, None
        elif frame == self.frame:
            return
        self.lines, self.frame, self._rows = tuple(lines), frame, None
        self.border_subtitle = "log" if log else ""
        self.refresh()

    def on_resize(self) -> None:
        """Draw for the new size."""
        self._sketch = self._rows = None

    def _plot(self) -> Rows:
        frame = self._sized()
        if self._sketch is None:
            self._sketch = braille_plot.sketch(self.lines, frame)
        return braille_plot.empty(frame) if self._sketch is None else braille_plot.finished(self._sketch, frame.cursor)

    def _sized(self) -> Frame:
        frame = self.frame
        return Frame(
            width=self.size.width,
            height=self.size.height - 1,
            low=frame.low,
            high=frame.high,
            log=frame.log,
            cursor=frame.cursor,
        )

    def notify_style_update(self) -> None:
        """Another theme has other colours."""
        super().notify_style_update()
        self._looks.clear()

    def render_line(self, y: int) -> Strip:
        """The values, then the plot."""
        width = self.size.width
        if y == 0:
            spans: Sequence[Span] = readout(self.lines, self.frame)
        else:
            if self._rows is None:
                self._rows = self._plot()
            spans = self._rows[y - 1] if y - 1 < len(self._rows) else ()
        segments = [Segment(text, self._look(look)) for text, look in spans]
        return Strip(segments).adjust_cell_length(width, self._look(_PLAIN)).crop(0, width)

    def _look(self, look: int) -> Style:
        """The style of a role; kept, as asking for it costs more than drawing a line with it."""
        if look not in self._looks:
            plain = self.rich_style
            if look == braille_plot.AXIS:
                plain += Style(dim=True)
            elif look == braille_plot.CURSOR:
                plain += Style(bold=True)
            elif look >= 0:
                plain += Style(color=palette.colour(look, self.app.theme))
            self._looks[look] = plain
        return self._looks[look]

    def _x_at(self, column: int) -> float:
        low, high = braille_plot.x_range(self.lines, self.frame)
        width = max(2, self.size.width - braille_plot.GUTTER)
        return low + (high - low) * min(1.0, max(0.0, (column - braille_plot.GUTTER) / (width - 1)))

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """Take hold of the curves."""
        self._held, self._dragged = event.screen_x, False
        self.capture_mouse()

    def on_mouse_up(self) -> None:
        """Let go of them."""
        self._held = None
        self.release_mouse()

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Drag them along."""
        if self._held is None or event.screen_x == self._held:
            return
        by = self._x_at(braille_plot.GUTTER + 1) - self._x_at(braille_plot.GUTTER)
        self.post_message(self.Panned((self._held - event.screen_x) * by))
        self._held, self._dragged = event.screen_x, True

    def on_click(self, event: events.Click) -> None:
        """Put the cursor there, unless the click was the end of a drag."""
        if not self._dragged and (at := event.get_content_offset(self)) is not None:
            self.post_message(self.Picked(self._x_at(at.x)))

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Look closer."""
        event.stop()
        self.post_message(self.Zoomed(self._x_at(event.x - 1), 0.8))

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Look from farther away."""
        event.stop()
        self.post_message(self.Zoomed(self._x_at(event.x - 1), 1.25))


def readout(lines: Sequence[Line], frame: Frame) -> list[tuple[str, int]]:
    """The value of every line at the cursor, or its last one."""
    found: list[tuple[str, int]] = []
    for line in lines:
        at = frame.cursor if frame.cursor is not None else line.xs[-1] if line.xs else 0.0
        mark = "╌" if line.level is not None else braille_plot.MARKS[line.look % len(braille_plot.MARKS)]
        found.append((f"{mark} {braille_plot.short(braille_plot.value_at(line, at))}  ", line.look))
    if frame.cursor is not None:
        found.insert(0, (f"@{braille_plot.short(frame.cursor)}  ", braille_plot.CURSOR))
    return found


def _ink(line: Line) -> tuple[object, ...]:
    """What a line's picture depends on. Its points only grow, so that their number and the last tell."""
    ends = (line.xs[0], line.xs[-1], line.ys[-1]) if line.xs else ()
    return line.label, line.look, line.level, len(line.xs), len(line.gaps), ends
