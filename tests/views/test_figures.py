"""Figures with their intervals."""

import pytest

from lungcli.metrics.intervals import Estimate, Spread
from lungcli.views import figures


def test_a_figure_with_its_interval() -> None:
    assert figures.with_interval(Estimate(value=0.7123, low=0.64, high=1.0)) == "0.712 [.640, 1.000]"
    assert figures.with_interval(Estimate(value=0.01, low=-0.25, high=0.3)) == "0.010 [-.250, .300]"
    assert figures.with_interval(Estimate(value=None, low=None, high=None)) == "–"
    assert figures.with_interval(None) == "–"


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (-0.2, -0.01, "-0.100 [-.200, -.010]"),
        (-0.2, 0.01, "-0.100 n.s. [-.200, +.010]"),
        (-0.2, 0.0, "-0.100 n.s. [-.200, +.000]"),
    ],
)
def test_a_difference_says_when_it_may_be_chance(low: float, high: float, text: str) -> None:
    assert figures.difference(Estimate(value=-0.1, low=low, high=high)) == text


@pytest.mark.parametrize(
    ("p", "text"), [(0.0341, "0.034"), (0.001, "0.001"), (0.00099, "<.001"), (1.0, "1.000"), (None, "–")]
)
def test_p_values(p: float | None, text: str) -> None:
    assert figures.p_value(p) == text


def test_a_mean_over_folds_with_its_spread() -> None:
    mean = Estimate(value=0.712, low=0.68, high=0.741)
    assert figures.spread(Spread(mean=mean, deviation=0.0452, folds=5)) == "0.712 ±.045 [.680, .741]"
    assert figures.spread(Spread(mean=mean, deviation=None, folds=1)) == "0.712 [.680, .741]"
