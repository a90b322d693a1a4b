"""The figures of a model by institution, the worst first."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from lungcli.core.formatting import plain
from lungcli.views.figures import with_interval

if TYPE_CHECKING:
    from rich.table import Table

    from lungcli.metrics.institutions import InstitutionFigures

_POSITIVE = "positive"
_COLUMNS: tuple[tuple[str, "Callable[[InstitutionFigures], str]"], ...] = (
    ("slices", lambda item: str(item.n)),
    ("groups", lambda item: str(item.groups)),
    (_POSITIVE, lambda item: str(item.positive)),
    ("specificity", lambda item: _interval_below(with_interval(item.specificity))),
    ("sensitivity", lambda item: _interval_below(with_interval(item.sensitivity))),
    ("AUC", lambda item: _interval_below(with_interval(item.auc))),
)
_OF_ANY_CLASSES = ("balanced accuracy", lambda item: _interval_below(with_interval(item.balanced_accuracy)))


def table(figures: "Sequence[InstitutionFigures]", title: str) -> "Table":
    """Draw a line for each institution, in the order given; dashes where it has no slices to say a figure.

    Without a positive class there are no sensitivity, specificity and AUC, and balanced accuracy stands for them.
    """
    from rich.table import Table

    has_positive = any(item.sensitivity or item.specificity for item in figures)
    columns = _COLUMNS if has_positive else (*_COLUMNS[:2], _OF_ANY_CLASSES)
    drawn = Table(
        title=f"{plain(title)} by institution, the worst first", title_justify="left", box=None, pad_edge=False
    )
    drawn.add_column("institution", overflow="fold")
    for name, _ in columns:
        drawn.add_column(plain(figures[0].positive_class) if name == _POSITIVE else name, justify="right")
    for item in figures:
        drawn.add_row(plain(item.institution), *(show(item) for _, show in columns))
    return drawn


def _interval_below(cell: str) -> str:
    """Put an interval below its figure, so that all fit into 80 columns."""
    return cell.replace(" [", "\n[")
