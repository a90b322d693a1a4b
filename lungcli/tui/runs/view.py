"""The view of runs: the list, its search, and the curves of what is marked in it."""

from typing import ClassVar

import msgspec
from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical
from textual.timer import Timer
from textual.widgets import Input, Static

from lungcli.core.errors import LungcliError
from lungcli.core.formatting import plain
from lungcli.tui import NARROW, settings
from lungcli.tui.runs import filters, run_actions
from lungcli.tui.runs import run_row as words
from lungcli.tui.runs import traces as looks
from lungcli.tui.runs.chart_grid import Charts, Legend
from lungcli.tui.runs.curve_chart import CurveChart
from lungcli.tui.runs.history import METRICS, SMOOTHINGS
from lungcli.tui.runs.run_keys import Keeping
from lungcli.tui.runs.run_list import Item, RunList
from lungcli.tui.runs.run_row import Row
from lungcli.tui.runs.run_watcher import Watcher
from lungcli.tui.runs.traces import Trace
from lungcli.tui.widgets import braille_plot, palette
from lungcli.tui.widgets.braille_plot import MARKS

TICK = 0.2
"""Seconds between looks at the runs that are drawn; all runs are looked at every fifth time."""

_BUDGET = 0.025
# Seconds in which a screenful of runs is read; the others follow while that can be looked at.
_AT_FIRST = 0.06
_REST = 0.04
EMPTY = """  No runs yet. Press 2 to start one here,
  or type in another terminal:

    lungcli data phantom
    lungcli compress --student mobilenetv2"""
NO_MATCH = "  No run matches. / changes the search, Esc clears it."


class RunsView(Keeping, Container):
    """Runs as they go, whoever started them."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "search", "Search", tooltip=filters.HELP),
        Binding("escape", "clear", "Clear", show=False, tooltip="clear the search, the cursor and the zoom"),
        Binding("p", "pin", "Pin", tooltip="make this run the baseline that others are compared with"),
        Binding("s", "smooth", "Smooth", tooltip="moving average: off, light, medium, strong"),
        Binding("l", "log", "Log", show=False, tooltip="logarithmic scale of values"),
        Binding("t", "teachers", "Teachers", show=False, tooltip="teachers' curves in full, or their final value"),
        Binding("g", "group", "Stages", show=False, tooltip="the stages of each job as lines under it"),
        Binding("c", "chart(1)", "Chart", tooltip="the next figure"),
        Binding("C", "chart(-1)", "Previous chart", show=False),
        Binding("z", "enlarge", "Enlarge", show=False, tooltip="one chart alone, or all that have room"),
        Binding("left", "cursor(-1)", "Cursor left", show=False, tooltip="read all curves at an epoch"),
        Binding("right", "cursor(1)", "Cursor right", show=False),
        Binding("shift+left,less_than_sign", "pan(-1)", "Pan left", show=False),
        Binding("shift+right,greater_than_sign", "pan(1)", "Pan right", show=False),
        Binding("plus,equals_sign", "zoom(0.5)", "Zoom in", show=False),
        Binding("minus", "zoom(2.0)", "Zoom out", show=False),
        Binding("0", "whole", "Whole", show=False, tooltip="all epochs"),
        *Keeping.BINDINGS,
    ]

    def __init__(self) -> None:
        super().__init__()
        self.watcher = Watcher()
        self.settings = settings.load()
        self.marked: tuple[str, ...] = ()
        self.window: tuple[float, float] | None = None
        self.x: float | None = None
        self.traces: tuple[Trace, ...] = ()
        self._beat = 0
        self._versions: tuple[object, ...] = ()
        self._soon: Timer | None = None
        self._resting: Timer | None = None
        self._expected: set[str] | None = None

    def compose(self) -> ComposeResult:
        """The list with its search on one side, the charts on the other."""
        with Vertical(id="runs-left"):
            search = Input(placeholder="search: mobilenet* bacc>0.7 -state:failed", id="runs-search", compact=True)
            search.display = False
            yield search
            yield RunList()
            yield Static(id="runs-detail")
        with Vertical(id="runs-right"):
            yield Charts()
            yield Legend(id="runs-legend")

    def on_mount(self) -> None:
        """Show what there is at once, and go on looking."""
        self.listing, self.charts = self.query_one(RunList), self.query_one(Charts)
        search = self.query_one("#runs-search", Input)
        search.display = bool(self.settings.query)
        search.value = self.settings.query
        if self.settings.chart in METRICS:
            self.charts.choose(self.settings.chart, alone=False)
        self.watcher.look()
        self.watcher.work(_AT_FIRST)
        self.show_list()
        self.select()
        self.set_interval(TICK, self.tick)
        self.watch(self.app, "theme", self._recolour, init=False)

    def _recolour(self) -> None:
        self.show_list()
        self.draw()

    def on_show(self) -> None:
        """Be up to date when the tab is opened again."""
        self._beat = 0
        self.tick()

    def expect(self) -> None:
        """Go to the next run that appears: it was started here."""
        self._expected = {row.name for row in self.watcher.rows()}

    def on_resize(self, event: events.Resize) -> None:
        """Below 100 columns the charts go under the list."""
        self.set_class(event.size.width < NARROW, "narrow")
        self.set_class(event.size.height < 30, "low")

    def tick(self) -> None:
        """Notice, read and draw what is new."""
        self._beat += 1
        if not self.display or not self.is_on_screen:
            return
        if self._beat % 5 == 1:
            self.watcher.look()
        current = self.listing.current
        changed = self.watcher.work(_BUDGET, [*self.marked, *([current.name] if current else [])])
        more = self.watcher.read_points(_BUDGET)
        if changed or self._beat % 50 == 0:
            self.show_list()
        self.draw_if_new()
        if (more or self.watcher.behind) and self._soon is None:
            self._soon = self.set_timer(0.02, self._go_on)

    def _go_on(self) -> None:
        self._soon = None
        self.tick()

    def items(self) -> list[Item]:
        """The lines of the list: runs that the search lets through, with their stages where these are shown."""
        try:
            test = filters.parse(self.settings.query)
        except LungcliError:
            test = filters.parse("")
        found: list[Item] = []
        for row in self.watcher.rows():
            if test(row):
                found.append((row, ""))
                found += [(row, stage) for stage, _ in row.best_of] if self.settings.grouped else []
        return found

    def show_list(self) -> None:
        """Bring the list and the lines about the current run up to date."""
        items = self.items()
        self.listing.empty = NO_MATCH if self.watcher.rows() else EMPTY
        self.listing.marked, self.listing.pinned = frozenset(self.marked), self.settings.pinned
        self.listing.looks = self._looks()
        self.listing.border_title = self._title(len([item for item in items if not item[1]]))
        self.listing.show(items)
        if self._expected is not None:
            came = next((row.name for row, _ in items if row.name not in self._expected), None)
            if came is not None:
                self._expected = None
                self.listing.select(came)
        self._describe(self.listing.current)

    def _title(self, count: int) -> str:
        total = len(self.watcher.rows())
        running = sum(row.state == "running" for row in self.watcher.rows())
        shown = f"{total} {'run' if total == 1 else 'runs'}" if count == total else f"{count} of {total} runs"
        return f"{shown}, {running} running" if running else shown

    def _looks(self) -> dict[str, tuple[str, str]]:
        found: dict[str, tuple[str, str]] = {}
        for trace in self.traces:
            mark = "╌" if trace.level else MARKS[trace.look % len(MARKS)]
            look = (mark, palette.colour(trace.look, self.app.theme))
            found[f"{trace.run}/{trace.stage}"] = look
            if not trace.level:
                found[trace.run] = look
        return found

    def _describe(self, row: Row | None) -> None:
        text = Text(overflow="fold")
        if row is not None:
            text.append(plain(row.name), style="bold")
            text.append(f"\n{plain(words.sentence(row))}")
            text.append(f"\n{plain(run_actions.advice(row.name, row.state, row.problem))}".replace("\\n", "\n"))
        self.query_one("#runs-detail", Static).update(text, layout=False)

    def shown(self) -> list[str]:
        """Names of the runs that are drawn: the pinned, the marked, the one under the cursor."""
        current = self.listing.current
        wanted = [self.settings.pinned, *self.marked, *([current.name] if current else [])]
        known = {row.name for row in self.watcher.rows()}
        return [name for name in dict.fromkeys(wanted) if name in known]

    def select(self) -> None:
        """Draw the runs that are chosen now."""
        self.watcher.follow(self.shown())
        self.watcher.read_points(_BUDGET)
        self._versions = ()
        self.draw_if_new()
        self._describe(self.listing.current)

    def draw_if_new(self) -> None:
        """Draw again if points came."""
        found = [(name, self.watcher.history(name)) for name in self.shown()]
        versions = tuple((name, history.version if history else 0) for name, history in found)
        if versions != self._versions:
            self._versions = versions
            traces = looks.traces(found, teachers=self.settings.teachers)
            if traces != self.traces:
                self.traces = traces
                self.listing.looks = self._looks()
                self.listing.refresh()
            self.draw()

    def draw(self) -> None:
        """Draw all charts that are seen, and the legend."""
        histories = {name: history for name in self.shown() if (history := self.watcher.history(name))}
        for chart in self.charts.charts.values():
            lines = looks.lines_of(self.traces, histories, chart.metric, self.settings.smoothing)
            chart.show(lines, window=self.window, log=self.settings.log, cursor=self.x)
        self.query_one("#runs-legend", Legend).show(self.traces, histories, self.settings.pinned)

    def remember(self, **changes: object) -> None:
        """Change settings, and keep them."""
        self.settings = msgspec.structs.replace(self.settings, **changes)
        if problem := settings.keep(**changes):
            self.app.notify(problem, severity="warning", markup=False)

    def span(self) -> tuple[float, float]:
        """The epochs in view."""
        lines = [line for chart in self.charts.charts.values() for line in chart.lines]
        low, high = self.window or (None, None)
        return braille_plot.x_range(lines, braille_plot.Frame(width=0, height=0, low=low, high=high))

    def on_run_list_moved(self) -> None:
        """Another run is under the cursor: its name is there at once, its curves when the cursor rests."""
        self._describe(self.listing.current)
        if self._resting is not None:
            self._resting.stop()
        self._resting = self.set_timer(_REST, self.select)

    def on_run_list_marked(self, event: RunList.Marked) -> None:
        """Overlay a run, or no longer."""
        gone = event.run in self.marked
        self.marked = tuple(name for name in (*self.marked, event.run) if not (gone and name == event.run))
        self.select()
        self.show_list()

    def on_curve_chart_picked(self, event: CurveChart.Picked) -> None:
        """The mouse set the cursor."""
        self.x = event.x
        self.draw()

    def on_curve_chart_panned(self, event: CurveChart.Panned) -> None:
        """The mouse drags what is in view along."""
        self._pan(event.by)

    def on_curve_chart_zoomed(self, event: CurveChart.Zoomed) -> None:
        """The wheel zooms around where it stands."""
        low, high = self.span()
        self._look_at(event.x - (event.x - low) * event.factor, event.x + (high - event.x) * event.factor)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Search as it is typed; a part that means nothing is said, and the list stays."""
        if event.input.id != "runs-search":
            return
        try:
            filters.parse(event.value)
        except LungcliError as error:
            event.input.tooltip = f"{error.message}; {error.hint}"
        else:
            event.input.tooltip = filters.HELP
        event.input.set_class(event.input.tooltip != filters.HELP, "wrong")
        self.settings = msgspec.structs.replace(self.settings, query=event.value)
        self.show_list()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Keep the search and go back to the list; say what is wrong with one that means nothing."""
        try:
            filters.parse(event.value)
        except LungcliError as error:
            self.app.notify(f"{error.message}; {error.hint}", severity="error", markup=False)
            return
        event.input.display = bool(event.value)
        self.remember(query=event.value)
        self.listing.focus()

    def action_search(self) -> None:
        """Open the search line."""
        search = self.query_one("#runs-search", Input)
        search.display = True
        search.focus()

    def action_clear(self) -> None:
        """Clear the search, else the cursor and the zoom."""
        search = self.query_one("#runs-search", Input)
        if search.display:
            search.value, search.display = "", False
            self.remember(query="")
            self.listing.focus()
            self.show_list()
            return
        self.x = self.window = None
        if self.charts.alone:
            self.action_enlarge()
        self.draw()

    def action_pin(self) -> None:
        """Make the run the baseline, or no longer."""
        current = self.listing.current
        if current is not None:
            self.remember(pinned="" if current.name == self.settings.pinned else current.name)
            self.select()
            self.show_list()

    def action_smooth(self) -> None:
        """The next strength of smoothing."""
        self._settle(smoothing=(self.settings.smoothing + 1) % len(SMOOTHINGS))
        self.app.notify(f"smoothing {SMOOTHINGS[self.settings.smoothing][0]}", timeout=1.5)

    def action_log(self) -> None:
        """Logarithmic or linear."""
        self._settle(log=not self.settings.log)

    def action_teachers(self) -> None:
        """Teachers in full, or as a level."""
        self._settle(teachers=not self.settings.teachers)

    def action_group(self) -> None:
        """Stages under their job, or jobs alone."""
        self.remember(grouped=not self.settings.grouped)
        self.show_list()

    def action_chart(self, by: int) -> None:
        """The next figure."""
        metric = METRICS[(METRICS.index(self.charts.current) + by) % len(METRICS)]
        self.charts.choose(metric, alone=self.charts.alone)
        self.remember(chart=metric)

    def action_enlarge(self) -> None:
        """The current chart alone, or as many as have room."""
        self.charts.choose(self.charts.current, alone=not self.charts.alone)

    def action_cursor(self, by: int) -> None:
        """Move the cursor by one cell."""
        low, high = self.span()
        width = max(2, self.charts.seen[0].size.width - braille_plot.GUTTER - 1) if self.charts.seen else 50
        at = self.x if self.x is not None else high - by * (high - low) / width
        self.x = min(high, max(low, at + by * (high - low) / width))
        self.draw()

    def action_pan(self, by: int) -> None:
        """Move what is in view by a quarter."""
        low, high = self.span()
        self._pan(by * (high - low) / 4)

    def action_zoom(self, factor: float) -> None:
        """Show half or twice as many epochs, around the cursor or the middle."""
        low, high = self.span()
        at = self.x if self.x is not None else (low + high) / 2
        self._look_at(at - (at - low) * factor, at + (high - at) * factor)

    def action_whole(self) -> None:
        """Show all epochs."""
        self.window = None
        self.draw()

    def _pan(self, by: float) -> None:
        """Look so many epochs further on, but never past the curves' middle."""
        low, high = self.span()
        ends = [line.xs[-1] for chart in self.charts.charts.values() for line in chart.lines if line.xs]
        most = max(0.0, max(ends, default=0.0) - (low + high) / 2)
        step = max(-low, min(by, most))
        self._look_at(low + step, high + step)

    def _look_at(self, low: float, high: float) -> None:
        if high - low > 0.02:
            self.window = (max(0.0, low), high)
            self.draw()

    def _settle(self, **changes: object) -> None:
        self.remember(**changes)
        self._versions = ()
        self.draw_if_new()
