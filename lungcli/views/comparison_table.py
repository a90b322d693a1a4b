"""A comparison of models as Markdown and CSV; the columns of every comparison table."""

from collections.abc import Callable, Iterable, Sequence

from lungcli.core.formatting import csv_row, plain
from lungcli.evaluation.benchmark import Measurement
from lungcli.evaluation.compare import Comparison, Row
from lungcli.metrics.intervals import Estimate
from lungcli.metrics.predictions import MALIGNANT
from lungcli.metrics.significance import Significance
from lungcli.views.evaluation import RANDOM_SPLIT, SYNTHETIC, rests_on
from lungcli.views.figures import difference, p_value, with_interval
from lungcli.views.units import number, size

Column = tuple[str, Callable[[Row], str]]

SENSITIVITY = "sensitivity"
"""Title of the column whose heading says which class it is of."""

P_VALUES = (
    "p-values are two-sided: p bootstrap is of that difference, over groups; p McNemar (mid-p) treats slices as "
    "independent, so it is too small where near-duplicates get the same prediction"
)


UNDER_LOAD = "‡"
"""Stands behind a latency that was taken while other work slowed it."""


def _latency(row: Row, name: str) -> str:
    if row.latency is None:
        return "–"
    return f"{number(getattr(row.latency, name), 2)}{UNDER_LOAD if row.latency.disturbed else ''}"


def disturbed(latency: Measurement) -> str:
    """Say how much else ran while a latency was measured."""
    return f"{UNDER_LOAD} timed while other processes used {number(latency.load, 1)} cores: time it again at rest"


def _figure(name: str) -> Callable[[Row], str]:
    def show(row: Row) -> str:
        return with_interval(row.figures.estimates.get(name)) if row.figures else "–"

    return show


COLUMNS: tuple[Column, ...] = (
    ("model", lambda row: row.name),
    ("size", lambda row: size(row.bytes)),
    ("p50 ms", lambda row: _latency(row, "p50")),
    ("balanced accuracy", _figure("balanced_accuracy")),
    (SENSITIVITY, lambda row: with_interval(row.figures.sensitivity) if row.figures else "–"),
    ("worst institution", _figure("worst_institution")),
    ("to baseline", lambda row: difference(row.difference)),
    ("net", lambda row: f"{row.model} {'' if row.precision == 'float32' else row.precision}".strip()),
    ("parameters", lambda row: f"{row.parameters / 1e6:.2f} M"),
    ("p90 ms", lambda row: _latency(row, "p90")),
    ("p bootstrap", lambda row: p_value(row.significance.bootstrap) if row.significance else "–"),
    ("p McNemar", lambda row: p_value(row.significance.mcnemar) if row.significance else "–"),
    ("accuracy", _figure("accuracy")),
    ("macro-F1", _figure("macro_f1")),
    ("kappa", _figure("kappa")),
    ("ECE", lambda row: number(row.figures.ece) if row.figures else "–"),
)

BRIEF = 6
"""So many columns, the first ones, are shown where not all are asked for."""


def _least(value: Callable[[Row], float | None]) -> Callable[[Row], float | None]:
    return lambda row: None if (found := value(row)) is None else -found


def _most(name: str) -> Callable[[Row], float | None]:
    return lambda row: row.figures.estimates[name].value if row.figures and name in row.figures.estimates else None


_MERITS: dict[str, Callable[[Row], float | None]] = {
    "size": _least(lambda row: row.bytes),
    "parameters": _least(lambda row: row.parameters),
    "p50 ms": _least(lambda row: row.latency.p50 if row.latency else None),
    "p90 ms": _least(lambda row: row.latency.p90 if row.latency else None),
    "balanced accuracy": _most("balanced_accuracy"),
    SENSITIVITY: lambda row: row.figures.sensitivity.value if row.figures and row.figures.sensitivity else None,
    "accuracy": _most("accuracy"),
    "macro-F1": _most("macro_f1"),
    "kappa": _most("kappa"),
    "ECE": _least(lambda row: row.figures.ece if row.figures else None),
}
"""How good a model is in a column, the more the better."""


def best(rows: Sequence[Row], title: str) -> set[int]:
    """Return which of several rows have the best value of a column; none for figures on different slices."""
    if title not in _MERITS:
        return set()
    merits = {index: value for index, row in enumerate(rows) if (value := _MERITS[title](row)) is not None}
    parts = {(row.data, row.figures.basis, row.figures.positive_class or MALIGNANT) for row in rows if row.figures}
    depends_on_slices = title not in ("size", "parameters", "p50 ms", "p90 ms")
    if len(set(merits.values())) < 2 or (depends_on_slices and len(parts) > 1):
        return set()
    return {index for index, value in merits.items() if value == max(merits.values())}


def brief(title: str, cell: str) -> str:
    """Shorten a difference to its value where not all columns are asked for."""
    return cell.partition(" [")[0] if title == "to baseline" else cell


def columns(comparison: Comparison) -> tuple[Column, ...]:
    """Return the columns of a comparison; those of sensitivity and the worst institution only where a model has it."""
    figures = [row.figures for row in comparison.rows if row.figures]
    left_out = set()
    if figures and not any(item.sensitivity for item in figures):
        left_out.add(SENSITIVITY)
    if not any("worst_institution" in item.estimates for item in figures):
        left_out.add("worst institution")
    return tuple(column for column in COLUMNS if column[0] not in left_out)


def heading(title: str, rows: Iterable[Row]) -> str:
    """Return the heading of a column: its title, with the positive class where all models have the same one."""
    classes = {row.figures.positive_class or MALIGNANT for row in rows if row.figures and row.figures.sensitivity}
    return f"{plain(classes.pop())} {title}" if title == SENSITIVITY and len(classes) == 1 else title


def left_out(slices: int, data: str) -> str:
    """Say how many test slices of a data set models are not compared on."""
    return f"{slices} test slices of {data!r} are left out: a model was trained on them, or on slices of their groups"


def footnotes(comparison: Comparison) -> list[str]:
    """How to read the table."""
    lines = []
    parts = {row.figures.basis for row in comparison.rows if row.figures}
    lines += [f"evaluated on {rests_on(*basis)}; 95 % intervals by bootstrap over groups" for basis in sorted(parts)]
    with_sensitivity = any(row.figures and row.figures.sensitivity for row in comparison.rows)
    if with_sensitivity and heading(SENSITIVITY, comparison.rows) == SENSITIVITY:
        lines.append("sensitivity is of each model's own positive class")
    if any("worst_institution" in row.figures.estimates for row in comparison.rows if row.figures):
        lines.append(
            "worst institution: the lowest mean there of sensitivity and specificity of the most probable class"
        )
    if comparison.evaluated_anew:
        lines.append(
            f"all evaluated anew on the test part of {comparison.evaluated_anew!r}, since the models come from "
            "different data sets"
        )
    if comparison.left_out:
        lines.append(left_out(comparison.left_out, comparison.evaluated_anew))
    if any(row.figures and row.figures.protocol == "random" for row in comparison.rows):
        lines.append(RANDOM_SPLIT)
    if any(row.difference for row in comparison.rows):
        metric = comparison.metric.replace("_", " ")
        lines.append(f"differences are in {metric}, paired, to {comparison.baseline}; n.s.: not significant")
        lines.append(P_VALUES)
    lines += [f"{row.name} has no difference: {row.not_compared}" for row in comparison.rows if row.not_compared]
    if timed := next((row.latency for row in comparison.rows if row.latency), None):
        lines.append(
            f"latency of one prepared slice with {timed.threads} thread(s), models timed in turns, "
            f"on {comparison.machine['cpu']}"
        )
    under_load = [row.latency for row in comparison.rows if row.latency and row.latency.disturbed]
    if under_load:
        lines.append(disturbed(max(under_load, key=lambda latency: latency.load)))
    if elsewhere := [row.name for row in comparison.rows if row.trained_elsewhere]:
        lines.append(
            f"trained elsewhere, or by such a teacher, which may have seen the test slices: {', '.join(elsewhere)}"
        )
    if any(row.synthetic for row in comparison.rows):
        lines.append(SYNTHETIC)
    return lines


def markdown(comparison: Comparison) -> str:
    """The comparison as a Markdown table with its footnotes."""
    shown = columns(comparison)
    lines = [_piped([heading(title, comparison.rows) for title, _ in shown]), _piped(["---"] * len(shown))]
    lines += [_piped([show(row).replace("|", "\\|") for _, show in shown]) for row in comparison.rows]
    return "\n".join([*lines, "", *(f"- {line}" for line in footnotes(comparison))])


def comma_separated(comparison: Comparison) -> str:
    """The comparison as CSV, one number a cell: value, low and high of every figure."""
    names = sorted({name for row in comparison.rows if row.figures for name in row.figures.estimates})
    head = ["model", "net", "stage", "precision", "data", "protocol", "bytes", "parameters"]
    head += ["p50_ms", "p90_ms", "load", "figures_of"]
    for name in [*names, "difference"]:
        head += [name, f"{name}_low", f"{name}_high"]
    head += ["p_bootstrap", "gained", "lost", "p_mcnemar"]
    lines = [csv_row(head)]
    for row in comparison.rows:
        cells: list[object] = [row.name, row.model, row.stage, row.precision, row.data]
        cells += [row.figures.protocol if row.figures else "", row.bytes, row.parameters]
        cells += [row.latency.p50, row.latency.p90, row.latency.load] if row.latency else ["", "", ""]
        cells.append(row.figures.of_run if row.figures else "")
        for name in names:
            cells += _parts(row.figures.estimates.get(name) if row.figures else None)
        lines.append(csv_row([*cells, *_parts(row.difference), *_tests(row.significance)]))
    return "".join(lines)


def _piped(cells: Sequence[str]) -> str:
    return "| " + " | ".join(map(plain, cells)) + " |"


def _tests(significance: Significance | None) -> list[object]:
    if significance is None:
        return ["", "", "", ""]
    bootstrap = "" if significance.bootstrap is None else significance.bootstrap
    return [bootstrap, significance.gained, significance.lost, significance.mcnemar]


def _parts(estimate: Estimate | None) -> list[object]:
    if estimate is None or estimate.value is None:
        return ["", "", ""]
    return [estimate.value, estimate.low, estimate.high]
