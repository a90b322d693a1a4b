"""Figures in words."""

import pytest

from lungcli.core import words
from lungcli.core.intervals import Estimate


def test_a_figure_with_its_interval() -> None:
    assert words.with_interval(Estimate(value=0.7123, low=0.64, high=1.0)) == "0.712 [.640, 1.000]"
    assert words.with_interval(Estimate(value=0.01, low=-0.25, high=0.3)) == "0.010 [-.250, .300]"
    assert words.with_interval(Estimate(value=None, low=None, high=None)) == "–"
    assert words.with_interval(None) == "–"


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (-0.2, -0.01, "-0.100 [-.200, -.010]"),
        (-0.2, 0.01, "-0.100 n.s. [-.200, +.010]"),
        (-0.2, 0.0, "-0.100 n.s. [-.200, +.000]"),
    ],
)
def test_a_difference_says_when_it_may_be_chance(low: float, high: float, text: str) -> None:
    assert words.difference(Estimate(value=-0.1, low=low, high=high)) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 kB"), (260_300, "260 kB"), (999_999, "1000 kB"), (44_680_000, "44.68 MB")]
)
def test_sizes(count: int, text: str) -> None:
    assert words.size(count) == text
