"""Figures as tables on the terminal."""

from collections.abc import Sequence

from rich.table import Table

from lungcli.cli import console
from lungcli.core.errors import GateNotMetError
from lungcli.evaluation.acceptance import Decision
from lungcli.evaluation.compare import Comparison
from lungcli.metrics.institutions import InstitutionFigures
from lungcli.modelfile.model_card import ModelCard
from lungcli.views import acceptance, comparison_table, text_table
from lungcli.views.units import number, size

_HEADING_WIDTH = 14
_COLUMN_WIDTH = 16
_PIPED_WIDTH = 80


def show_comparison(comparison: Comparison, *, wide: bool = False) -> None:
    """Print a comparison with a row for each model: the main columns that fit into the terminal, or all if `wide`."""
    rows, out = comparison.rows, console.out()
    runs = {row.name.rpartition("/")[0] for row in rows}
    one_run = len(runs) == 1 and "" not in runs
    columns = comparison_table.columns(comparison)[: None if wide else comparison_table.BRIEF]
    titles = [title for title, _ in columns]
    cells = [
        [show(row) if wide else comparison_table.brief(title, show(row)) for title, show in columns] for row in rows
    ]
    if one_run:
        out.print(console.plain(*runs), style="bold", soft_wrap=True)
        cells = [[row.stage, *others] for row, (_, *others) in zip(rows, cells, strict=True)]
    cells = [[console.plain(cell) for cell in line] for line in cells]
    named = [comparison_table.heading(title, rows) for title in titles]
    # On two lines where they are longer than what stands below them.
    headings = [title.replace(" ", "\n", 1) if len(title) > _HEADING_WIDTH else title for title in named]
    shown = text_table.fitting(headings, cells, out.width) if out.is_terminal and not wide else len(titles)
    best = {(row, column) for column, title in enumerate(titles) for row in comparison_table.best(rows, title)}
    console.print_table(headings[:shown], [line[:shown] for line in cells], best)
    footnotes = [line for line in comparison_table.footnotes(comparison) if wide or line != comparison_table.P_VALUES]
    for line in (*footnotes, *_hidden(named[shown:], wide=wide)):
        console.info(line, style="dim")


def _hidden(titles: Sequence[str], *, wide: bool) -> list[str]:
    rest = "" if wide else "all columns: lungcli compare --wide"
    return [f"no room here for {', '.join(titles)}; {rest}"] if titles else [rest] * bool(rest)


def show_side_by_side(heads: Sequence[str], lines: Sequence[tuple[str, Sequence[str]]]) -> None:
    """Print a column for each of `heads`, as many side by side as fit into the terminal, and a line for each title."""
    out = console.out()
    width = out.width if out.is_terminal else _PIPED_WIDTH
    beside = max(1, (width - _HEADING_WIDTH) // _COLUMN_WIDTH)
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


def show_quantization_search(card: ModelCard) -> None:
    """Print the strategies tried for a quantized file; how fast it is, one measurement of both files says."""
    table = Table(box=None, pad_edge=False)
    table.add_column("strategy", no_wrap=True)
    for heading in ("size", "balanced\naccuracy", "agree-\nment", "largest\nchange"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for row in card.trials:
        tried = row.difference is not None
        verdict = (", ".join(row.fails) or "passes") if tried else ""
        cells = (
            size(row.bytes),
            number(row.balanced_accuracy),
            f"{row.agreement:.1%}" if tried else "",
            number(row.largest_change) if tried else "",
        )
        table.add_row(console.plain(row.name), *cells, f"fails: {verdict}" if row.fails else verdict)
    console.err().print(table)


def require_accepted(decisions: Sequence[Decision]) -> None:
    """Print the checks of the gate. Raises GateNotMetError where one failed."""
    for decision in decisions:
        console.info(acceptance.check(decision), style="green" if decision.met else "bold yellow")
    if failed := [decision.name for decision in decisions if not decision.met]:
        raise GateNotMetError(
            f"{acceptance.gate(False, failed)}; the files are kept",
            "; ".join(acceptance.WHAT_TO_DO[name] for name in failed),
        )
