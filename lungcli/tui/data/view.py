"""The data sets on this machine: counts, look-alike groups with their pictures, findings, and downloads of others."""

from typing import ClassVar

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
from lungcli.tui.data import audit_text, dataset_info, published_datasets
from lungcli.tui.data.dataset_info import Group, Holding
from lungcli.tui.widgets import image_ops
from lungcli.tui.widgets.base_view import Cancelled, Empty, View
from lungcli.tui.widgets.dialogs import Choose, Confirm, Sheet
from lungcli.tui.widgets.picture import Picture
from lungcli.views.terminal_image import Pixels

EMPTY = (
    "No data sets on this machine yet. Make one:\n\n"
    "lungcli data phantom\nlungcli data import ~/Downloads/iqothnccd.zip\n\n"
    "D downloads one · r reads again"
)

# A tile narrower than this shows nothing of a lung.
_TILE_COLUMNS, _WIDE_TILE_COLUMNS = 14, 22
_FACTS_COLUMNS = 36


class DataView(View):
    """Data sets on the left, the look-alike groups of one and a contact sheet of one group on the right."""

    DEFAULT_CSS = """
    DataView #left { width: 46; }
    DataView #sets { height: auto; max-height: 40%; min-height: 4; }
    DataView #facts { height: 1fr; padding: 0 1; }
    DataView #facts { scrollbar-size-vertical: 1; }
    DataView #facts Static { height: auto; }
    DataView #right { width: 1fr; }
    DataView #groups { height: 35%; min-height: 5; max-height: 16; }
    DataView #sheet { height: 1fr; }
    DataView #caption { height: auto; padding: 0 1; color: $text-muted; }
    DataView.-narrow #left { width: 42; }
    DataView.-empty #parts { display: none; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "n", "neighbours", "Leak", id="data.neighbours", tooltip="How far memory alone gets: 1-nearest-neighbour"
        ),
        Binding("c", "check", "Check", id="data.check", tooltip="Find what would flatter or mislead a classifier"),
        Binding("D", "download", "Download", id="data.download", tooltip="Get a published data set"),
        Binding("g", "groups", "Groups", id="data.groups", tooltip="Go to the look-alike groups"),
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
        """Lay out sets and facts beside groups and sheet."""
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
        """Read the data sets."""
        for name, title, columns in (
            ("sets", "data sets", ("name", "slices", "groups")),
            ("groups", "look-alike groups", ("group", "slices", "classes", "first slice")),
        ):
            table = self.query_one(f"#{name}", DataTable)
            table.border_title = title
            table.add_columns(*(Text(column) for column in columns))
        self.action_again()

    # The data sets.

    def action_again(self) -> None:
        """Read the data sets again."""
        self._audits.clear()
        self.start(dataset_info.read_all, self._take, group="read")

    def _take(self, found: tuple[Holding, ...]) -> None:
        self._holdings = found
        self.hollow(empty=not found)
        table = self.query_one("#sets", DataTable)
        table.clear()
        for item in found:
            counts = [str(item.summary.slices), str(item.summary.groups)] if item.summary else ["unreadable", ""]
            table.add_row(Text(plain(item.name)), *(Text(count) for count in counts))
        self._show()

    def _here(self) -> Holding | None:
        row = self.query_one("#sets", DataTable).cursor_row
        return self._holdings[row] if 0 <= row < len(self._holdings) else None

    def _show(self) -> None:
        """Show the facts and the groups of the data set under the cursor."""
        here = self._here()
        if here is None:
            return
        self._show_facts(here)
        self._groups = dataset_info.groups_of(here.manifest) if here.manifest else []
        table = self.query_one("#groups", DataTable)
        with self.app.batch_update():
            table.clear()
            for group in self._groups:
                mark = Text.assemble(str(group.number), (" mixed" if group.mixed else "", "bold yellow"))
                first = Text(plain(group.slices[0].path.removeprefix("slices/")), no_wrap=True)
                table.add_row(mark, Text(str(len(group.slices))), Text(dataset_info.worst(group.classes)), first)
        self._first = 0
        self._draw()

    def _show_facts(self, here: Holding) -> None:
        digest = here.summary.digest if here.summary else ""
        self.query_one("#facts").border_title = Content(plain(here.name))
        facts = self.query_one("#facts Static", Static)
        checked = self._audits.get(digest)
        said = audit_text.brief(checked) if checked else Text("c finds what would mislead a classifier\n", "cyan")
        facts.update(
            dataset_info.facts(here, self._leaks.get(digest), facts.size.width or _FACTS_COLUMNS).append_text(said)
        )

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        """Follow the cursor of either table."""
        if event.data_table.id == "sets":
            self._show()
        else:
            self._first = 0
            self._draw()

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Enter goes on to the groups."""
        if event.data_table.id == "sets":
            self.action_groups()

    def action_groups(self) -> None:
        """Go to the look-alike groups."""
        self.query_one("#groups").focus()

    # The contact sheet.

    def _group(self) -> Group | None:
        row = self.query_one("#groups", DataTable).cursor_row
        return self._groups[row] if 0 <= row < len(self._groups) else None

    def _most(self) -> int:
        """How many tiles the sheet holds at a size at which they show something."""
        columns, rows = self.query_one("#sheet").size
        tile = min(max(columns // 7, _TILE_COLUMNS), _WIDE_TILE_COLUMNS)
        return max(1, columns // tile) * max(1, 2 * rows // tile)

    def action_page(self, by: int) -> None:
        """Show other slices of the group."""
        group, most = self._group(), self._most()
        if group is not None and 0 <= self._first + by * most < len(group.slices):
            self._first += by * most
            self._draw()

    def _draw(self) -> None:
        """Read the slices of the group under the cursor in a thread, and lay them out."""
        here, group = self._here(), self._group()
        if here is None or here.manifest is None or group is None:
            self.query_one("#sheet", Picture).show(None, "")
            self.query_one("#caption", Static).update("")
            return
        folder, classes, first, most = here.folder, here.manifest.classes, self._first, self._most()
        size = self.query_one("#sheet").size

        def job() -> tuple[Pixels, Text]:
            read, failed = dataset_info.sheet(group, folder, classes, first, most)
            across = image_ops.across_for(len(read), *size)
            words = Text(dataset_info.caption(group, first, len(read), failed) + "   ")
            return image_ops.contact_sheet(read, across, side=96), words.append_text(dataset_info.legend(classes))

        self.start(job, self._take_sheet, group="sheet")

    def _take_sheet(self, drawn: tuple[Pixels, Text]) -> None:
        pixels, words = drawn
        self.query_one("#sheet", Picture).show(pixels)
        self.query_one("#caption", Static).update(words)

    # What takes long; one thing at a time, so that none ends another.

    def _occupied(self) -> bool:
        if self.busy():
            self.tell("other work goes on here; esc ends it")
        return self.busy()

    def action_check(self) -> None:
        """Find in a thread what would flatter or mislead a classifier; show it if it is known."""
        here = self._here()
        if here is None or here.manifest is None:
            self.tell("there is no data set to check")
            return
        whole = here.manifest
        if (known := self._audits.get(whole.digest)) is not None:
            self.app.push_screen(Sheet(f"{whole.name}: findings", *audit_text.sheet(known)))
            return
        if self._occupied():
            return

        def job() -> Audit:
            size = Recipe(data=whole.name, model="").size
            seen = features.dataset_features(whole, here.folder, size, self.advance(f"reading {whole.name}"))
            return audit.audit(whole, seen, advance=self.advance(f"looking for shortcuts in {whole.name}"))

        def done(found: Audit) -> None:
            self._audits[whole.digest] = found
            if (now := self._here()) is not None:
                self._show_facts(now)
                if now.manifest is whole:
                    self.action_check()
            self.status("")

        self.start(job, done)
        self.status(f"reading {whole.name} …")

    def action_download(self) -> None:
        """Ask which published data set to get."""
        if self._occupied():
            return
        rows = {row.name: row for row in published_datasets.missing()}
        if not rows:
            self.tell("every published data set is here")
            return

        def chosen(name: str | None) -> None:
            if name is not None:
                row = rows[name]
                self.app.push_screen(
                    Confirm(published_datasets.question(row), "Download"),
                    lambda yes: self._download(row) if yes else None,
                )

        self.app.push_screen(
            Choose("download", [(name, published_datasets.line(row)) for name, row in rows.items()]), chosen
        )

    def _download(self, row: DataSet) -> None:
        def job() -> Manifest:
            published_datasets.require_network(row)
            tell = self.telling()
            told = ProgressCallbacks(
                moved=lambda done, total: tell(published_datasets.moved(row, done, total), done, total),
                say=self.tell_later,
            )
            try:
                return published.download(row, told, lambda done, total: tell(f"reading {row.name}", done, total))
            except Cancelled:
                self.tell_later(f"what has arrived of {row.name} is kept; D goes on with it")
                raise

        def done(made: Manifest) -> None:
            self.tell(f"{row.name} is here: {len(made.slices):,} slices")
            self.status("")
            self.action_again()

        self.start(job, done)
        self.status(f"asking for {row.name} …")

    def action_neighbours(self) -> None:
        """Measure in a thread how far memory alone gets."""
        here = self._here()
        if here is None or here.manifest is None:
            self.tell("there is no data set to check")
            return
        if self._occupied():
            return
        found = here.manifest

        def job() -> NearestNeighbour:
            thumbs = group_thresholds.read_thumbnails(found, self.advance(f"comparing all slices of {found.name}"))
            groups = [item.group for item in found.slices]
            return knn_baseline.nearest_neighbour_accuracy(thumbs, found.labels(), groups)

        def done(leak: NearestNeighbour) -> None:
            self._leaks[found.digest] = leak
            if (now := self._here()) is not None:
                self._show_facts(now)
            self.status("")

        self.start(job, done)
        self.status(f"reading {found.name} …")
