"""The chart of the models view."""

from rich.text import Text
from textual.widget import Widget

from lungcli.tui.models import pareto
from lungcli.tui.models.pareto import Point


class Chart(Widget):
    """Size or latency against balanced accuracy."""

    DEFAULT_CSS = """
    Chart { height: 1fr; width: 3fr; padding: 0 1; }
    """

    def __init__(self) -> None:
        super().__init__(classes="panel")
        self._points: list[Point] = []
        self._unit, self._divide = "MB", 1e6

    def show(self, points: list[Point], *, speed: bool) -> None:
        """Draw other points; `speed` says that costs are milliseconds, not bytes."""
        self._points = points
        self._unit, self._divide = ("ms", 1.0) if speed else ("MB", 1e6)
        self.border_title = f"balanced accuracy by {'latency (p50)' if speed else 'size'}"
        self.refresh()

    def render(self) -> Text:
        """Return the plot at the size of the widget."""
        width, height = self.content_size
        if not self._points:
            return Text("nothing to draw yet" if self._unit == "MB" else "not timed yet: l measures latency", "dim")
        drawn = pareto.plot(self._points, width, height - 1, self._unit, self._divide)
        legend = pareto.legend(self._points)
        return drawn.append("\n").append(legend, "dim") if drawn else Text(legend, "dim")
