"""The dashboard as text, for where there is no terminal: a table or curves, once."""

import datetime

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lungcli.core.formatting import plain
from lungcli.tui.runs import run_row as words
from lungcli.tui.runs import traces as looks
from lungcli.tui.runs.history import METRICS
from lungcli.tui.runs.run_row import Row
from lungcli.tui.runs.run_watcher import Watcher
from lungcli.tui.widgets import braille_plot, palette
from lungcli.views.units import duration

_CURVES = METRICS[:3]
_LEAST, _MOST, _HEIGHT = 40, 160, 14
_PATIENCE = 60.0
_RUNS_DRAWN = 3


def runs(out: Console) -> None:
    """Print the table of all runs, and the curves of those that run (else of the newest)."""
    watcher = Watcher()
    watcher.look()
    while watcher.behind and watcher.work(_PATIENCE):
        pass
    found = watcher.rows()
    if not found:
        out.print("no runs yet; start one: lungcli compress --student mobilenetv2")
        return
    out.print(table(found))
    drawn = [row.name for row in found if row.state == "running"][:_RUNS_DRAWN] or [found[0].name]
    watcher.follow(drawn)
    while watcher.read_points(_PATIENCE):
        pass
    histories = {name: history for name in drawn if (history := watcher.history(name))}
    traces = looks.traces(list(histories.items()))
    for metric in _CURVES:
        lines = looks.lines_of(traces, histories, metric, 1)
        if lines:
            out.print(Text(f"\n{metric}", style="bold"))
            out.print(picture(lines, max(_LEAST, min(_MOST, out.width))))
    for trace in traces:
        mark = "╌" if trace.level else braille_plot.MARKS[trace.look % len(braille_plot.MARKS)]
        out.print(Text(f"{mark} {plain(trace.label)}", style=palette.colour(trace.look, "")), soft_wrap=True)


def table(found: tuple[Row, ...]) -> Table:
    """All runs, a line each."""
    made = Table(box=None, pad_edge=False)
    for title in ("run", "state", "stage", "epochs", "ETA", "balanced accuracy (validation)", "age"):
        made.add_column(Text(title), overflow="fold")
    now = datetime.datetime.now(datetime.UTC)
    for row in found:
        best = words.figure(row.best.balanced_accuracy if row.best else None)
        cells = (row.name, row.state, words.where(row), words.progress(row), duration(row.eta), best)
        made.add_row(*(Text(plain(cell)) for cell in (*cells, words.age(row, now))))
    return made


def picture(lines: list[braille_plot.Line], width: int) -> Text:
    """One chart as text."""
    text = Text()
    for row in braille_plot.plot(lines, braille_plot.Frame(width=width, height=_HEIGHT)):
        for span, look in row:
            text.append(span, style=palette.colour(look, "") if look >= 0 else "")
        text.append("\n")
    text.right_crop(1)
    return text
