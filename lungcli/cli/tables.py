"""Figures as tables on the terminal."""

from collections.abc import Sequence

from rich.table import Table

from lungcli.cli import console
from lungcli.core.errors import GateNotMetError
from lungcli.evaluation.acceptance import Decision
from lungcli.evaluation.compare import Comparison
from lungcli.metrics.institutions import InstitutionFigures
from lungcli.modelfile.model_card import ModelCard
from lungcli.views import comparison_table
from lungcli.views.figures import difference
from lungcli.views.units import number, size

_HEADING_WIDTH = 14
_COLUMN_WIDTH = 16


def show_comparison(comparison: Comparison) -> None:
    """Print a comparison with a column for each model, as many side by side as fit into the terminal."""
    runs = {row.name.rpartition("/")[0] for row in comparison.rows}
    one_run = len(runs) == 1 and "" not in runs
    if one_run:
        console.out().print(console.plain(*runs), style="bold")
    lines = [
        (
            title,
            [
                console.plain(show(row)) if title in comparison_table.NAMES else interval_below(show(row))
                for row in comparison.rows
            ],
        )
        for title, show in comparison_table.columns(comparison)[one_run:]
    ]
    show_side_by_side([row.stage for row in comparison.rows], lines)
    for line in comparison_table.footnotes(comparison):
        console.info(line, style="dim")


def show_side_by_side(heads: Sequence[str], lines: Sequence[tuple[str, Sequence[str]]]) -> None:
    """Print a column for each of `heads`, as many side by side as fit into the terminal, and a line for each title."""
    out = console.out()
    beside = max(1, (out.width - _HEADING_WIDTH) // _COLUMN_WIDTH)
    for start in range(0, len(heads), beside):
        table = Table(box=None, pad_edge=False)
        table.add_column("", width=_HEADING_WIDTH - 2)
        for head in heads[start : start + beside]:
            table.add_column(console.plain(head), min_width=_COLUMN_WIDTH - 2, overflow="fold")
        for title, cells in lines:
            heading = title.replace(" ", "\n", 1) if len(title) > _HEADING_WIDTH - 2 else title
            table.add_row(heading, *cells[start : start + beside])
        out.print(table)


def show_institutions(figures: Sequence[InstitutionFigures], title: str) -> None:
    """Print the figures of each institution, the worst first."""
    from lungcli.views import institutions

    console.out().print(institutions.table(figures, title))


def interval_below(cell: str) -> str:
    """Put an interval below its figure, so that four models fit into 80 columns."""
    return cell.replace(" [", "\n[")


def show_quantization_search(card: ModelCard) -> None:
    """Print the strategies tried for a quantized file, and the differences that the gate of the chosen one saw."""
    table = Table(box=None, pad_edge=False)
    table.add_column("strategy", no_wrap=True)
    for heading in ("size", "p50 ms", "balanced\naccuracy", "agree-\nment", "largest\nchange"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for row in card.trials:
        tried = row.difference is not None
        verdict = (", ".join(row.fails) or "passes") if tried else ""
        cells = (
            size(row.bytes),
            number(row.p50, 2),
            number(row.balanced_accuracy),
            f"{row.agreement:.1%}" if tried else "",
            number(row.largest_change) if tried else "",
        )
        table.add_row(console.plain(row.name), *cells, f"fails: {verdict}" if row.fails else verdict)
    console.err().print(table)
    for row in card.trials:
        if row.name == card.strategy:
            malignant = f", {difference(row.malignant)} malignant sensitivity" if row.malignant else ""
            console.info(
                f"{row.name} minus float32: {difference(row.difference)} in the metric of the gate{malignant} "
                "(validation part, paired over near-duplicate groups)"
            )


def acceptance_sentence(decision: Decision, reference: str) -> str:
    """What the gate saw when it compared int8 with `reference`."""
    malignant = f" and {difference(decision.malignant)} malignant sensitivity" if decision.malignant else ""
    return (
        f"int8 minus {reference} is {difference(decision.difference)} {decision.metric.replace('_', ' ')}{malignant}, "
        f"allowed is {-decision.max_drop:+.3f}"
    )


def require_accepted(decision: Decision, reference: str) -> None:
    """Report that the gate is met. Raises GateNotMetError where it is not."""
    sentence = acceptance_sentence(decision, reference)
    if not decision.met:
        raise GateNotMetError(
            f"gate not met: {sentence}", "the files are kept; allow a larger --max-drop, or train longer with --epochs"
        )
    console.info(f"gate met: {sentence}", style="green")
