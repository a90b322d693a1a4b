"""The figures of a model by institution, the worst first."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from lungcli.core.formatting import plain
from lungcli.core.names import natural
from lungcli.views.figures import interval_below, with_interval
from lungcli.views.text_table import grid

if TYPE_CHECKING:
    from rich.table import Table

    from lungcli.evaluation.compare import ModelByInstitution
    from lungcli.metrics.institutions import InstitutionFigures

_POSITIVE = "positive"
_COLUMNS: tuple[tuple[str, "Callable[[InstitutionFigures], str]"], ...] = (
    ("slices", lambda item: str(item.n)),
    ("groups", lambda item: str(item.groups)),
    (_POSITIVE, lambda item: str(item.positive)),
    ("specificity", lambda item: interval_below(with_interval(item.specificity))),
    ("sensitivity", lambda item: interval_below(with_interval(item.sensitivity))),
    ("AUC", lambda item: interval_below(with_interval(item.auc))),
)
SCORE = (
    "mean of sensitivity and specificity, or the one of them that an institution has slices for, at a model's "
    "operating point where it has one"
)
"""What a heat table shows."""

_OF_ANY_CLASSES = ("balanced accuracy", lambda item: interval_below(with_interval(item.balanced_accuracy)))


def table(figures: "Sequence[InstitutionFigures]", title: str) -> "Table":
    """Draw a line for each institution, in the order given; dashes where it has no slices to say a figure.

    Without a positive class there are no sensitivity, specificity and AUC, and balanced accuracy stands for them.
    """
    has_positive = any(item.sensitivity or item.specificity for item in figures)
    columns = _COLUMNS if has_positive else (*_COLUMNS[:2], _OF_ANY_CLASSES)
    names = (plain(figures[0].positive_class) if name == _POSITIVE else name for name, _ in columns)
    rows = [(plain(item.institution), *(show(item) for _, show in columns)) for item in figures]
    drawn = grid(("institution", *names), rows, 1, f"{plain(title)} by institution, the worst first")
    if has_positive:
        point = "at the model's operating point" if figures[0].at_operating_point else "of the most probable class"
        drawn.caption, drawn.caption_justify = f"specificity and sensitivity are those {point}", "left"
    return drawn


def heat_table(rows: "Sequence[ModelByInstitution]") -> "Table":
    """Draw a line for each model and a column for each institution: its score there, from red to green.

    The score is the mean of sensitivity and specificity, or the one of them that has slices there; balanced accuracy
    where there is no positive class.
    """
    from rich.text import Text

    names = sorted({item.institution for row in rows for item in row.institutions}, key=natural)
    drawn = grid(("model", *map(plain, names), "worst"), texts=1)
    for row in rows:
        scores = {item.institution: item.score for item in row.institutions}
        known = [score for score in scores.values() if score >= 0]
        values = [*(scores.get(name) for name in names), min(known, default=None)]
        cells = [Text("–") if value is None or value < 0 else Text(f"{value:.3f}", _heat(value)) for value in values]
        drawn.add_row(plain(row.name), *cells)
    return drawn


def _heat(score: float) -> str:
    return next(colour for least, colour in ((0.9, "green"), (0.75, "yellow"), (0.0, "red")) if score >= least)
