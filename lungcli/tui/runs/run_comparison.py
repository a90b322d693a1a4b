"""Two runs side by side, to read: settings that differ, curves, figures, predictions that changed."""

from collections.abc import Sequence

import msgspec
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from lungcli.core.formatting import plain
from lungcli.core.runs import Run
from lungcli.evaluation import benchmark, compare, evaluate
from lungcli.evaluation.compare import Row as ModelRow
from lungcli.metrics import predictions
from lungcli.metrics.predictions import Evaluation
from lungcli.modelfile import model_file, model_paths
from lungcli.tui.runs import traces
from lungcli.tui.runs.history import ACCURACY, History, value_range
from lungcli.tui.runs.run_report import EVALUATION, heading
from lungcli.tui.widgets import braille_plot
from lungcli.tui.widgets.braille_plot import Frame
from lungcli.views import comparison_table
from lungcli.views.evaluation import FLIP_HEADINGS, flip_cells, flips_headline
from lungcli.views.text_table import grid

_FLIPS_SHOWN = 40
_CURVE_WIDTH, _CURVE_HEIGHT = 100, 14
_FIGURES = ("net", "size", "p50 ms", "balanced accuracy", comparison_table.SENSITIVITY, "to baseline")


def parts(before: Run, after: Run) -> list[RenderableType]:
    """What tells `after` from `before`. Raises LungcliError for a file of theirs that is damaged."""
    return [
        *heading("settings that differ"),
        settings(before, after),
        *heading(ACCURACY),
        *curves((before, after)),
        *heading("models (test part)"),
        models(before, after),
        *heading("predictions that changed (test part)"),
        changed(_evaluation(before), _evaluation(after)),
    ]


def settings(before: Run, after: Run) -> Table:
    """The settings in which two runs differ, the kind of job among them."""
    table = grid([plain(title) for title in ("setting", before.name, after.name)])
    ours, theirs = ({"kind": run.info.kind} | _flat(run.recipe) for run in (after, before))
    for name in sorted(ours.keys() | theirs.keys()):
        if ours.get(name) != theirs.get(name):
            values = (plain(theirs.get(name, "–")), plain(ours.get(name, "–")))
            table.add_row(name.replace("_", " "), *map(Text, values))
    if not table.row_count:
        table.add_row("none: the two have one recipe", "", "")
    return table


def _flat(recipe: msgspec.Struct) -> dict[str, object]:
    values: dict[str, object] = msgspec.to_builtins(recipe)
    augment = values.pop("augment", None)
    of_augment = augment if isinstance(augment, dict) else {}
    return values | {f"augment {name}": value for name, value in of_augment.items()}


def curves(runs: Sequence[Run]) -> list[Text]:
    """The curves of both runs on one scale, with a line that says which is which."""
    histories = {run.name: History(run.events) for run in runs}
    for history in histories.values():
        while history.read():
            pass
    drawn = traces.traces(list(histories.items()))
    lines = traces.lines_of(drawn, histories, ACCURACY, 0)
    if not lines:
        return [Text("no epoch is done yet", "dim")]
    names = [Text(f"{trace.mark} {plain(trace.label)}", braille_plot.colour(trace.style)) for trace in drawn]
    frame = Frame(width=_CURVE_WIDTH, height=_CURVE_HEIGHT, values=value_range(ACCURACY))
    return [braille_plot.as_text(lines, frame), *names]


def models(before: Run, after: Run) -> Table:
    """Cost and figures of the last model of each run, with their paired difference."""
    rows = [_model_row(before, None), _model_row(after, _evaluation(before))]
    names = (row.name if row else run.name for row, run in zip(rows, (before, after), strict=True))
    table = grid(["", *map(plain, names)])
    shown = dict(comparison_table.COLUMNS)
    for title in _FIGURES:
        cells = [shown[title](row) if row else "no model yet" for row in rows]
        table.add_row("difference, paired" if title == "to baseline" else title, *map(Text, cells))
    return table


def _model_row(run: Run, reference: Evaluation | None) -> ModelRow | None:
    path = run.stage(model_paths.stages(run)[-1]) / model_paths.MODEL
    if not path.is_file():
        return None
    return compare.make_row(path, model_file.read_card(path), benchmark.kept(path), reference)


def _evaluation(run: Run) -> Evaluation | None:
    path = run.stage(model_paths.stages(run)[-1]) / EVALUATION
    return evaluate.load(path) if path.is_file() else None


def changed(before: Evaluation | None, after: Evaluation | None) -> RenderableType:
    """The slices that the two classify differently, or why none can be named."""
    if before is None or after is None:
        return Text("one of the two has not been evaluated yet", "dim")
    if not predictions.comparable(after, before):
        return Text("the two were evaluated on different slices", "dim")
    flips = predictions.flips(after, before)
    table = grid(FLIP_HEADINGS, title=flips_headline(flips, len(after.labels)))
    for flip in flips[:_FLIPS_SHOWN]:
        table.add_row(*map(Text, flip_cells(flip)))
    if len(flips) > _FLIPS_SHOWN:
        table.add_row(f"+{len(flips) - _FLIPS_SHOWN} more")
    return table
