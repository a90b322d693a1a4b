"""Tables of robustness under other acquisitions, and of evaluations on the user's own folders."""

from collections.abc import Sequence

from lungcli.cli import console
from lungcli.evaluation.external_validation import ExternalResult
from lungcli.metrics.predictions import MALIGNANT
from lungcli.modelfile.model_card import RobustnessFigures
from lungcli.views import text_table
from lungcli.views.evaluation import rests_on
from lungcli.views.figures import with_interval
from lungcli.views.units import number

_MOST_REASONS = 5


def show(rows: Sequence[RobustnessFigures], positive: str = MALIGNANT) -> None:
    """Print a row for each change and strength; rows[0] is of the unchanged slices.

    Sensitivity and specificity are of the class `positive`; without one there are none.
    """
    label = console.plain(positive)
    of_positive = [f"{label}\n{name}" for name in ("sensitivity", "specificity", "flips")] if positive else []
    headings = ("change", "", "balanced\naccuracy", *of_positive[:2], "flips", *of_positive[2:])
    table = text_table.grid(headings, (), 2, "under other acquisitions")
    for row in rows:
        figures = (row.balanced_accuracy, row.sensitivity, row.specificity) if positive else (row.balanced_accuracy,)
        flips = [f"{row.flips:.1%}"]
        if positive:
            flips.append("–" if row.positive_flips is None else f"{row.positive_flips:.1%}")
        shown = row.change if row.strength < 2 else ""
        table.add_row(
            shown, row.setting, *(number(figure.value) for figure in figures), *(flips if row.strength else ())
        )
    out = console.out()
    out.print(table)
    changed = [row for row in rows if row.strength]
    worst = max(changed, key=lambda row: row.flips)
    most = f"most flips: {worst.flips:.1%} of the slices, under {worst.change}, {worst.setting}"
    out.print(most if worst.flips else "nothing flips")
    measured = [row for row in changed if row.sensitivity.value is not None]
    if measured:
        lowest = min(measured, key=lambda row: row.sensitivity.value or 0.0)
        interval = with_interval(lowest.sensitivity)
        out.print(f"lowest {label} sensitivity: {interval}, under {lowest.change}, {lowest.setting}")
    out.print()


def show_folder(scored: ExternalResult, positive: str = MALIGNANT) -> None:
    """Print the evaluation of one folder of slices of a known class; `positive` is the model's positive one."""
    figures, out = scored.figures, console.out()
    counts = ", ".join(f"{count} {label}" for label, count in scored.predictions.items())
    out.print(f"{console.plain(scored.folder)}, as {figures.label}: {counts}", style="bold", soft_wrap=True)
    table = text_table.grid(())
    table.add_row(f"predicted {figures.label}", with_interval(figures.right))
    if figures.specificity is not None:
        table.add_row(f"specificity (not predicted {console.plain(positive)})", with_interval(figures.specificity))
    if figures.referred is not None:
        table.add_row("referred to a radiologist", with_interval(figures.referred))
    out.print(table)
    out.print(f"{rests_on(figures.n, figures.groups)}\n")
    if scored.seen:
        console.warn(f"{scored.seen} slices are left out: the model was trained on them, or on slices of their groups")
    for reason in scored.unreadable[:_MOST_REASONS]:
        console.warn(reason)
    if len(scored.unreadable) > _MOST_REASONS:
        console.warn(f"{len(scored.unreadable) - _MOST_REASONS} more files could not be read")
