import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lungcli.core import metrics
from lungcli.core.metrics import Floats, Ints
from lungcli.inference import calibrate


def _drawn(temperature: float, count: int = 20_000, seed: int = 0) -> tuple[Floats, Ints]:
    """Logits of a net whose probabilities would be right if divided by `temperature`, and labels drawn from those."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(scale=2.0 * temperature, size=(count, 3))
    probabilities = metrics.softmax(logits, temperature)
    labels = (rng.random((count, 1)) > probabilities.cumsum(axis=1)).sum(axis=1)
    return logits, labels.astype(np.int64)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5, 8.0])
def test_the_temperature_labels_were_drawn_with_is_found(temperature: float) -> None:
    assert calibrate.fit_temperature(*_drawn(temperature)) == pytest.approx(temperature, rel=0.04)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.floats(0.1, 10))
def test_no_temperature_of_a_fine_grid_is_better(seed: int, temperature: float) -> None:
    logits, labels = _drawn(temperature, count=60, seed=seed)

    def loss(t: float) -> float:
        return metrics.negative_log_likelihood(metrics.softmax(logits, t), labels)

    found = calibrate.fit_temperature(logits, labels)
    assert loss(found) <= min(loss(t) for t in np.geomspace(0.05, 20, 120)) + 1e-9


def test_verdicts_stay() -> None:
    logits, labels = _drawn(3.0, count=200)
    tempered = metrics.softmax(logits, calibrate.fit_temperature(logits, labels))
    np.testing.assert_array_equal(tempered.argmax(axis=1), logits.argmax(axis=1))


def test_the_search_is_bounded() -> None:
    logits, labels = np.array([[5.0, 0.0], [0.0, 5.0]]), np.array([0, 1])
    assert calibrate.fit_temperature(logits, labels) == pytest.approx(calibrate.COLDEST, rel=0.2)
    assert calibrate.fit_temperature(logits, 1 - labels) == pytest.approx(calibrate.HOTTEST, rel=1e-3)


def test_no_slices_leave_the_logits_alone() -> None:
    assert calibrate.fit_temperature(np.empty((0, 3)), np.empty(0, dtype=np.int64)) == 1.0
