"""Referral: what a threshold keeps, and which threshold a target leads to."""

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lungcli.core.errors import UsageError
from lungcli.metrics import referral
from lungcli.metrics.classification import Floats, Ints
from lungcli.metrics.operating_point import DecisionRule
from lungcli.metrics.referral import CoveragePoint, Target
from tests.metrics.test_predictions import evaluation

# Ten slices, surest first, of the classes 0 (benign), 1 (malignant), 2 (normal); the 4th, 7th, 9th, 10th are wrong.
CONFIDENCE = (0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6, 0.55, 0.5)
VERDICTS = (1, 1, 0, 0, 2, 1, 0, 2, 1, 0)
TOP1 = DecisionRule(positive=1, threshold=None)
LABELS = np.array((1, 1, 0, 1, 2, 1, 2, 2, 0, 2), dtype=np.int64)


def _probabilities(confidence: tuple[float, ...] = CONFIDENCE, predicted: tuple[int, ...] = VERDICTS) -> Floats:
    rows = np.repeat([(1 - c) / 2 for c in confidence], 3).reshape(-1, 3)
    rows[np.arange(len(rows)), predicted] = confidence
    return rows


def _curve() -> tuple[CoveragePoint, ...]:
    return curve(_probabilities(), LABELS, 1)


def curve(probabilities: Floats, labels: Ints, malignant: int) -> tuple[CoveragePoint, ...]:
    """The curve of the most probable class."""
    right = probabilities.argmax(axis=1) == labels
    return referral.risk_coverage_curve(probabilities.max(axis=1), right, labels == malignant)


def test_curve_by_hand() -> None:
    points = _curve()
    assert [point.coverage for point in points] == pytest.approx([1 - k / 10 for k in range(10)])
    assert [point.risk for point in points] == pytest.approx([0.4, 3 / 9, 2 / 8, 2 / 7, 1 / 6, 1 / 5, 1 / 4, 0, 0, 0])
    assert [point.sensitivity for point in points[-4:]] == pytest.approx([2 / 3, 1, 1, 1])
    assert points[0].threshold == 0
    assert points[1].threshold == pytest.approx(0.525)


@pytest.mark.parametrize(
    ("target", "threshold", "coverage", "risk"),
    [
        (Target(kind="risk", value=0.5), 0.0, 1.0, 0.4),
        (Target(kind="risk", value=0.25), 0.575, 0.8, 0.25),
        (Target(kind="risk", value=0.2), 0.675, 0.6, 1 / 6),
        (Target(kind="relative risk", value=0.625), 0.575, 0.8, 0.25),
        (Target(kind="relative risk", value=0.5), 0.675, 0.6, 1 / 6),
        (Target(kind="sensitivity", value=0.75), 0.0, 1.0, 0.4),
    ],
    ids=str,
)
def test_the_smallest_threshold_that_reaches_the_target(
    target: Target, threshold: float, coverage: float, risk: float
) -> None:
    found = referral.choose(_curve(), target, 10)
    assert (found.threshold, found.coverage, found.risk) == pytest.approx((threshold, coverage, risk))
    assert (found.target, found.n) == (str(target), 10)
    assert referral.is_target_reached(_curve(), found)


def test_a_target_out_of_reach_gets_the_nearest_threshold_that_keeps_three_fifths() -> None:
    surest_wrong = curve(_probabilities(), np.array((0, 0, *LABELS[2:])), 1)
    found = referral.choose(surest_wrong, Target(kind="risk", value=0.01), 10)
    # Four of eight are wrong, and three of six: of equally near thresholds, the one that refers fewer.
    assert found.coverage == pytest.approx(0.8)
    assert found.risk == pytest.approx(4 / 8)
    assert not referral.is_target_reached(surest_wrong, found)


def test_equally_sure_slices_are_kept_or_referred_together() -> None:
    points = curve(_probabilities((0.9, 0.6, 0.6), (0, 0, 1)), np.array([0, 0, 2]), 1)
    assert [(point.coverage, point.sensitivity) for point in points] == [(1.0, None), (1 / 3, None)]


def test_targets_are_written_and_read() -> None:
    for text in ("risk ≤ 0.2", "relative risk ≤ 0.5", "sensitivity ≥ 0.95"):
        assert str(referral.parse_target(text)) == text
    # As earlier versions wrote it.
    assert referral.parse_target("malignant sensitivity ≥ 0.95") == Target(kind="sensitivity", value=0.95)
    with pytest.raises(UsageError, match="unknown referral target 'risk < 2'"):
        referral.parse_target("risk < 2")


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10_000), st.integers(1, 80), st.floats(0, 1))
def test_no_accepted_slice_has_a_lower_confidence_than_a_referred_one(seed: int, count: int, value: float) -> None:
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.ones(3), count)
    labels: Ints = rng.integers(0, 3, count)
    points = curve(probabilities, labels, 1)
    coverages = [point.coverage for point in points]
    assert coverages == sorted(coverages, reverse=True)
    found = referral.choose(points, Target(kind="risk", value=value), count)
    kept = probabilities.max(axis=1) >= found.threshold
    assert found.coverage == pytest.approx(kept.mean())
    assert found.coverage >= referral.MIN_COVERAGE
    assert found.risk == pytest.approx((probabilities.argmax(axis=1) != labels)[kept].mean())
    thin = referral.thin(points, found)
    assert set(thin) <= set(points)
    assert len(thin) <= 21
    assert referral.point_of(thin, found).coverage == found.coverage


def test_on_other_slices_with_intervals() -> None:
    found = referral.measure(evaluation("bnmmnm"), 0.0, TOP1)
    assert (found.n, found.groups, found.part) == (6, 3, "test")
    assert found.coverage.value == 1
    assert found.risk.value == pytest.approx(2 / 6)
    assert found.sensitivity is not None
    assert found.sensitivity.value == 1
    assert found.sensitivity.low is not None
    assert found.sensitivity.low < 0.3


def test_all_referred_leaves_nothing_to_be_right_about() -> None:
    found = referral.measure(evaluation("bbmmnn"), 0.9, TOP1)
    assert found.coverage.value == 0
    assert (found.risk.value, found.risk.low, found.risk.high) == (None, None, None)
    assert msgspec.json.decode(msgspec.json.encode(found), type=referral.SelectiveFigures) == found


def test_the_threshold_itself_is_sure_enough() -> None:
    """Of six slices two are less sure: one right, one wrong; what is at the threshold stays."""
    predictions = evaluation("bnmmnm")
    rows = list(predictions.probabilities)
    rows[1], rows[4] = (0.2, 0.2, 0.6), (0.2, 0.2, 0.6)
    found = referral.measure(msgspec.structs.replace(predictions, probabilities=tuple(rows)), 0.8, TOP1)
    assert found.coverage.value == pytest.approx(4 / 6)
    assert found.risk.value == pytest.approx(1 / 4)
