"""Figures as tables, Markdown and CSV. One list of columns serves all three."""

import csv
import io
from collections.abc import Callable, Sequence

from rich.table import Table

from lungcli.cli import speak
from lungcli.cli.words import difference, number, size, with_interval
from lungcli.core.evaluation import Evaluation, Figures
from lungcli.core.intervals import Estimate
from lungcli.inference.compare import Comparison, Row
from lungcli.inference.gate import Decision

Column = tuple[str, Callable[[Row], str]]

_HEADING_WIDTH = 14
_COLUMN_WIDTH = 16


def _latency(row: Row, name: str) -> str:
    return "–" if row.latency is None else f"{getattr(row.latency, name):.2f}"


def _figure(name: str) -> Callable[[Row], str]:
    def show(row: Row) -> str:
        return with_interval(row.figures.estimates.get(name)) if row.figures else "–"

    return show


NAMES = ("model", "net")
COLUMNS: tuple[Column, ...] = (
    ("model", lambda row: row.name),
    ("net", lambda row: f"{row.model} {'int8' if row.precision == 'int8' else ''}".strip()),
    ("size", lambda row: size(row.bytes)),
    ("parameters", lambda row: f"{row.parameters / 1e6:.2f} M"),
    ("p50 ms", lambda row: _latency(row, "p50")),
    ("p90 ms", lambda row: _latency(row, "p90")),
    ("balanced accuracy", _figure("balanced_accuracy")),
    ("malignant sensitivity", _figure("malignant_sensitivity")),
    ("to baseline", lambda row: difference(row.difference)),
    ("accuracy", _figure("accuracy")),
    ("macro-F1", _figure("macro_f1")),
    ("kappa", _figure("kappa")),
    ("ECE", lambda row: number(row.figures.ece) if row.figures else "–"),
)


def show_comparison(comparison: Comparison) -> None:
    """Print the comparison for people: a column a model, as many beside each other as the terminal is wide."""
    out = speak.out()
    runs = {row.name.rpartition("/")[0] for row in comparison.rows}
    one_run = len(runs) == 1 and "" not in runs
    if one_run:
        out.print(speak.plain(*runs), style="bold")
    beside = max(1, (out.width - _HEADING_WIDTH) // _COLUMN_WIDTH)
    for start in range(0, len(comparison.rows), beside):
        rows = comparison.rows[start : start + beside]
        table = Table(box=None, pad_edge=False)
        table.add_column("", width=_HEADING_WIDTH - 2)
        for row in rows:
            table.add_column(speak.plain(row.stage), min_width=_COLUMN_WIDTH - 2, overflow="fold")
        for title, show in COLUMNS[one_run:]:
            heading = title.replace(" ", "\n", 1) if len(title) > _HEADING_WIDTH - 2 else title
            # An interval goes under its figure, so that four models fit into 80 columns.
            cells = (speak.plain(show(row)) for row in rows)
            table.add_row(heading, *(cell if title in NAMES else cell.replace(" [", "\n[") for cell in cells))
        out.print(table)
    for line in footnotes(comparison):
        speak.say(line, style="dim")


def footnotes(comparison: Comparison) -> list[str]:
    """What a reader of the table must know to read it right."""
    lines = []
    rested = {
        (row.figures.n, row.figures.groups, row.figures.part, row.figures.protocol)
        for row in comparison.rows
        if row.figures
    }
    lines += [
        f"judged on {n} slices of {groups} look-alike groups ({part} part, {protocol} split); "
        "95 % intervals by bootstrap over groups"
        for n, groups, part, protocol in sorted(rested)
    ]
    if any(protocol == "random" for _, _, _, protocol in rested):
        lines.append("random split: the same bodies were trained on, so these figures flatter")
    if any(row.difference for row in comparison.rows):
        lines.append(f"differences are in balanced accuracy, paired, to {comparison.baseline}; n.s.: may be chance")
    lines += [f"{row.name} is not compared: {row.not_compared}" for row in comparison.rows if row.not_compared]
    if timed := next((row.latency for row in comparison.rows if row.latency), None):
        lines.append(
            f"latency of one prepared slice, {timed.threads} thread(s), models interleaved, "
            f"on {comparison.machine['cpu']}"
        )
    if any(row.synthetic for row in comparison.rows):
        lines.append("synthetic data: these figures say nothing about people")
    return lines


def markdown(comparison: Comparison) -> str:
    """The comparison as a Markdown table with its footnotes."""
    lines = [_piped([title for title, _ in COLUMNS]), _piped(["---"] * len(COLUMNS))]
    lines += [_piped([show(row).replace("|", "\\|") for _, show in COLUMNS]) for row in comparison.rows]
    return "\n".join([*lines, "", *(f"- {line}" for line in footnotes(comparison))])


def comma_separated(comparison: Comparison) -> str:
    """The comparison as CSV, one number a cell: value, low and high of every figure."""
    names = sorted({name for row in comparison.rows if row.figures for name in row.figures.estimates})
    head = ["model", "net", "stage", "precision", "data", "protocol", "bytes", "parameters", "p50_ms", "p90_ms"]
    for name in [*names, "difference"]:
        head += [name, f"{name}_low", f"{name}_high"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    for row in comparison.rows:
        cells: list[object] = [row.name, row.model, row.stage, row.precision, row.data]
        cells += [row.figures.protocol if row.figures else "", row.bytes, row.parameters]
        cells += [row.latency.p50, row.latency.p90] if row.latency else ["", ""]
        for name in names:
            cells += _parts(row.figures.estimates.get(name) if row.figures else None)
        writer.writerow([*cells, *_parts(row.difference)])
    return text.getvalue()


def show_evaluation(evaluation: Evaluation, figures: Figures, title: str) -> None:
    """Print the confusion matrix, the figures by class, and the figures of the whole."""
    from lungcli.core import metrics

    matrix = evaluation.matrices().sum(axis=0)
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("true class")
    for name in evaluation.classes:
        table.add_column(f"→ {name}", justify="right")
    for heading in ("recall", "precision", "F1"):
        table.add_column(heading, justify="right")
    by_class = (metrics.recalls(matrix), metrics.precisions(matrix), metrics.f1_scores(matrix))
    for index, name in enumerate(evaluation.classes):
        counts = [str(count) for count in matrix[index]]
        table.add_row(name, *counts, *(f"{values[index]:.3f}" for values in by_class))
    speak.out().print(table)
    lines = Table(box=None, show_header=False, pad_edge=False)
    for name, estimate in figures.estimates.items():
        lines.add_row(name.replace("_", " "), with_interval(estimate))
    speak.out().print(lines)
    speak.out().print(f"{figures.n} slices of {figures.groups} look-alike groups, {figures.protocol} split\n")


def gate_sentence(decision: Decision, reference: str) -> str:
    """What the gate saw when it held int8 against `reference`."""
    return (
        f"int8 minus {reference} is {difference(decision.difference)} balanced accuracy, "
        f"allowed is {-decision.max_drop:+.3f}"
    )


def _piped(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _parts(estimate: Estimate | None) -> list[object]:
    if estimate is None or estimate.value is None:
        return ["", "", ""]
    return [estimate.value, estimate.low, estimate.high]
