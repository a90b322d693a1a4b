"""The dashboard as text, for where there is no terminal: a table or curves, once."""

import datetime

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lungcli.core.formatting import plain
from lungcli.tui.runs import run_row, traces
from lungcli.tui.runs.history import METRICS, value_range
from lungcli.tui.runs.run_row import Row
from lungcli.tui.runs.run_watcher import RunWatcher
from lungcli.tui.widgets import braille_plot
from lungcli.views import text_table
from lungcli.views.units import duration

_CURVES = METRICS[:4]
_MIN_WIDTH, _MAX_WIDTH, _HEIGHT = 40, 160, 14
_SECONDS = 60.0
_RUNS_DRAWN = 3


def runs(out: Console) -> None:
    """Print the table of all runs, and the curves of those that run (else of the newest)."""
    watcher = RunWatcher()
    watcher.scan()
    while watcher.behind and watcher.read(_SECONDS):
        pass
    rows = watcher.rows()
    if not rows:
        out.print("no runs yet; start one: lungcli compress --student mobilenetv2")
        return
    out.print(table(rows))
    names = [row.name for row in rows if row.state == "running"][:_RUNS_DRAWN] or [rows[0].name]
    watcher.follow(names)
    while watcher.read_points(_SECONDS):
        pass
    histories = {name: history for name in names if (history := watcher.history(name))}
    drawn = traces.traces(list(histories.items()))
    for metric in _CURVES:
        lines = traces.lines_of(drawn, histories, metric, 0)
        if lines:
            out.print(Text(f"\n{metric}", style="bold"))
            frame = braille_plot.Frame(
                width=max(_MIN_WIDTH, min(_MAX_WIDTH, out.width)), height=_HEIGHT, values=value_range(metric)
            )
            out.print(braille_plot.as_text(lines, frame))
    for trace in drawn:
        out.print(Text(f"{trace.mark} {plain(trace.label)}", style=braille_plot.colour(trace.style)), soft_wrap=True)


def table(rows: tuple[Row, ...]) -> Table:
    """All runs, a line each."""
    grid = text_table.grid(("run", "state", "stage", "epochs", "ETA", "balanced accuracy (validation)", "age"))
    now = datetime.datetime.now(datetime.UTC)
    for row in rows:
        best = run_row.figure(row.best.balanced_accuracy if row.best else None)
        state = f"{row.state}: {row.concern}" if row.concern else row.state
        cells = (row.name, state, run_row.where(row), run_row.progress(row), duration(row.eta), best)
        grid.add_row(*(Text(plain(cell)) for cell in (*cells, run_row.age(row, now))))
    return grid
