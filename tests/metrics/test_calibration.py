"""Calibration errors, what they were before the temperature, and the bins behind them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lungcli.metrics import calibration


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.floats(0.3, 5))
def test_a_temperature_can_be_undone(seed: int, temperature: float) -> None:
    logits = np.random.default_rng(seed).normal(scale=4, size=(20, 3))
    found = calibration.undo_temperature(calibration.softmax(logits, temperature), temperature)
    np.testing.assert_allclose(found, calibration.softmax(logits), atol=1e-9)


def test_a_probability_of_0_stays_one() -> None:
    np.testing.assert_allclose(calibration.undo_temperature(np.array([[1.0, 0.0]]), 2.0), [[1, 0]], atol=1e-12)


def test_bins_by_hand() -> None:
    top = np.array([0.95, 0.97, 0.5, 1.0])
    found = calibration.reliability_bins(np.stack([top, 1 - top], axis=1), np.array([0, 1, 0, 0]))
    assert [(item.n, item.accuracy) for item in found] == [(1, 1.0), (3, pytest.approx(2 / 3))]
    assert (found[0].low, found[0].high) == pytest.approx((7 / 15, 8 / 15))
    assert found[1].confidence == pytest.approx((0.95 + 0.97 + 1) / 3)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.integers(1, 60))
def test_the_error_is_the_mean_gap_of_the_bins(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    probabilities, labels = rng.dirichlet(np.ones(3), count), rng.integers(0, 3, count)
    bins = calibration.reliability_bins(probabilities, labels)
    gap = sum(item.n * abs(item.accuracy - item.confidence) for item in bins) / count
    assert gap == pytest.approx(calibration.calibration_errors(probabilities, labels).ece)
    assert sum(item.n for item in bins) == count
