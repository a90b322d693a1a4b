"""Figures in words."""

import pytest

from lungcli.core import formatting
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


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 kB"), (260_300, "260 kB"), (999_999, "1000 kB"), (44_680_000, "44.68 MB")]
)
def test_sizes(count: int, text: str) -> None:
    assert formatting.size(count) == text


@pytest.mark.parametrize(
    ("done", "total", "since", "seconds", "text"),
    [
        (34_200_000, 157_600_000, 4_200_000, 6.0, "34.2 of 157.6 MB, 5.0 MB/s, 0:25 left"),
        (34_200_000, 0, 4_200_000, 6.0, "34.2 MB, 5.0 MB/s"),
        (34_200_000, 157_600_000, 34_200_000, 6.0, "34.2 of 157.6 MB"),
        (34_200_000, 157_600_000, 0, 0.1, "34.2 of 157.6 MB"),
    ],
)
def test_how_a_file_arrives(done: int, total: int, since: int, seconds: float, text: str) -> None:
    assert formatting.download_progress(done, total, since, seconds) == text


@pytest.mark.parametrize(("seconds", "text"), [(7.4, "0:07"), (750, "12:30"), (3723, "1:02:03")])
def test_durations(seconds: float, text: str) -> None:
    assert formatting.duration(seconds) == text
