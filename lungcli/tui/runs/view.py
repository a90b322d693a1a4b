"""The view of runs: the list, its search, and the curves of what is marked in it."""

import functools
from typing import ClassVar

import msgspec
from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.timer import Timer
from textual.widgets import Input, Static

from lungcli.core.errors import LungcliError
from lungcli.core.formatting import plain, plain_lines
from lungcli.tui import settings
from lungcli.tui.runs import filters, run_row, run_sheets, traces
from lungcli.tui.runs.chart_grid import LEAST_LEGEND, LEGEND, LOW_LEGEND, Charts, Legend
from lungcli.tui.runs.first_steps import EMPTY, FirstSteps
from lungcli.tui.runs.history import METRICS, SMOOTHINGS
from lungcli.tui.runs.run_keys import RunKeys
from lungcli.tui.runs.run_list import LIST, FieldSuggester, Item, RunList
from lungcli.tui.runs.run_row import Row
from lungcli.tui.runs.traces import Trace
from lungcli.tui.widgets import braille_plot

TICK = 0.2
"""Seconds between reads of the runs that are drawn; all runs are scanned every fifth time."""

# Seconds of reading: between two keys, and before the first screen. The other runs follow while that is shown.
_BUDGET, _FIRST_BUDGET = 0.025, 0.06
# Seconds without a key after which the curves follow the cursor.
_REST = 0.04
CURVES = Binding.Group("curves")
NO_MATCH = "  No run matches. / changes the search, Esc clears it."


class RunsView(FirstSteps):
    """Runs as they go, whoever started them."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "search", "Search", tooltip=filters.HELP, group=LIST),
        Binding(
            "escape", "clear", "Clear", show=False, tooltip="clear the search, the cursor and the zoom", group=LIST
        ),
        Binding("p", "pin", "Pin", tooltip="make this run the baseline that others are compared with", group=LIST),
        Binding("s", "smooth", "Smooth", tooltip="moving average: off, light, medium, strong", group=CURVES),
        Binding("l", "log", "Log", show=False, tooltip="logarithmic scale of values", group=CURVES),
        Binding(
            "t",
            "teachers",
            "Teachers",
            show=False,
            tooltip="teachers' curves in full, or their final value",
            group=CURVES,
        ),
        Binding("v", "compare", "Compare", tooltip="settings, curves and predictions of two runs", group=LIST),
        Binding("g", "group", "Stages", show=False, tooltip="the stages of each job as lines under it", group=LIST),
        Binding("c", "chart(1)", "Chart", tooltip="the next figure", group=CURVES),
        Binding("C", "chart(-1)", "Previous chart", show=False, group=CURVES),
        Binding("z", "enlarge", "Enlarge", show=False, tooltip="one chart alone, or all that have room", group=CURVES),
        Binding("left", "cursor(-1)", "Cursor left", show=False, tooltip="read all curves at an epoch", group=CURVES),
        Binding("right", "cursor(1)", "Cursor right", show=False, group=CURVES),
        Binding("shift+left,less_than_sign", "pan(-1)", "Pan left", show=False, group=CURVES),
        Binding("shift+right,greater_than_sign", "pan(1)", "Pan right", show=False, group=CURVES),
        Binding("plus,equals_sign", "zoom(0.5)", "Zoom in", show=False, group=CURVES),
        Binding("minus", "zoom(2.0)", "Zoom out", show=False, group=CURVES),
        Binding("0", "whole", "Whole", show=False, tooltip="all epochs", group=CURVES),
        *FirstSteps.BINDINGS,
        *RunKeys.BINDINGS,
    ]

    def __init__(self) -> None:
        super().__init__()
        self.charts = Charts()
        self.settings = settings.load()
        self.marked: tuple[str, ...] = ()
        self.traces: tuple[Trace, ...] = ()
        self._beat = 0
        self._versions: tuple[object, ...] = ()
        self._catching_up: Timer | None = None
        self._resting: Timer | None = None
        self._before_start: set[str] | None = None
        self._model_lines: dict[str, str] = {}
        self._parse_query()

    def compose(self) -> ComposeResult:
        with Vertical(id="runs-left"):
            search = Input(
                placeholder="mobilenet* state:done model: data: bacc>0.7 -state:failed   → completes",
                suggester=FieldSuggester(self.watcher.rows),
                id="runs-search",
                compact=True,
            )
            search.display = False
            yield search
            yield self.listing
            yield Static(id="runs-detail")
        with Vertical(id="runs-right"):
            yield self.charts
            yield Legend(id="runs-legend")

    def on_mount(self) -> None:
        search = self.query_one("#runs-search", Input)
        search.display = bool(self.settings.query)
        search.value = self.settings.query
        if self.settings.chart in METRICS:
            self.charts.choose(self.settings.chart, alone=False)
        self.watcher.scan()
        self.watcher.read(_FIRST_BUDGET)
        self.show_list()
        self.select()
        self.set_interval(TICK, self.tick)
        self.watch(self.app, "theme", self._recolour, init=False)

    def _recolour(self) -> None:
        self.show_list()
        self.draw()

    def on_show(self) -> None:
        self._beat = 0
        self.tick()

    def expect(self) -> None:
        """Go to the next run that appears: it was started here."""
        self._before_start = {row.name for row in self.watcher.rows()}

    def on_resize(self, event: events.Resize) -> None:
        """Leave out details in a low terminal; `View` lays out for a narrow one, with the charts under the list."""
        self.set_class(event.size.height < 30, "-low")

    def tick(self) -> None:
        """Notice, read and draw what is new."""
        self._beat += 1
        if not self.display or not self.is_on_screen:
            return
        scanned, changed = self._beat % 5 == 1, False
        if scanned:
            self.watcher.scan(done_too=self._beat % 25 == 1)
        if scanned or self.watcher.behind:
            current = self.listing.current
            changed = self.watcher.read(_BUDGET, [*self.marked, *([current.name] if current else [])])
        more = self.watcher.read_points(_BUDGET)
        if changed or self._beat % 50 == 0:
            self.show_list()
        self.draw_if_new()
        if (more or self.watcher.behind) and self._catching_up is None:
            self._catching_up = self.set_timer(0.02, self._catch_up)

    def _catch_up(self) -> None:
        self._catching_up = None
        self.tick()

    def refresh_all(self) -> None:
        """Read and show all runs again at once."""
        self.watcher.scan()
        self.watcher.read(0.05)
        self.show_list()
        self.select()

    def items(self) -> list[Item]:
        """The lines of the list: runs that the search lets through, with their stages where these are shown."""
        items: list[Item] = []
        for row in self.watcher.rows():
            if self._matches(row):
                items.append((row, ""))
                items += [(row, stage) for stage in row.glance.best] if self.settings.grouped else []
        return items

    def show_list(self) -> None:
        """Bring the list and the lines about the current run up to date."""
        items = self.items()
        self.listing.empty = NO_MATCH if self.watcher.rows() else EMPTY
        if self.has_class("-bare") == bool(self.watcher.rows()):
            self.set_class(not self.watcher.rows(), "-bare")
            self.refresh_bindings()
        self.listing.marked, self.listing.pinned = frozenset(self.marked), self.settings.pinned
        self.listing.marks = self._marks()
        self.listing.border_title = self._title(len([item for item in items if not item[1]]))
        self.listing.show(items)
        if self._before_start is not None:
            started = next((row.name for row, _ in items if row.name not in self._before_start), None)
            if started is not None:
                self._before_start = None
                self.listing.select(started)
        self._describe(self.listing.current)

    def _title(self, count: int) -> str:
        total = len(self.watcher.rows())
        running = sum(row.state == "running" for row in self.watcher.rows())
        shown = f"{total} {'run' if total == 1 else 'runs'}" if count == total else f"{count} of {total} runs"
        return f"{shown}, {running} running" if running else shown

    def _marks(self) -> dict[str, tuple[str, str]]:
        marks: dict[str, tuple[str, str]] = {}
        for trace in self.traces:
            mark = (trace.mark, braille_plot.colour(trace.style, self.app.theme))
            marks[trace.label] = mark
            if not trace.level:
                marks[trace.run] = mark
        return marks

    def _describe(self, row: Row | None) -> None:
        text = Text(overflow="fold")
        if row is not None:
            text.append(f"{plain(run_row.sentence(row))}\n", "bold yellow" if row.standing == "concern" else "")
            text.append(f"{plain(self._model_lines.get(row.name, ''))}\n" if row.name in self._model_lines else "")
            text.append(plain_lines(run_row.advice(row)))
        self.query_one("#runs-detail", Static).update(text, layout=False)

    def _describe_model(self) -> None:
        """Say what is known of the last model of the run under the cursor, once that rests there."""
        current = self.listing.current
        run = self.watcher.run(current.name) if current else None
        if run is not None:
            run_sheets.describe_model(self, run, functools.partial(self._take_model_line, run.name))

    def _take_model_line(self, name: str, line: str) -> None:
        self._model_lines = {name: line} if line else {}
        self._describe(self.listing.current)

    def shown(self) -> list[str]:
        """Names of the runs that are drawn: the pinned, the marked, the one under the cursor."""
        current = self.listing.current
        chosen = [self.settings.pinned, *self.marked, *([current.name] if current else [])]
        return [name for name in dict.fromkeys(chosen) if name in self.watcher]

    def select(self) -> None:
        """Draw the runs that are chosen now."""
        self.watcher.follow(self.shown())
        self.watcher.read_points(_BUDGET)
        self._versions = ()
        self.draw_if_new()
        self.charts.show_all_if_empty()
        self._describe(self.listing.current)
        self._describe_model()

    def draw_if_new(self) -> None:
        """Draw again if points came."""
        histories = [(name, self.watcher.history(name)) for name in self.shown()]
        versions = tuple((name, history.version if history else 0) for name, history in histories)
        if versions != self._versions:
            self._versions = versions
            drawn = traces.traces(histories, teachers=self.settings.teachers)
            if drawn != self.traces:
                self.traces = drawn
                self.listing.marks = self._marks()
                self.listing.refresh()
            self.draw()

    def draw(self) -> None:
        """Draw all charts that are seen, and the legend."""
        histories = {name: history for name in self.shown() if (history := self.watcher.history(name))}
        self.charts.draw(self.traces, histories, strength=self.settings.smoothing, log=self.settings.log)
        low, narrow = self.has_class("-low"), self.has_class("-narrow")
        most = (LEAST_LEGEND if narrow else LOW_LEGEND) if low else LEGEND
        self.query_one("#runs-legend", Legend).show(self.traces, histories, self.settings.pinned, most)

    def remember(self, **changes: object) -> None:
        """Change settings, and save them."""
        self.settings = msgspec.structs.replace(self.settings, **changes)
        super().remember(**changes)

    def on_run_list_moved(self) -> None:
        """Show the name of another run under the cursor at once, its curves when the cursor rests."""
        self._describe(self.listing.current)
        if self._resting is not None:
            self._resting.stop()
        self._resting = self.set_timer(_REST, self.select)

    def on_run_list_opened(self) -> None:
        current = self.listing.current
        run = self.watcher.run(current.name) if current else None
        if current is None or run is None:
            self.warn(current.problem if current else "there is no run here")
            return
        run_sheets.open_run(self, run, current)

    def action_compare(self) -> None:
        names = self.marked if len(self.marked) == 2 else self.shown()
        chosen = [run for name in names if (run := self.watcher.run(name))]
        if len(chosen) == 2:
            run_sheets.compare(self, *chosen)
        else:
            self.tell("overlay two runs with space, or pin one with p and move to another")

    def on_run_list_marked(self, event: RunList.Marked) -> None:
        others = tuple(name for name in self.marked if name != event.run)
        self.marked = others if event.run in self.marked else (*self.marked, event.run)
        self.select()
        self.show_list()

    def _parse_query(self) -> str:
        """Make the filter of the list from the search; where that is wrong, let all runs through, and return why."""
        try:
            self._matches, problem = filters.parse(self.settings.query), ""
        except LungcliError as error:
            self._matches, problem = filters.parse(""), f"{error.message}; {error.hint}"
        return problem

    def on_input_changed(self, event: Input.Changed) -> None:
        """Search as it is typed; the tooltip says what is wrong with a search."""
        self.settings = msgspec.structs.replace(self.settings, query=event.value)
        problem = self._parse_query()
        self.listing.border_subtitle = Content(problem)
        event.input.set_class(bool(problem), "wrong")
        self.show_list()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        if problem := self._parse_query():
            self.notify(problem, severity="error", markup=False)
            return
        event.input.display = bool(event.value)
        self.remember(query=event.value)
        self.listing.focus()

    def action_search(self) -> None:
        search = self.query_one("#runs-search", Input)
        search.display = True
        search.focus()

    def action_clear(self) -> None:
        search = self.query_one("#runs-search", Input)
        if search.display:
            search.value, search.display = "", False
            self.remember(query="")
            self._parse_query()
            self.listing.focus()
            self.show_list()
            return
        if self.charts.alone:
            self.action_enlarge()
        self.charts.pick(None)
        self.charts.show_window(None)

    def action_pin(self) -> None:
        current = self.listing.current
        if current is not None:
            self.remember(pinned="" if current.name == self.settings.pinned else current.name)
            self.select()
            self.show_list()

    def action_smooth(self) -> None:
        self._redraw_with(smoothing=(self.settings.smoothing + 1) % len(SMOOTHINGS))
        self.notify(f"smoothing {SMOOTHINGS[self.settings.smoothing][0]}", timeout=1.5)

    def action_log(self) -> None:
        self._redraw_with(log=not self.settings.log)

    def action_teachers(self) -> None:
        self._redraw_with(teachers=not self.settings.teachers)

    def action_group(self) -> None:
        self.remember(grouped=not self.settings.grouped)
        self.show_list()

    def action_chart(self, by: int) -> None:
        metric = self.charts.next(by)
        self.charts.choose(metric, alone=self.charts.alone)
        self.remember(chart=metric)

    def action_enlarge(self) -> None:
        self.charts.choose(self.charts.current, alone=not self.charts.alone)

    def action_cursor(self, by: int) -> None:
        self.charts.step(by)

    def action_pan(self, by: int) -> None:
        low, high = self.charts.span()
        self.charts.pan(by * (high - low) / 4)

    def action_zoom(self, factor: float) -> None:
        """Show half or twice as many epochs, around the cursor or the middle."""
        x = self.charts.x
        self.charts.zoom(x if x is not None else sum(self.charts.span()) / 2, factor)

    def action_whole(self) -> None:
        self.charts.show_window(None)

    def _redraw_with(self, **changes: object) -> None:
        self.remember(**changes)
        self._versions = ()
        self.draw_if_new()
