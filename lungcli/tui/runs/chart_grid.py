"""The charts beside the list, as many as fit, and their legend."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from rich.cells import cell_len
from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.containers import Container
from textual.widgets import Static

from lungcli.core.formatting import plain
from lungcli.tui.runs import run_row
from lungcli.tui.runs.curve_chart import CurveChart
from lungcli.tui.runs.event_reader import Best
from lungcli.tui.runs.history import METRICS, SMOOTHINGS, History, weight
from lungcli.tui.runs.run_list import shortened_middle
from lungcli.tui.runs.traces import Trace, lines_of
from lungcli.tui.widgets import braille_plot
from lungcli.tui.widgets.braille_plot import Line
from lungcli.views.units import number

_MIN_WIDTH, _MIN_HEIGHT = 36, 9
_LEAST_EPOCHS = 0.02
_LEAST_NAME = 12
LEGEND, LOW_LEGEND, LEAST_LEGEND = 7, 3, 2
"""Most lines of the legend, also in a low terminal, and in one that is narrow too."""


class Charts(Container):
    """A grid of charts, one a figure; the current one first where not all fit, and alone when enlarged."""

    DEFAULT_CLASSES: ClassVar[str] = "charts"

    def __init__(self) -> None:
        super().__init__()
        self.current, self.alone = METRICS[0], False
        self.metrics: tuple[str, ...] = METRICS
        # The epochs in view (None: all), and the one that the cursor reads.
        self.window: tuple[float, float] | None = None
        self.x: float | None = None
        self._strength, self._log = 0, False
        self.charts = {metric: CurveChart(metric) for metric in METRICS}

    def compose(self) -> ComposeResult:
        yield from self.charts.values()

    def on_resize(self, event: events.Resize) -> None:
        self.fit(event.size.width, event.size.height)

    def choose(self, metric: str, *, alone: bool) -> None:
        self.current, self.alone = metric, alone
        self.fit(self.size.width, self.size.height)

    def offer(self, drawn: Sequence[str]) -> None:
        """Show no chart without lines; where there is no line at all, any."""
        metrics = tuple(metric for metric in METRICS if metric in drawn) or METRICS
        if metrics != self.metrics:
            self.metrics = metrics
            self.fit(self.size.width, self.size.height)

    def next(self, by: int) -> str:
        """The chart that comes `by` places after the current one."""
        at = self.metrics.index(self.current) if self.current in self.metrics else -1
        return self.metrics[(at + by) % len(self.metrics)]

    def fit(self, width: int, height: int) -> None:
        """Show as many charts as fit into so much room."""
        visible, columns = arrangement(width, height, self.current, self.metrics, alone=self.alone)
        for metric, chart in self.charts.items():
            chart.display = metric in visible
            chart.set_class(metric == self.current, "current")
        self.styles.grid_size_columns = columns
        self.styles.grid_size_rows = -(-len(visible) // columns)

    def draw(
        self, traces: Sequence[Trace], histories: Mapping[str, History], *, strength: int = 0, log: bool = False
    ) -> None:
        """Draw these lines, smoothed with a `strength` of `history.SMOOTHINGS`."""
        self._strength, self._log = strength, log
        for chart in self.charts.values():
            self._show(chart, lines_of(traces, histories, chart.metric, strength))
        self.offer([chart.metric for chart in self.charts.values() if chart.lines])

    def _show(self, chart: CurveChart, lines: Sequence[Line]) -> None:
        smoothing = f"smoothed: {SMOOTHINGS[self._strength][0]}" if weight(chart.metric, self._strength) else ""
        chart.show(lines, window=self.window, log=self._log, cursor=self.x, smoothing=smoothing)

    def pick(self, x: float | None) -> None:
        """Put the cursor on an epoch, or take it away."""
        self.x = x
        for chart in self.charts.values():
            self._show(chart, chart.lines)

    def step(self, by: int) -> None:
        """Move the cursor by so many cells; it begins at the right end."""
        low, high = self.span()
        width = max(2, self.shown[0].size.width - braille_plot.GUTTER - 1)
        self.pick(min(high, max(low, high if self.x is None else self.x + by * (high - low) / width)))

    def span(self) -> tuple[float, float]:
        """The epochs in view."""
        lines = [line for chart in self.charts.values() for line in chart.lines]
        low, high = self.window or (None, None)
        return braille_plot.x_range(lines, braille_plot.Frame(width=0, height=0, low=low, high=high))

    def show_window(self, window: tuple[float, float] | None) -> None:
        """Show these epochs, or all; as good as none are not shown."""
        if window is None or window[1] - window[0] > _LEAST_EPOCHS:
            self.window = window and (max(0.0, window[0]), window[1])
            self.pick(self.x)

    def show_all_if_empty(self) -> None:
        """Show all epochs where the lines end before those in view."""
        if self.window and self.window[0] >= self._last_epoch():
            self.show_window(None)

    def _last_epoch(self) -> float:
        return max((line.xs[-1] for chart in self.charts.values() for line in chart.lines if line.xs), default=0.0)

    def pan(self, by: float) -> None:
        """Move what is in view by so many epochs, but never past the curves' middle."""
        low, high = self.span()
        step = max(-low, min(by, max(0.0, self._last_epoch() - (low + high) / 2)))
        self.show_window((low + step, high + step))

    def zoom(self, x: float, factor: float) -> None:
        """Show so many times as many epochs, around `x`."""
        low, high = self.span()
        self.show_window((x - (x - low) * factor, x + (high - x) * factor))

    def on_curve_chart_picked(self, event: CurveChart.Picked) -> None:
        self.pick(event.x)

    def on_curve_chart_panned(self, event: CurveChart.Panned) -> None:
        self.pan(event.by)

    def on_curve_chart_zoomed(self, event: CurveChart.Zoomed) -> None:
        self.zoom(event.x, event.factor)

    @property
    def shown(self) -> list[CurveChart]:
        """The charts that are on screen."""
        return [chart for chart in self.charts.values() if chart.display]


def arrangement(
    width: int, height: int, current: str, metrics: tuple[str, ...], *, alone: bool
) -> tuple[tuple[str, ...], int]:
    """Return which of `metrics` are shown in so much room, the `current` one first, and in how many columns."""
    current = current if current in metrics else metrics[0]
    if alone:
        return (current,), 1
    columns = max(1, min(3, width // _MIN_WIDTH))
    lines = max(1, height // _MIN_HEIGHT)
    count = min(len(metrics), columns * lines)
    start = metrics.index(current) if count < len(metrics) else 0
    chosen = tuple(metrics[(start + i) % len(metrics)] for i in range(count))
    return chosen, min(columns, len(chosen))


class Legend(Static):
    """A line a run: the mark of each of its stages, their best epochs, and the difference to the pinned run."""

    _count = -1
    _shown: tuple[Sequence[Trace], Mapping[str, History], str, int] | None = None

    def on_resize(self) -> None:
        if self._shown:
            self.show(*self._shown)

    def show(self, traces: Sequence[Trace], histories: Mapping[str, History], pinned: str, most: int = LEGEND) -> None:
        """Describe these lines, in at most so many of text."""
        self._shown = (traces, histories, pinned, most)
        text = Text(no_wrap=True, overflow="ellipsis")
        baseline = baseline_of(histories.get(pinned))
        runs = list(dict.fromkeys(trace.run for trace in traces))
        shown = runs if len(runs) <= most else runs[: most - 1]
        width = (self.size.width or self.app.size.width) - 2
        for run in shown:
            of_run = [trace for trace in traces if trace.run == run]
            name = f"★{run}" if run == pinned else run
            text.append_text(self._line(name, of_run, histories.get(run), None if run == pinned else baseline, width))
            text.append("\n")
        if len(shown) < len(runs):
            text.append(f"+{len(runs) - len(shown)} more runs", style="dim")
        text.rstrip()
        # Only another number of lines moves the widgets around it: laying out costs more than drawing.
        count = min(len(runs), most)
        if count != self._count:
            self._count = count
            self.styles.height = count
        self.update(text, layout=False)

    def _line(
        self, run: str, traces: Sequence[Trace], history: History | None, baseline: Best | None, width: int
    ) -> Text:
        """One run: in full where that fits, else without epochs; its name gives way in the middle."""
        for epochs in (True, False):
            stages = Text()
            for trace in traces:
                best = history.best.get(trace.stage) if history else None
                stages.append(f"  {trace.mark} ", braille_plot.colour(trace.style, self.app.theme)).append(trace.stage)
                against = None if trace.level else baseline
                stages.append(f" {figures(best, against, epoch=epochs)}" if best else "", "dim")
            if cell_len(run) + stages.cell_len <= width:
                break
        name = shortened_middle(plain(run), max(_LEAST_NAME, width - stages.cell_len))
        return Text().append(name, "bold").append_text(stages)


def baseline_of(history: History | None) -> Best | None:
    """The best of a pinned run: of its last stage that was trained."""
    trained = history.best if history else {}
    return next((trained[stage] for stage in ("student", "train", "base", "teacher") if stage in trained), None)


def figures(best: Best, baseline: Best | None, *, epoch: bool = True) -> str:
    """`0.597 in epoch 20`, and `+0.070` over a baseline."""
    text = run_row.figure(best.balanced_accuracy) + (f" in epoch {best.epoch}" if epoch else "")
    if baseline is not None:
        text += f" {number(best.balanced_accuracy - baseline.balanced_accuracy, sign='+')}"
    return text
