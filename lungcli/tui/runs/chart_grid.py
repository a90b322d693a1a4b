"""The charts beside the list, as many as fit, and their legend."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.containers import Container
from textual.widgets import Static

from lungcli.core.formatting import plain
from lungcli.tui.runs import run_row
from lungcli.tui.runs.curve_chart import CurveChart
from lungcli.tui.runs.event_reader import Best
from lungcli.tui.runs.history import METRICS, History
from lungcli.tui.runs.traces import Trace
from lungcli.tui.widgets import braille_plot

_MIN_WIDTH, _MIN_HEIGHT = 36, 9
_LEGEND_LINES = 7


class Charts(Container):
    """A grid of charts, one a figure; the current one first where not all fit, and alone when enlarged."""

    DEFAULT_CLASSES: ClassVar[str] = "charts"

    def __init__(self) -> None:
        super().__init__()
        self.current, self.alone = METRICS[0], False
        self.charts = {metric: CurveChart(metric) for metric in METRICS}

    def compose(self) -> ComposeResult:
        yield from self.charts.values()

    def on_resize(self, event: events.Resize) -> None:
        self.fit(event.size.width, event.size.height)

    def choose(self, metric: str, *, alone: bool) -> None:
        self.current, self.alone = metric, alone
        self.fit(self.size.width, self.size.height)

    def fit(self, width: int, height: int) -> None:
        """Show as many charts as fit into so much room."""
        visible, columns = arrangement(width, height, self.current, alone=self.alone)
        for metric, chart in self.charts.items():
            chart.display = metric in visible
            chart.set_class(metric == self.current, "current")
        self.styles.grid_size_columns = columns
        self.styles.grid_size_rows = -(-len(visible) // columns)

    @property
    def shown(self) -> list[CurveChart]:
        """The charts that are on screen."""
        return [chart for chart in self.charts.values() if chart.display]


def arrangement(width: int, height: int, current: str, *, alone: bool) -> tuple[tuple[str, ...], int]:
    """Return which figures are shown in so much room, and in how many columns."""
    if alone:
        return (current,), 1
    columns = max(1, min(3, width // _MIN_WIDTH))
    lines = max(1, height // _MIN_HEIGHT)
    count = min(len(METRICS), columns * lines)
    start = METRICS.index(current) if count < len(METRICS) else 0
    chosen = tuple(METRICS[(start + i) % len(METRICS)] for i in range(count))
    return chosen, min(columns, len(chosen))


class Legend(Static):
    """Mark, run and stage of every line, its best epoch, and the difference to the pinned run."""

    _count = -1

    def show(self, traces: Sequence[Trace], histories: Mapping[str, History], pinned: str) -> None:
        """Describe these lines."""
        text = Text(no_wrap=True, overflow="ellipsis")
        baseline = baseline_of(histories.get(pinned))
        for i, trace in enumerate(traces):
            if i == _LEGEND_LINES - 1 and len(traces) > _LEGEND_LINES:
                text.append(f"… and {len(traces) - i} more", style="dim")
                break
            star = "★" if trace.run == pinned else ""
            text.append(f"{trace.mark} ", style=braille_plot.colour(trace.style, self.app.theme))
            text.append(f"{star}{plain(trace.run)}", style="bold" if star else "")
            text.append(f"/{trace.stage}")
            history = histories.get(trace.run)
            best = history.best.get(trace.stage) if history else None
            if best is not None:
                text.append(f"  {figures(best, None if trace.run == pinned else baseline)}", style="dim")
            if i < len(traces) - 1:
                text.append("\n")
        # Only another number of lines moves the widgets around it: laying out costs more than drawing.
        count = min(len(traces), _LEGEND_LINES)
        if count != self._count:
            self._count = count
            self.styles.height = count
        self.update(text, layout=False)


def baseline_of(history: History | None) -> Best | None:
    """The best of a pinned run: of its last stage that was trained."""
    trained = history.best if history else {}
    return next((trained[stage] for stage in ("student", "train", "base", "teacher") if stage in trained), None)


def figures(best: Best, baseline: Best | None) -> str:
    """`0.597 @20`, and `+0.070` over a baseline."""
    text = f"{run_row.figure(best.balanced_accuracy)} @{best.epoch}"
    if baseline is not None:
        text += f" {best.balanced_accuracy - baseline.balanced_accuracy:+.3f}"
    return text
