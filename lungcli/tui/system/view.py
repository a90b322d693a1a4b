"""The load of this machine, and the runs that cause it."""

from collections import deque
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.widgets import DataTable, Static

from lungcli.core import cpu
from lungcli.core.formatting import plain
from lungcli.tui.system import system_stats
from lungcli.tui.system.system_stats import SystemMonitor, Usage
from lungcli.tui.widgets.base_view import View

COLUMNS = ("run", "cores", "memory", "threads", "since", "process")
IDLE = "no run is being worked on; start one: lungcli compress --student mobilenetv2"

# Seconds between two measurements.
EVERY = 1.0
_HISTORY = 300
_FRAME = 2


class SystemView(View):
    """Processor, memory and GPU over the jobs that use them."""

    DEFAULT_CSS = """
    SystemView #history { height: 5; padding: 0 1; }
    SystemView #meters { height: 7; max-height: 50%; }
    SystemView #cores { width: 3fr; height: 1fr; padding: 0 1; }
    SystemView #memory { width: 2fr; height: 1fr; padding: 0 1; }
    SystemView.-narrow #cores { width: 2fr; }
    SystemView.-narrow #memory { width: 3fr; }
    SystemView #jobs { height: 1fr; min-height: 4; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "hold", "Hold", id="system.hold", tooltip="Hold the picture still, or go on"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._monitor = SystemMonitor()
        self._cpu: deque[float] = deque(maxlen=_HISTORY)
        self._memory: deque[float] = deque(maxlen=_HISTORY)
        self._paused = False

    def compose(self) -> ComposeResult:
        yield Static(id="history", classes="panel")
        with Horizontal(id="meters"):
            yield Static(id="cores", classes="panel")
            yield Static(id="memory", classes="panel")
        yield DataTable[Text](id="jobs", classes="panel", cursor_type="row")
        yield Static(classes="status")

    def on_mount(self) -> None:
        titles = {"history": "the last minutes", "cores": "processor", "memory": "memory, GPU", "jobs": "runs at work"}
        for name, title in titles.items():
            self.query_one(f"#{name}").border_title = title
        self.query_one("#jobs", DataTable).add_columns(*(Text(title) for title in COLUMNS))
        self.set_interval(EVERY, self.measure)
        self.measure()

    def measure(self) -> None:
        """Measure the machine in a thread, unless held or out of sight."""
        measuring = any(
            worker.node is self and worker.group == "measure" and worker.is_running for worker in self.workers
        )
        if not self._paused and not measuring and self.is_on_screen:
            self.start(self._monitor.measure, self.show, group="measure")

    def show(self, usage: Usage) -> None:
        """Show one measurement."""
        self._cpu.append(usage.cpu)
        self._memory.append(usage.used / usage.total)
        history = self.query_one("#history", Static)
        width = max(10, history.content_size.width - 16)
        text = Text()
        for name, shares, style in (("processor", self._cpu, "green"), ("memory", self._memory, "blue")):
            text.append(f"{name:<10}", "dim").append(system_stats.spark(tuple(shares), width), style)
            text.append(f" {shares[-1]:.0%}\n")
        history.update(text.append(f"{plain(cpu.name())} · load {usage.load:.1f}", "dim"))
        lines = 1
        for name, draw in (("cores", system_stats.cores), ("memory", system_stats.memory)):
            panel = self.query_one(f"#{name}", Static)
            drawn = draw(usage, panel.content_size.width)
            panel.update(drawn)
            lines = max(lines, drawn.plain.rstrip("\n").count("\n") + 1)
        self.query_one("#meters").styles.height = lines + _FRAME
        self._show_jobs(usage)

    def _show_jobs(self, usage: Usage) -> None:
        table = self.query_one("#jobs", DataTable)
        row = table.cursor_row
        table.clear()
        for cells in system_stats.rows(usage.jobs):
            table.add_row(*(Text(cell) for cell in cells))
        table.move_cursor(row=row)
        self.status("" if usage.jobs else IDLE)

    def action_hold(self) -> None:
        self._paused = not self._paused
        self.query_one("#history").border_subtitle = "held: space goes on" if self._paused else ""
