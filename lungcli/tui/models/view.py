"""The models on this machine side by side: their cost, their accuracy, and what one loses to another."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import ClassVar

from rich.console import RenderableType
from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.widgets import DataTable, Static

from lungcli.core import package_data, paths
from lungcli.core.errors import LungcliError, UsageError
from lungcli.core.formatting import as_json, plain
from lungcli.datasets import manifest
from lungcli.evaluation import benchmark, compare
from lungcli.evaluation.compare import Comparison, Row
from lungcli.metrics import predictions
from lungcli.metrics.predictions import Evaluation
from lungcli.modelfile import model_file, model_paths
from lungcli.tui import NARROW, settings
from lungcli.tui.models import table
from lungcli.tui.models.flips import Flips
from lungcli.tui.models.pareto import Chart
from lungcli.tui.models.table import Entry
from lungcli.tui.widgets.base_view import Empty, View
from lungcli.tui.widgets.dialogs import Choose, Sheet, Tick
from lungcli.views import comparison_table, institutions
from lungcli.views.evaluation import confusion, figures_table, reliability

PINNED, MARKED = "◆", "✓"
EMPTY = (
    "No models on this machine yet. Make some:\n\n"
    "lungcli data phantom\nlungcli compress --student mobilenetv2 --data phantom\n\n"
    "r reads again"
)
FORMATS = (("md", "Markdown table"), ("csv", "CSV, one number a cell"), ("json", "JSON, everything"))

# Each model is timed so long, all of them taking turns.
SECONDS = 2.0

_MARKS, _BY = "marks", "models by institution"
# Columns from which on titles and intervals have room; cells for names of models, and in a narrow terminal.
_WIDE = 140
_NAME_ROOM, _NARROW_NAME_ROOM = 36, 24


class ModelsView(View):
    """The comparison table, the chart under it, and what can be done with a row."""

    DEFAULT_CSS = """
    ModelsView #models { height: auto; min-height: 5; max-height: 55%; scrollbar-size-horizontal: 0; }
    ModelsView #below { height: 1fr; min-height: 8; }
    ModelsView #warnings { height: auto; padding: 0 1; color: $warning; text-style: bold; }
    ModelsView #beside { width: 2fr; height: 1fr; padding: 0 1; }
    ModelsView.-narrow #models { max-height: 40%; }
    ModelsView.-narrow #beside { display: none; }
    ModelsView.-empty #models, ModelsView.-empty #below { display: none; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "mark", "Mark", id="models.mark", tooltip="Mark or unmark the row"),
        Binding("p", "pin", "Pin", id="models.pin", tooltip="Take ratios and differences to this row"),
        Binding("s", "sort", "Sort", id="models.sort", tooltip="Sort by a column; the same again turns the order"),
        Binding("o", "turn", "Turn", id="models.turn", tooltip="Turn the order of the rows", show=False),
        Binding("b", "intervals", "Intervals", id="models.intervals", tooltip="95 % intervals of figures", show=False),
        Binding("c", "columns", "Columns", id="models.columns", tooltip="Choose the columns", show=False),
        Binding("x", "axis", "Axis", id="models.axis", tooltip="Draw size or latency against accuracy", show=False),
        Binding("l", "measure", "Latency", id="models.measure", tooltip="Measure the marked rows, or all, now"),
        Binding("f", "flips", "Flips", id="models.flips", tooltip="Flips between two marked rows, or to pinned"),
        Binding("m", "matrix", "Matrix", id="models.matrix", tooltip="Confusion matrix and reliability of the row"),
        Binding(
            "h", "institutions", "Institutions", id="models.institutions", tooltip="Each model at each institution"
        ),
        Binding("i", "card", "Card", id="models.card", tooltip="The model card of the row", show=False),
        Binding("e", "export", "Export", id="models.export", tooltip="Write marked rows, or all, to a file"),
        Binding("t", "trials", "Trials", id="models.trials", tooltip="Trials of searches, on validation slices"),
        Binding("r", "again", "Read again", id="models.again", tooltip="Read the models again", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._entries: tuple[Entry, ...] = ()
        self._marked: set[str] = set()
        self._trials = False
        saved = settings.load()
        self._titles = tuple(title for title in saved.columns if title in table.TITLES) or table.DEFAULT_TITLES
        self._pinned, self._speed, self._intervals = saved.baseline, saved.latency, saved.intervals
        self._sorted, self._down = saved.sorted if saved.sorted in table.TITLES else "", saved.down

    def compose(self) -> ComposeResult:
        yield Empty(Text(EMPTY))
        yield DataTable[Text](id="models", classes="panel", cursor_type="row", fixed_columns=2, zebra_stripes=True)
        with Horizontal(id="below"):
            yield Chart()
            yield Static(id="beside", classes="panel")
        yield Static(id="warnings")
        yield Static(classes="status")

    def on_mount(self) -> None:
        self.query_one("#beside").border_title = "beside the pinned"
        self._grid().border_subtitle = f"{table.BEST} best · {PINNED} pinned · b intervals · → more columns"
        self.action_again()

    # What is shown.

    def action_again(self) -> None:
        pinned, trials = self._pinned, self._trials
        self.start(lambda: table.read_all(pinned, trials=trials), self._take, group="read")

    def action_trials(self) -> None:
        """Show the trials of searches, which know no test slices, instead of all models; and back."""
        self._trials = not self._trials
        self._pinned = settings.load().baseline
        self.action_again()

    def _take(self, entries: tuple[Entry, ...]) -> None:
        if self._trials and not entries:
            self.action_trials()
            self.tell("there are no trials: lungcli search makes some")
            return
        self._entries = entries
        names = [entry.name for entry in entries]
        self._marked &= set(names)
        self._pinned = table.usual(entries, self._pinned)
        self._grid().border_title = "trials, evaluated on validation slices" if self._trials else "models"
        self._fill()
        warnings = table.notes(entries, trials=self._trials)
        self.query_one("#warnings", Static).update("\n".join(f"! {line}" for line in warnings))
        self.query_one("#warnings").display = bool(warnings)
        self.show_empty(empty=not entries)

    def on_resize(self, event: events.Resize) -> None:
        super().on_resize(event)
        self._fill()

    def _fill(self) -> None:
        grid, current, pinned, names = self._grid(), self._current(), self._pinned_row(), self._names()
        entries = table.in_order(self._entries, self._sorted, down=self._down) if self._sorted else self._entries
        best = table.best(entries, pinned)
        with self.app.batch_update():
            grid.clear(columns=True)
            grid.add_column(Text(""), width=2, key=_MARKS)
            for title in self._titles:
                # The arrow's place is kept free, so that no column moves when rows are sorted.
                arrow = ("▼" if self._down else "▲") if title == self._sorted else " "
                shown = comparison_table.heading(title, (entry.row for entry in self._entries if entry.row))
                heading = shown if self._spacious else table.column_of(title).short or title
                width = max(map(len, [*names.values(), heading])) + 2 if title == table.NAME else None
                grid.add_column(Text(f"{heading} {arrow}"), key=title, width=width)
            for entry in entries:
                cells = self._cells(entry, names[entry.name], pinned, best)
                grid.add_row(self._marks(entry.name), *cells, key=entry.name)
            if current is not None:
                grid.move_cursor(row=grid.get_row_index(current.name))
        self._show_current()

    @property
    def _spacious(self) -> bool:
        """Whether titles are written out, and figures have their intervals."""
        return self._intervals or self.size.width >= _WIDE

    def _cells(self, entry: Entry, name: str, pinned: Row | None, best: set[tuple[str, str]]) -> list[Text]:
        if entry.row is None:
            rest = len(self._titles) - 2
            return [Text(plain(name), "dim"), Text("cannot be used", "red"), *[Text("")] * rest][: len(self._titles)]
        cells = [
            table.cell(
                table.column_of(title), entry.row, pinned, interval=self._spacious, best=(entry.name, title) in best
            )
            for title in self._titles
        ]
        return [Text(plain(name), "bold", no_wrap=True), *cells[1:]]

    def _show_current(self) -> None:
        current = self._current()
        name = current.name if current else ""
        points = table.points(self._entries, self._pinned_row(), self._names(), speed=self._speed, on=name)
        self.query_one(Chart).show(points, speed=self._speed)
        self.query_one("#beside", Static).update(self._comments(current))
        if not self.busy():
            self.status(self.resting())

    def _comments(self, current: Entry | None) -> Text:
        """What the panel beside the chart says: of the row, and of what all figures rest on."""
        text = Text()
        if current is not None:
            text.append(f"{table.summary(current, self._pinned_row())}\n\n")
        for line in comparison_table.footnotes(self._comparison(self._entries)):
            warns = line.startswith(("random", "synthetic"))
            text.append(f"{'! ' if warns else '· '}{plain(line)}\n", "bold yellow" if warns else "dim")
        return text

    def resting(self) -> Text:
        """Return how the row under the cursor stands to the pinned one."""
        current = self._current()
        return Text(plain(table.summary(current, self._pinned_row())) if current else "")

    def on_data_table_row_highlighted(self) -> None:
        self._show_current()

    def on_data_table_row_selected(self) -> None:
        self.action_card()

    def on_data_table_header_selected(self, event: DataTable.HeaderSelected) -> None:
        self._sort_by(event.column_key.value or "")

    # What can be done.

    def action_mark(self) -> None:
        if (current := self._current()) is not None:
            self._marked ^= {current.name}
            self._grid().update_cell(current.name, _MARKS, self._marks(current.name))

    def action_pin(self) -> None:
        current = self._current()
        if current is None or current.row is None:
            self.tell("only a model that can be used can be pinned")
            return
        self._pinned = current.name
        self.remember(baseline=current.name)
        self._fill()
        self.action_again()

    def action_sort(self) -> None:
        self.ask(Choose("sort by", [(title, title) for title in table.TITLES], self._sorted), self._sort_by)

    def action_turn(self) -> None:
        self._sort_by(self._sorted or table.NAME)

    def _sort_by(self, title: str) -> None:
        if title in table.TITLES:
            self._down = not self._down if title == self._sorted else False
            self._sorted = title
            self.remember(sorted=title, down=self._down)
            self._fill()

    def action_intervals(self) -> None:
        """Show titles in full and intervals, or neither where there is little room."""
        self._intervals = not self._intervals
        self.remember(intervals=self._intervals)
        self._fill()

    def action_columns(self) -> None:
        self.ask(Tick("columns", table.TITLES[1:], self._titles), self._show_columns)

    def _show_columns(self, titles: tuple[str, ...]) -> None:
        self._titles = (table.NAME, *titles)
        self.remember(columns=self._titles)
        self._fill()

    def action_axis(self) -> None:
        self._speed = not self._speed
        self.remember(latency=self._speed)
        self._show_current()

    def action_measure(self) -> None:
        files = [entry.path for entry in self._chosen()]
        if not files:
            self.tell("there is no model to measure")
            return

        def job() -> int:
            advance = self.advance(f"measuring {len(files)} model{'s' * (len(files) > 1)}")
            loaded = [model_file.load(path) for path in files]
            benchmark.keep(files, benchmark.benchmark(loaded, SECONDS, advance=advance))
            return len(files)

        self.start(job, self._show_latencies)
        self.status("loading models …")

    def _show_latencies(self, count: int) -> None:
        self._speed = True
        self.action_again()
        self.tell(f"measured {count} models, beside this dashboard: `lungcli benchmark` is calmer")

    def action_flips(self) -> None:
        """Show which predictions differ: between two marked rows, or between this row and the pinned one."""
        marked = [entry for entry in self._entries if entry.name in self._marked]
        pair = marked if len(marked) == 2 else [item for item in (self._entry(self._pinned), self._current()) if item]
        if len(pair) != 2 or pair[0].name == pair[1].name:
            self.tell("mark two rows with space, or move to another row than the pinned one")
            return
        before, after = pair
        try:
            theirs, ours = self._evaluation(before), self._evaluation(after)
            flips = predictions.flips(ours, theirs)
        except LungcliError as error:
            self.fail(error)
            return
        folder = manifest.existing().get(after.row.data) if after.row else None
        self.app.push_screen(Flips(after.name, before.name, flips, len(ours.labels), folder))

    def action_matrix(self) -> None:
        def parts(current: Entry) -> tuple[RenderableType, ...]:
            evaluation, gap = self._evaluation(current), Text(" ")
            return confusion(evaluation), gap, reliability(evaluation), gap, figures_table(evaluation.figures())

        self._show_sheet(parts)

    def action_institutions(self) -> None:
        files, find, about = [entry.path for entry in self._chosen()], self._stored(), Text(institutions.SCORE, "dim")
        self._show_sheet(lambda _: (institutions.heat_table(compare.by_institution(files, find=find)), about), _BY)

    def action_card(self) -> None:
        self._show_sheet(lambda current: (table.card_table(model_file.read_card(current.path), str(current.path)),))

    def _show_sheet(self, parts: Callable[[Entry], tuple[RenderableType, ...]], title: str = "") -> None:
        if (current := self._current()) is None:
            return
        try:
            self.app.push_screen(Sheet(title or current.name, *parts(current)))
        except LungcliError as error:
            self.fail(error)

    def action_export(self) -> None:
        """Ask for a format, and write the marked rows, or all, into the current folder."""
        if self._chosen():
            self.ask(Choose("export as", FORMATS), self._export)
        else:
            self.tell("there is no model to export")

    def _export(self, suffix: str) -> None:
        comparison = self._comparison(self._chosen())
        write = {"md": comparison_table.markdown, "csv": comparison_table.comma_separated, "json": as_json}[suffix]
        to = _unused(Path.cwd(), suffix)
        try:
            paths.atomic_write(to, write(comparison).encode())
        except LungcliError as error:
            self.fail(error)
            return
        self.tell(f"wrote {len(comparison.rows)} models to {to}")
        under_load = [note for note in table.notes(self._entries) if note.startswith(comparison_table.UNDER_LOAD)]
        self.warn("".join(under_load))

    # Which rows.

    def _grid(self) -> DataTable[Text]:
        return self.query_one("#models", DataTable)

    def _entry(self, name: str) -> Entry | None:
        return next((entry for entry in self._entries if entry.name == name), None)

    def _current(self) -> Entry | None:
        grid = self._grid()
        if not grid.is_valid_coordinate(grid.cursor_coordinate):
            return None
        return self._entry(grid.coordinate_to_cell_key(grid.cursor_coordinate).row_key.value or "")

    def _pinned_row(self) -> Row | None:
        entry = self._entry(self._pinned)
        return entry.row if entry else None

    def _chosen(self) -> list[Entry]:
        """Usable rows that are marked; all usable ones where none is marked."""
        usable = [entry for entry in self._entries if entry.row is not None]
        return [entry for entry in usable if entry.name in self._marked] or usable

    def _comparison(self, entries: Iterable[Entry]) -> Comparison:
        rows = tuple(entry.row for entry in entries if entry.row is not None)
        return Comparison(baseline=self._pinned, machine=benchmark.machine(), rows=rows)

    def _marks(self, name: str) -> Text:
        return Text((PINNED if name == self._pinned else "") + (MARKED if name in self._marked else ""), "bold cyan")

    def _stored(self) -> compare.FindEvaluation:
        return compare.stored_validation if self._trials else compare.stored_evaluation

    def _evaluation(self, entry: Entry) -> Evaluation:
        """Return the evaluation saved beside a model file. Raises LungcliError, saying how to get one."""
        if entry.row is None:
            raise UsageError(f"{entry.name} cannot be used: {entry.problem}")
        if (evaluation := self._stored()(entry.path)) is None:
            resume = f"finish its run: lungcli runs resume '{entry.name.partition('/')[0]}'"
            raise UsageError(
                f"there are no predictions of {model_paths.name_of(entry.path)} to look at",
                "they lie beside the models of runs" if entry.path == package_data.MODEL else resume,
            )
        return evaluation

    def _names(self) -> dict[str, str]:
        room = _NAME_ROOM if self.size.width >= NARROW else _NARROW_NAME_ROOM
        names = table.shortened([entry.name for entry in self._entries], room)
        return {name: plain(short) for name, short in names.items()}


def _unused(folder: Path, suffix: str) -> Path:
    """Return a file that is not there yet: `lungcli-models.csv`, `lungcli-models-2.csv`, …"""
    names = (f"lungcli-models{'' if number == 1 else f'-{number}'}.{suffix}" for number in range(1, 100_000))
    return next(folder / name for name in names if not (folder / name).exists())
