"""The data sets on this machine: counts, near-duplicate groups with pictures, findings, and downloads of others."""

from collections.abc import Callable
from typing import ClassVar, TypeVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import DataTable, Static

from lungcli.core.formatting import plain
from lungcli.core.recipe import Recipe
from lungcli.core.registry import DataSet
from lungcli.datasets import group_thresholds
from lungcli.datasets.audit import audit, features, knn_baseline
from lungcli.datasets.audit.audit import Audit
from lungcli.datasets.audit.knn_baseline import NearestNeighbour
from lungcli.datasets.download import published
from lungcli.datasets.download.http import ProgressCallbacks
from lungcli.datasets.manifest import Manifest
from lungcli.tui.data import dataset_info, published_datasets
from lungcli.tui.data.dataset_info import Group, Holding
from lungcli.tui.widgets import image_ops
from lungcli.tui.widgets.base_view import Cancelled, Empty, View
from lungcli.tui.widgets.dialogs import Choose, Confirm, Sheet
from lungcli.tui.widgets.picture import Picture
from lungcli.views.audit import counts
from lungcli.views.terminal_image import Pixels

EMPTY = (
    "No data sets on this machine yet. Make one:\n\n"
    "lungcli data phantom\nlungcli data import ~/Downloads/iqothnccd.zip\n\n"
    "D downloads one · r reads again"
)

T = TypeVar("T")

# A tile narrower than this shows nothing of a lung.
_TILE_COLUMNS, _WIDE_TILE_COLUMNS = 14, 22
_FACTS_COLUMNS = 36


class DataView(View):
    """Data sets on the left, the near-duplicate groups of one and a contact sheet of one group on the right."""

    DEFAULT_CSS = """
    DataView #left { width: 46; }
    DataView #sets { height: auto; max-height: 40%; min-height: 4; }
    DataView #facts { height: 1fr; padding: 0 1; scrollbar-size-vertical: 1; }
    DataView #facts Static { height: auto; }
    DataView #right { width: 1fr; }
    DataView #groups { height: 35%; min-height: 5; max-height: 16; }
    DataView #sheet { height: 1fr; }
    DataView #caption { height: auto; padding: 0 1; color: $text-muted; }
    DataView.-narrow #left { width: 42; }
    DataView.-empty #parts { display: none; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "neighbours", "Leak", id="data.neighbours", tooltip="How far memory alone gets (1-NN)"),
        Binding("c", "check", "Check", id="data.check", tooltip="Find what would flatter or mislead a classifier"),
        Binding("D", "download", "Download", id="data.download", tooltip="Get a published data set"),
        Binding("g", "groups", "Groups", id="data.groups", tooltip="Go to the near-duplicate groups"),
        Binding("]", "page(1)", "More", id="data.more", tooltip="The next slices of the group", key_display="]"),
        Binding("[", "page(-1)", "Before", id="data.before", tooltip="The slices before", show=False),
        Binding("r", "again", "Read again", id="data.again", tooltip="Read the data sets again"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._holdings: tuple[Holding, ...] = ()
        self._groups: list[Group] = []
        self._leaks: dict[str, NearestNeighbour] = {}
        self._audits: dict[str, Audit] = {}
        self._first = 0

    def compose(self) -> ComposeResult:
        yield Empty(Text(EMPTY))
        with Horizontal(id="parts"):
            with Vertical(id="left"):
                yield DataTable[Text](id="sets", classes="panel", cursor_type="row")
                with VerticalScroll(id="facts", classes="panel", can_focus=False):
                    yield Static()
            with Vertical(id="right"):
                yield DataTable[Text](id="groups", classes="panel", cursor_type="row", zebra_stripes=True)
                yield Picture(id="sheet")
                yield Static(id="caption")
        yield Static(classes="status")

    def on_mount(self) -> None:
        for name, title, columns in (
            ("sets", "data sets", ("name", "slices", "groups")),
            ("groups", "near-duplicate groups", ("group", "slices", "classes", "first slice")),
        ):
            table = self.query_one(f"#{name}", DataTable)
            table.border_title = title
            table.add_columns(*(Text(column) for column in columns))
        self.action_again()

    # The data sets.

    def action_again(self) -> None:
        self._audits.clear()
        self.start(dataset_info.read_all, self._take, group="read")

    def _take(self, holdings: tuple[Holding, ...]) -> None:
        self._holdings = holdings
        self.show_empty(empty=not holdings)
        table = self.query_one("#sets", DataTable)
        table.clear()
        for item in holdings:
            counts = [str(item.summary.slices), str(item.summary.groups)] if item.summary else ["unreadable", ""]
            table.add_row(Text(plain(item.name)), *(Text(count) for count in counts))
        self._show()

    def _holding(self) -> Holding | None:
        row = self.query_one("#sets", DataTable).cursor_row
        return self._holdings[row] if 0 <= row < len(self._holdings) else None

    def _show(self) -> None:
        holding = self._holding()
        if holding is None:
            return
        self._show_facts()
        self._groups = dataset_info.groups_of(holding.manifest) if holding.manifest else []
        table = self.query_one("#groups", DataTable)
        with self.app.batch_update():
            table.clear()
            for group in self._groups:
                mark = Text.assemble(str(group.number), (" mixed" if group.mixed else "", "bold yellow"))
                first = Text(plain(group.slices[0].path.removeprefix("slices/")), no_wrap=True)
                table.add_row(mark, Text(str(len(group.slices))), Text(dataset_info.class_counts(group.classes)), first)
        self._first = 0
        self._draw()

    def _show_facts(self) -> None:
        if (holding := self._holding()) is None:
            return
        digest = holding.summary.digest if holding.summary else ""
        self.query_one("#facts").border_title = Content(plain(holding.name))
        facts = self.query_one("#facts Static", Static)
        text = dataset_info.facts(holding, self._leaks.get(digest), facts.size.width or _FACTS_COLUMNS)
        if findings := self._audits.get(digest):
            text.append_text(counts(findings)).append("; c shows them\n")
        else:
            text.append("c finds what would mislead a classifier\n", "cyan")
        facts.update(text)

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        if event.data_table.id == "sets":
            self._show()
        else:
            self._first = 0
            self._draw()

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        if event.data_table.id == "sets":
            self.action_groups()

    def action_groups(self) -> None:
        self.query_one("#groups").focus()

    # The contact sheet.

    def _group(self) -> Group | None:
        row = self.query_one("#groups", DataTable).cursor_row
        return self._groups[row] if 0 <= row < len(self._groups) else None

    def _most(self) -> int:
        """How many tiles fit on the sheet, each large enough to show something."""
        columns, rows = self.query_one("#sheet").size
        tile = min(max(columns // 7, _TILE_COLUMNS), _WIDE_TILE_COLUMNS)
        return max(1, columns // tile) * max(1, 2 * rows // tile)

    def action_page(self, by: int) -> None:
        group, most = self._group(), self._most()
        if group is not None and 0 <= self._first + by * most < len(group.slices):
            self._first += by * most
            self._draw()

    def _draw(self) -> None:
        holding, group = self._holding(), self._group()
        if holding is None or holding.manifest is None or group is None:
            self.query_one("#sheet", Picture).show(None)
            self.query_one("#caption", Static).update("")
            return
        folder, classes, first, most = holding.folder, holding.manifest.classes, self._first, self._most()
        size = self.query_one("#sheet").size

        def job() -> tuple[Pixels, Text]:
            tiles, failed = dataset_info.sheet(group, folder, classes, first, most)
            across = image_ops.across_for(len(tiles), *size)
            caption = Text(dataset_info.caption(group, first, len(tiles), failed) + "\n")
            return image_ops.contact_sheet(tiles, across), caption.append_text(dataset_info.legend(classes))

        self.start(job, self._take_sheet, group="sheet")

    def _take_sheet(self, drawn: tuple[Pixels, Text]) -> None:
        pixels, caption = drawn
        self.query_one("#sheet", Picture).show(pixels)
        self.query_one("#caption", Static).update(caption)

    # What takes long; one thing at a time, so that none cancels another.

    def _occupied(self) -> bool:
        if self.busy():
            self.tell("other work goes on here; esc ends it")
        return self.busy()

    def _analyse(self, holding: Holding | None, results: dict[str, T], job: Callable[[Holding, Manifest], T]) -> None:
        if holding is None or holding.manifest is None:
            self.tell("there is no data set to check")
            return
        if self._occupied():
            return
        data = holding.manifest

        def done(result: T) -> None:
            results[data.digest] = result
            self._show_facts()
            self.status("")
            if isinstance(result, Audit) and self._holding() is holding:
                self.action_check()

        self.start(lambda: job(holding, data), done)
        self.status(f"reading {data.name} …")

    def action_check(self) -> None:
        """Find in a thread what would flatter or mislead a classifier; show it if it is known."""
        holding = self._holding()
        if holding and holding.manifest and (findings := self._audits.get(holding.manifest.digest)) is not None:
            self.app.push_screen(Sheet(f"{holding.name}: findings", *dataset_info.findings_sheet(findings)))
            return

        def job(holding: Holding, data: Manifest) -> Audit:
            size = Recipe(data=data.name, model="").size
            measured = features.dataset_features(data, holding.folder, size, self.advance(f"reading {data.name}"))
            return audit.audit(data, measured, advance=self.advance(f"looking for shortcuts in {data.name}"))

        self._analyse(holding, self._audits, job)

    def action_neighbours(self) -> None:
        def job(_: Holding, data: Manifest) -> NearestNeighbour:
            thumbs = group_thresholds.read_thumbnails(data, self.advance(f"comparing all slices of {data.name}"))
            groups = [item.group for item in data.slices]
            return knn_baseline.nearest_neighbour_accuracy(thumbs, data.labels(), groups)

        self._analyse(self._holding(), self._leaks, job)

    def action_download(self) -> None:
        if self._occupied():
            return
        rows = {row.name: row for row in published_datasets.missing()}
        if not rows:
            self.tell("every published data set is here")
            return

        def confirm(name: str) -> None:
            question = Confirm(published_datasets.question(rows[name]), "Download")
            self.ask(question, lambda _: self._download(rows[name]))

        self.ask(Choose("download", [(name, published_datasets.line(row)) for name, row in rows.items()]), confirm)

    def _download(self, row: DataSet) -> None:
        def job() -> Manifest:
            published_datasets.require_network(row)
            report = self.progress_callback()
            callbacks = ProgressCallbacks(
                moved=lambda done, total: report(published_datasets.progress(row, done, total), done, total),
                say=self.tell_later,
            )
            try:
                return published.download(
                    row, callbacks, lambda done, total: report(f"reading {row.name}", done, total)
                )
            except Cancelled:
                self.tell_later(f"what has arrived of {row.name} is kept; D goes on with it")
                raise

        def done(data: Manifest) -> None:
            self.tell(f"{row.name} is here: {len(data.slices):,} slices")
            self.status("")
            self.action_again()

        self.start(job, done)
        self.status(f"asking for {row.name} …")
