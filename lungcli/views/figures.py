"""Figures with their intervals as people read them: `0.712 [.640, .781]`."""

from typing import TYPE_CHECKING

from lungcli.views.units import number

if TYPE_CHECKING:
    from lungcli.metrics.intervals import Estimate, Spread


def with_interval(estimate: "Estimate | None") -> str:
    """`0.712 [.640, .781]`."""
    if estimate is None or estimate.value is None:
        return "–"
    return f"{number(estimate.value)} [{_short(estimate.low)}, {_short(estimate.high)}]"


def interval_below(cell: str) -> str:
    """Put an interval below its figure, so that all fit into 80 columns."""
    return cell.replace(" [", "\n[")


def difference(estimate: "Estimate | None") -> str:
    """`-0.012 [-.050, +.021]`, marked `n.s.` (not significant) where the interval contains zero."""
    if estimate is None or estimate.value is None or estimate.low is None or estimate.high is None:
        return "–"
    unsure = "" if estimate.low > 0 or estimate.high < 0 else " n.s."
    return f"{estimate.value:+.3f}{unsure} [{_short(estimate.low, '+')}, {_short(estimate.high, '+')}]"


def spread_over_folds(mean_over_folds: "Spread") -> str:
    """`0.712 ± .045 [.680, .741]`, of a mean over folds."""
    if mean_over_folds.deviation is None:
        return with_interval(mean_over_folds.mean)
    value, _, interval = with_interval(mean_over_folds.mean).partition(" ")
    return f"{value} ±{_short(mean_over_folds.deviation)} {interval}"


def p_value(p: float | None) -> str:
    """`0.034`, `<.001`, or a dash where there is none."""
    return "<.001" if p is not None and p < 0.001 else number(p)


def _short(value: float | None, sign: str = "") -> str:
    """A limit of an interval without the zero that every figure below one begins with."""
    return "–" if value is None else f"{value:{sign}.3f}".replace("0.", ".", 1 if abs(value) < 1 else 0)
