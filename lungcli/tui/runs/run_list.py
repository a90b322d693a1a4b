"""The list of runs: a thousand of them cost no more than those in view."""

import datetime
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.suggester import Suggester

from lungcli.core.formatting import plain
from lungcli.tui.runs import filters, run_row
from lungcli.tui.runs.run_row import Row
from lungcli.views.bars import bar
from lungcli.views.units import duration

LIST = Binding.Group("list of runs")

Item = tuple[Row, str]
"""A line of the list: a run, or (with the name of a stage) one of its stages."""


class FieldSuggester(Suggester):
    """Completes fields and their values as a search over `rows` is typed."""

    def __init__(self, rows: Callable[[], Sequence[Row]]) -> None:
        super().__init__(use_cache=False, case_sensitive=True)
        self._rows = rows

    async def get_suggestion(self, value: str) -> str | None:
        return filters.suggestion(value, self._rows())


class RunList(ScrollView, can_focus=True, inherit_bindings=False):
    """Runs, one a line; the cursor stays on its run whatever comes and goes."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "runlist--head",
        "runlist--cursor",
        "runlist--faint",
        *(f"runlist--{state}" for state in run_row.MARK_OF_STATE),
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "open", "Open", tooltip="everything about this run", group=LIST),
        Binding("space", "mark", "Overlay", tooltip="draw its curves together with those of others", group=LIST),
        Binding("up,k", "move(-1)", "Up", show=False, group=LIST),
        Binding("down,j", "move(1)", "Down", show=False, group=LIST),
        Binding("pageup", "page(-1)", show=False),
        Binding("pagedown", "page(1)", show=False),
        Binding("home", "move(-1000000)", show=False),
        Binding("end", "move(1000000)", show=False),
    ]

    class Moved(Message):
        """The cursor is on another run."""

    class Opened(Message):
        """The run under the cursor is to be shown in full."""

    class Marked(Message):
        """The run under the cursor is to be overlaid, or no longer."""

        def __init__(self, name: str) -> None:
            super().__init__()
            self.run = name

    def __init__(self) -> None:
        super().__init__()
        self.items: tuple[Item, ...] = ()
        self.cursor = 0
        self.marked: frozenset[str] = frozenset()
        self.pinned = ""
        # Mark and colour of the line that stands for a run, or `run/stage`, in the charts.
        self.marks: Mapping[str, tuple[str, str]] = {}
        self.empty = ""
        self._moved = False
        self._styles: dict[str, Style] = {}

    @property
    def current(self) -> Row | None:
        """The run under the cursor."""
        return self.items[self.cursor][0] if self.items else None

    def show(self, items: Sequence[Item]) -> None:
        """Show these lines; the cursor stays on its run, or where that was."""
        before = self._key()
        self.items = tuple(items)
        if not self._moved:
            self.cursor = next((i for i, (row, _) in enumerate(self.items) if row.state == "running"), 0)
        elif before is not None:
            places = {(row.name, stage): i for i, (row, stage) in enumerate(self.items)}
            last = max(0, len(self.items) - 1)
            self.cursor = places.get(before, places.get((before[0], ""), min(self.cursor, last)))
        self.virtual_size = Size(0, len(self.items) + 1)
        self.refresh()
        if before != self._key():
            self.post_message(self.Moved())

    def _key(self) -> tuple[str, str] | None:
        return (self.items[self.cursor][0].name, self.items[self.cursor][1]) if self.items else None

    def action_move(self, by: int) -> None:
        self._go(self.cursor + by)

    def action_page(self, by: int) -> None:
        self._go(self.cursor + by * max(1, self.size.height - 2))

    def action_mark(self) -> None:
        if self.current:
            self.post_message(self.Marked(self.current.name))

    def action_open(self) -> None:
        if self.current:
            self.post_message(self.Opened())

    def select(self, name: str) -> None:
        """Put the cursor on the run called `name`, if it is in the list."""
        if (at := next((i for i, (row, _) in enumerate(self.items) if row.name == name), None)) is not None:
            self._go(at)

    def _go(self, to: int) -> None:
        to = min(max(0, to), max(0, len(self.items) - 1))
        self._moved = True
        if to != self.cursor:
            self.cursor = to
            self.scroll_to_region(Region(0, to + (to > 0), 1, 2), animate=False, force=True)
            self.refresh()
            self.post_message(self.Moved())

    def on_click(self, event: events.Click) -> None:
        """Move to the run that was clicked; a click on its mark overlays it."""
        at = event.get_content_offset(self)
        if at is None or at.y == 0:
            return
        line = at.y + self.scroll_offset.y - 1
        if line < len(self.items):
            self._go(line)
            if at.x < 2:
                self.action_mark()

    def on_resize(self) -> None:
        self.virtual_size = Size(0, len(self.items) + 1)

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._styles = {}

    def _style(self, name: str) -> Style:
        """The style of a part; kept, as asking for it costs more than drawing a line with it."""
        if name not in self._styles:
            self._styles[name] = self.get_component_rich_style(name) if name else self.rich_style
        return self._styles[name]

    def watch_has_focus(self, value: bool) -> None:
        super().watch_has_focus(value)
        self._styles = {}

    def render_line(self, y: int) -> Strip:
        """One line on screen: the heading stays, the runs scroll under it."""
        width = self.scrollable_content_region.width
        base = self._style("")
        if y == 0:
            return self._strip([(heading(width), self._style("runlist--head"))], width, base)
        at = y + self.scroll_offset.y - 1
        if not self.items and self.empty:
            lines = self.empty.splitlines()
            text = lines[y - 2] if 2 <= y < 2 + len(lines) else ""
            return self._strip([(text, self._style("runlist--faint"))], width, base)
        if at >= len(self.items):
            return Strip.blank(width, base)
        row, stage = self.items[at]
        style = base + self._style("runlist--cursor") if at == self.cursor else base
        return self._strip(self._cells(row, stage, width, at == self.cursor), width, style)

    def _cells(self, row: Row, stage: str, width: int, under_cursor: bool) -> list[tuple[str, Style]]:
        mark, colour = self.marks.get(f"{row.name}/{stage}" if stage else row.name, (" ", ""))
        if row.name == self.pinned and not stage:
            mark = "★"
        elif mark == " " and row.name in self.marked:
            mark = "+"
        unstyled = Style.null()
        first = (f"{mark} ", Style(color=colour) if colour and not under_cursor else unstyled)
        if stage:
            return [first, (stage_line(row, stage, width - 2), unstyled)]
        state = unstyled if under_cursor else self._style(f"runlist--{row.standing}")
        line = run_line(row, width - 4, datetime.datetime.now(datetime.UTC))
        return [first, (f"{run_row.MARK_OF_STATE[row.standing]} ", state), (line, unstyled)]

    @staticmethod
    def _strip(cells: list[tuple[str, Style]], width: int, base: Style) -> Strip:
        segments = [Segment(text, base + style) for text, style in cells]
        return Strip(segments).adjust_cell_length(width, base)


# Columns after the name: how each is written, and the width of a line from which on it is shown.
_COLUMNS = {
    "state": ("<8", 90),
    "stage": ("<13.13", 62),
    "progress": ("<8", 76),
    "epochs": (">7", 0),
    "ETA": (">5", 0),
    "val bacc": (">8", 0),
    "age": (">4", 50),
}


def _line(name: str, cells: Mapping[str, str], width: int) -> str:
    columns = [f" {cells[title]:{form}}" for title, (form, least) in _COLUMNS.items() if width >= least]
    room = max(8, width - sum(map(len, columns)))
    return "".join([set_cell_size(shortened_middle(name, room), room), *columns])


def heading(width: int) -> str:
    """The line over the list."""
    titles = {title: title for title in _COLUMNS} | {"progress": ""}
    return "    " + _line("run", titles, width - 4)


def run_line(row: Row, width: int, now: datetime.datetime) -> str:
    """One run in one line of `width` cells."""
    cells = {
        "state": row.state,
        "stage": run_row.where(row),
        "progress": bar(row.share, 8) if row.state == "running" and row.share is not None else "",
        "epochs": run_row.progress(row),
        "ETA": duration(row.eta),
        "val bacc": run_row.figure(row.best.balanced_accuracy if row.best else None),
        "age": run_row.age(row, now),
    }
    return _line(plain(row.name), cells, width)


def stage_line(row: Row, stage: str, width: int) -> str:
    """One stage of a run in one line."""
    best = row.glance.best.get(stage)
    figures = f"{run_row.figure(best.balanced_accuracy)} at epoch {best.epoch} of {best.done}" if best else "–"
    return set_cell_size(f"  └ {stage:<9} {figures}", width)


def shortened_middle(text: str, width: int) -> str:
    """A name with its middle left out where it is too wide: both its ends tell runs apart."""
    if cell_len(text) <= width:
        return text
    keep = (width - 1) // 2
    head = set_cell_size(text, width - 1 - keep).rstrip()
    tail = text[-keep:]
    while cell_len(tail) > keep:
        tail = tail[1:]
    return f"{head}…{tail}"
