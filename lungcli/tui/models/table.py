"""The comparison table apart from any widget: columns, order, ratios to the pinned row, the rows, a row's card."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
from rich.table import Table
from rich.text import Text

from lungcli.core.errors import LungcliError
from lungcli.core.formatting import plain
from lungcli.evaluation import benchmark, compare
from lungcli.evaluation.compare import Row
from lungcli.metrics.predictions import Evaluation
from lungcli.modelfile import model_file, model_paths
from lungcli.modelfile.model_card import ModelCard
from lungcli.tui.models.pareto import Point
from lungcli.tui.runs.run_list import shortened_middle
from lungcli.views import comparison_table
from lungcli.views.evaluation import SYNTHETIC
from lungcli.views.figures import with_interval
from lungcli.views.units import number

Value = float | str | None

RANDOM_NOTE = "† random split: the same bodies were trained on, so these figures flatter"
TRIALS_NOTE = "chosen by these slices, the best looks better here than it is: lungcli evaluate RUN"

BEST = "*"
# Cells that names may take in a sentence.
_NAME_ROOM = 36


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One model file: its row, or the `problem` for which it cannot be used."""

    name: str
    path: Path
    row: Row | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column: what it shows of a row beside the pinned one, and the value that it sorts by.

    `marked` says that its best value is; `short` is the title where there is little room.
    """

    title: str
    show: Callable[[Row, Row | None], str]
    value: Callable[[Row], Value]
    evaluated: bool = False
    marked: bool = False
    short: str = ""


def times(ours: float, pinned: float, less: str, more: str) -> str:
    """Say by what factor a cost differs from the pinned row's: `3.9× smaller`, `1.3× larger`, `same`."""
    if ours <= 0 or pinned <= 0:
        return "–"
    factor = pinned / ours
    if abs(factor - 1) < 0.005:
        return "same"
    return f"{number(factor, 1)}× {less}" if factor > 1 else f"{number(1 / factor, 1)}× {more}"


def _size_ratio(row: Row, pinned: Row | None) -> str:
    return "–" if pinned is None or row is pinned else times(row.bytes, pinned.bytes, "smaller", "larger")


def _speed_ratio(row: Row, pinned: Row | None) -> str:
    if pinned is None or row is pinned or row.latency is None or pinned.latency is None:
        return "–"
    return times(row.latency.p50, pinned.latency.p50, "faster", "slower")


def _estimate(name: str) -> Callable[[Row], Value]:
    def value(row: Row) -> Value:
        estimate = row.figures.estimates.get(name) if row.figures else None
        return None if estimate is None else estimate.value

    return value


def _sensitivity(row: Row) -> Value:
    return row.figures.sensitivity.value if row.figures and row.figures.sensitivity else None


def _shared(
    title: str,
    value: Callable[[Row], Value],
    *,
    evaluated: bool = False,
    name: str = "",
    marked: bool = False,
    short: str = "",
) -> Column:
    """Make a column that shows what the command line's table shows under the same title."""
    shown = dict(comparison_table.COLUMNS)[title]
    return Column(
        title=name or title,
        show=lambda row, _: shown(row),
        value=value,
        evaluated=evaluated,
        marked=marked,
        short=short,
    )


def _protocol(row: Row) -> str:
    return row.figures.protocol if row.figures else "–"


COLUMNS: tuple[Column, ...] = (
    _shared("model", lambda row: row.name),
    _shared("size", lambda row: row.bytes, marked=True),
    _shared("p50 ms", lambda row: row.latency.p50 if row.latency else None, marked=True),
    _shared("balanced accuracy", _estimate("balanced_accuracy"), evaluated=True, marked=True, short="bal. acc."),
    _shared(comparison_table.SENSITIVITY, _sensitivity, evaluated=True, marked=True, short="sens."),
    _shared("p90 ms", lambda row: row.latency.p90 if row.latency else None),
    _shared("to baseline", lambda row: row.difference.value if row.difference else None, name="to pinned"),
    Column(title="size ratio", show=_size_ratio, value=lambda row: row.bytes),
    Column(title="speed ratio", show=_speed_ratio, value=lambda row: row.latency.p50 if row.latency else None),
    _shared("parameters", lambda row: row.parameters),
    _shared("accuracy", _estimate("accuracy"), evaluated=True),
    _shared("ECE", lambda row: row.figures.ece if row.figures else None, evaluated=True),
    _shared("macro-F1", _estimate("macro_f1"), evaluated=True),
    _shared("kappa", _estimate("kappa"), evaluated=True),
    Column(title="precision", show=lambda row, _: row.precision, value=lambda row: row.precision),
    Column(title="net", show=lambda row, _: row.model, value=lambda row: row.model),
    Column(title="teacher", show=lambda row, _: row.teacher or "–", value=lambda row: row.teacher),
    Column(title="data", show=lambda row, _: row.data, value=lambda row: row.data),
    Column(title="protocol", show=lambda row, _: _protocol(row), value=lambda row: _protocol(row)),
)
TITLES = tuple(column.title for column in COLUMNS)
NAME = TITLES[0]
DEFAULT_TITLES = tuple(title for title in TITLES if title not in {"macro-F1", "kappa"})


def read_all(pinned: str, *, trials: bool = False) -> tuple[Entry, ...]:
    """Read every model file of the runs on this machine, with its paired difference to the `pinned` one.

    Latencies are those measured last, by whatever command.

    `usual` stands in for a pinned one that is not there. An unusable file is an entry with a problem. With `trials`,
    only the final models of search trials, with their predictions on the validation part.
    """
    find = compare.stored_validation if trials else compare.stored_evaluation
    files = {name: path for name, path in model_paths.files().items() if not trials or _is_trial(path)}
    pinned = next((name for name in _preferred(files, pinned) if _readable(files[name])), "")
    anchor, reference = _pinned_model(files.get(pinned), find)
    return tuple(
        _entry(name, path, *((None, None) if name == pinned else (anchor, reference)), find)
        for name, path in files.items()
    )


def usual(entries: Iterable[Entry], pinned: str = "") -> str:
    """Return `pinned` where it can be used, else the first usable model of a run: only those have predictions saved.

    Where no run has one, it is the bundled model, and where that cannot be used either, no name.
    """
    return next(iter(_preferred([entry.name for entry in entries if entry.row is not None], pinned)), "")


def _preferred(names: Iterable[str], pinned: str) -> list[str]:
    return sorted(names, key=lambda name: (name != pinned, name == model_paths.BUNDLED))


def _readable(path: Path) -> bool:
    try:
        model_file.read_card(path)
    except LungcliError:
        return False
    return True


def _is_trial(path: Path) -> bool:
    return path.name == model_paths.MODEL and (path.parent / compare.VALIDATION).is_file()


def _entry(
    name: str,
    path: Path,
    anchor: ModelCard | None,
    reference: Evaluation | None,
    find: compare.FindEvaluation,
) -> Entry:
    try:
        card = model_file.read_card(path)
        reason = compare.reason_not_comparable(card, anchor) if anchor else ""
        if find is compare.stored_validation:
            card = msgspec.structs.replace(card, figures=None)
        row = compare.make_row(path, card, benchmark.kept(path), reference, reason, find)
    except LungcliError as error:
        # The row says its name; a long path would push the reason off the screen.
        return Entry(name=name, path=path, problem=error.message.replace(str(path), "it", 1))
    return Entry(name=name, path=path, row=row)


def _pinned_model(path: Path | None, find: compare.FindEvaluation) -> tuple[ModelCard | None, Evaluation | None]:
    try:
        return (None, None) if path is None else (model_file.read_card(path), find(path))
    except LungcliError:
        return None, None


def in_order(entries: Iterable[Entry], title: str, *, down: bool) -> list[Entry]:
    """Sort entries by a column, upwards or `down`; rows without a value and unusable files stay last."""
    column = column_of(title)
    entries = list(entries)
    usable = [(column.value(item.row), item) for item in entries if item.row is not None]
    valued = [(value, item) for value, item in usable if value is not None]
    ordered = sorted(valued, key=lambda pair: _comparable(pair[0]), reverse=down)
    dashes = [item for value, item in usable if value is None]
    return [*(item for _, item in ordered), *dashes, *(item for item in entries if item.row is None)]


def _comparable(value: float | str) -> tuple[float, str]:
    return (0.0, value.casefold()) if isinstance(value, str) else (value, "")


def column_of(title: str) -> Column:
    """Return the column called `title`; raises KeyError."""
    return {column.title: column for column in COLUMNS}[title]


def cell(column: Column, row: Row, pinned: Row | None, *, interval: bool = True, best: bool = False) -> Text:
    """Show one cell, with its interval if wanted; the best one and figures of a random split are marked."""
    text = plain(column.show(row, pinned))
    figure, bracket, limits = text.partition(" [")
    unfair = column.evaluated and row.figures is not None and row.figures.protocol == "random"
    shown = Text(figure, "yellow" if unfair else "bold" if best else "", no_wrap=True)
    if best:
        shown.append(BEST, "bold")
    if bracket and interval:
        shown.append(bracket + limits, "dim")
    return shown.append(" †", "bold yellow") if unfair else shown


def best(entries: Iterable[Entry], pinned: Row | None) -> set[tuple[str, str]]:
    """The cells (name, title of the column) with the best value among models that were evaluated as the pinned one."""
    if pinned is None:
        return set()
    rows = [entry.row for entry in entries if entry.row is not None]
    fair = [row for row in rows if _rests_on(row) == _rests_on(pinned) and _protocol(row) != "random"]
    titles = [column.title for column in COLUMNS if column.marked]
    return {(fair[index].name, title) for title in titles for index in comparison_table.best(fair, title)}


def shortened(names: Sequence[str], room: int) -> dict[str, str]:
    """Shorten names for the first column: only the stage where all are of one run, else cut out of the middle."""
    of_runs = [name for name in names if name != model_paths.BUNDLED]
    if len({name.rpartition("/")[0] for name in of_runs}) == 1 and len(of_runs) > 1:
        return {name: name.rpartition("/")[2] for name in names}
    return {name: cut(name, room) for name in names}


def cut(name: str, room: int) -> str:
    """A model's name in at most `room` cells: the middle of its run's is left out, its stage never."""
    run, slash, stage = name.rpartition("/")
    return f"{shortened_middle(run, max(4, room - len(stage) - 1))}{slash}{stage}"


def summary(entry: Entry, pinned: Row | None) -> str:
    """Compare a row with the pinned one in a sentence."""
    name = cut(entry.name, _NAME_ROOM)
    if entry.row is None:
        return f"{name} cannot be used: {entry.problem}"
    if pinned is None or entry.name == pinned.name:
        return f"{name} is pinned: ratios and differences are to it"
    parts = [_size_ratio(entry.row, pinned)]
    if (faster := _speed_ratio(entry.row, pinned)) != "–":
        parts.append(faster)
    difference = column_of("to pinned").show(entry.row, pinned)
    if difference == "–":
        reason = entry.row.not_compared or "not evaluated on the same slices"
        if entry.row.data != pinned.data:
            reason = f"evaluated on {entry.row.data}, the pinned one on {pinned.data}"
        return f"{name}: {', '.join(parts)} than {cut(pinned.name, _NAME_ROOM)}; {reason}"
    return f"{name}: {', '.join(parts)}, {difference} balanced accuracy to {cut(pinned.name, _NAME_ROOM)}"


def notes(entries: Iterable[Entry], *, trials: bool = False) -> list[str]:
    """The warnings that stay as long as such rows are on the screen."""
    rows = [entry.row for entry in entries if entry.row is not None]
    warnings = [TRIALS_NOTE] if trials else []
    warnings += [RANDOM_NOTE] if any(_protocol(row) == "random" for row in rows) else []
    warnings += [SYNTHETIC] if any(row.synthetic for row in rows) else []
    under_load = [row.latency for row in rows if row.latency and row.latency.disturbed]
    slowest = max(under_load, key=lambda latency: latency.load, default=None)
    return [*warnings, comparison_table.disturbed(slowest)] if slowest else warnings


def points(
    entries: Iterable[Entry], pinned: Row | None, names: Mapping[str, str], *, speed: bool, on: str
) -> list[Point]:
    """Return the chart's points: size or latency against balanced accuracy, fair where evaluated as the pinned row.

    Models of other data than the pinned one's are left out.
    """
    drawn = []
    for entry in entries:
        row = entry.row
        estimate = row.figures.estimates.get("balanced_accuracy") if row and row.figures else None
        if row is None or estimate is None or estimate.value is None or (pinned and row.data != pinned.data):
            continue
        cost = (row.latency.p50 if row.latency else 0) if speed else row.bytes
        if not cost:
            continue
        random = _protocol(row) == "random"
        drawn.append(
            Point(
                name=names.get(entry.name, entry.name),
                cost=cost,
                score=estimate.value,
                fair=not random and (pinned is None or _rests_on(row) == _rests_on(pinned)),
                random=random,
                low=estimate.low,
                high=estimate.high,
                chosen=entry.name == on,
            )
        )
    return drawn


def _rests_on(row: Row) -> tuple[object, ...]:
    """What two rows must have in common to be compared: their data, and what they were evaluated on."""
    figures = row.figures
    return (row.data, *(figures.basis if figures else ()))


def card_table(card: ModelCard, path: str) -> Table:
    """List everything a model card says."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row(Text("file"), Text(plain(path)))
    for name, value in _flat(msgspec.to_builtins(msgspec.structs.replace(card, figures=None)), ""):
        table.add_row(Text(plain(name)), Text(plain(value)))
    if card.figures is not None:
        for name, estimate in card.figures.estimates.items():
            table.add_row(Text(name.replace("_", " ")), Text(with_interval(estimate)))
    return table


def _flat(value: object, name: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f"{name} · {key}" if name else str(key))
    elif isinstance(value, list | tuple):
        yield name, ", ".join(map(str, value))
    elif value not in (None, ""):
        yield name, str(value)
