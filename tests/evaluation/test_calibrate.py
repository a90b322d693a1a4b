import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lungcli.core.errors import UsageError
from lungcli.evaluation import calibrate
from lungcli.metrics import calibration, referral
from lungcli.metrics.classification import Floats, Ints
from lungcli.metrics.referral import Target
from lungcli.modelfile.model_card import ModelCard
from tests.modelfile import graphs


def _drawn(temperature: float, count: int = 20_000, seed: int = 0) -> tuple[Floats, Ints]:
    """Logits of a net whose probabilities would be right if divided by `temperature`, and labels drawn from those."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(scale=2.0 * temperature, size=(count, 3))
    probabilities = calibration.softmax(logits, temperature)
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
        return calibration.negative_log_likelihood(calibration.softmax(logits, t), labels)

    found = calibrate.fit_temperature(logits, labels)
    assert loss(found) <= min(loss(t) for t in np.geomspace(0.05, 20, 120)) + 1e-9


def test_predictions_stay() -> None:
    logits, labels = _drawn(3.0, count=200)
    tempered = calibration.softmax(logits, calibrate.fit_temperature(logits, labels))
    np.testing.assert_array_equal(tempered.argmax(axis=1), logits.argmax(axis=1))


def test_the_search_is_bounded() -> None:
    logits, labels = np.array([[5.0, 0.0], [0.0, 5.0]]), np.array([0, 1])
    assert calibrate.fit_temperature(logits, labels) == pytest.approx(0.05, rel=0.2)
    assert calibrate.fit_temperature(logits, 1 - labels) == pytest.approx(20, rel=1e-5)
    assert calibrate.fit_temperature(logits / 100, labels) == pytest.approx(0.05, rel=1e-5)


def test_no_slices_leave_the_logits_alone() -> None:
    assert calibrate.fit_temperature(np.empty((0, 3)), np.empty(0, dtype=np.int64)) == 1.0


def calibrated(card: ModelCard, logits: Floats, labels: Ints, target: Target = referral.DEFAULT) -> ModelCard:
    """`calibrate_card` of slices that are near-duplicates of none, at a specificity of .9."""
    return calibrate.calibrate_card(
        card,
        logits,
        labels,
        np.arange(len(labels)),
        referral_target=target,
        operating_target=calibrate.default_target(["one"]),
    )


def test_a_card_gets_all_that_is_fitted() -> None:
    logits, labels = _drawn(2.0, count=400)
    card = calibrated(graphs.card(temperature=9.0), logits, labels)
    assert card.temperature == calibrate.fit_temperature(logits, labels)
    assert card.calibration is not None
    assert card.calibration.n == 400
    assert card.calibration.after.nll < card.calibration.before.nll
    assert card.calibration.after.ece < card.calibration.before.ece
    probabilities = calibration.softmax(logits, card.temperature)
    malignant, suspicious = labels == 1, card.rule.suspicious(probabilities)
    assert card.operating_point is not None
    assert card.operating_point.specificity == pytest.approx(1 - suspicious[~malignant].mean())
    assert card.operating_point.specificity >= 0.9
    assert card.operating_point.sensitivity == pytest.approx(suspicious[malignant].mean())
    assert card.referral is not None
    assert (card.referral.target, card.referral.n) == ("relative risk ≤ 0.5", 400)
    kept = card.rule.confidence(probabilities) >= card.referral.threshold
    wrong = suspicious != malignant
    assert card.referral.coverage == pytest.approx(kept.mean())
    assert card.referral.risk == pytest.approx(wrong[kept].mean())
    assert card.referral.risk <= wrong.mean() / 2
    assert 20 <= len(card.risk_coverage) <= 21
    assert referral.is_target_reached(card.risk_coverage, card.referral)
    assert sum(band.n for band in card.reliability) == 400


def test_data_of_several_institutions_ask_for_more() -> None:
    assert str(calibrate.default_target(["a", "a"])) == "specificity ≥ 0.9"
    assert str(calibrate.default_target(["a", "b"])) == "specificity ≥ 0.95"


def test_a_model_at_chance_has_no_operating_point() -> None:
    labels = np.tile([0, 1, 2], 20).astype(np.int64)
    card = calibrated(graphs.card(), np.zeros((60, 3)), labels)
    assert card.operating_point is None
    assert card.referral is not None


def test_a_target_of_sensitivity_as_version_0_1_0_had() -> None:
    logits, labels = _drawn(2.0, count=400)
    target = Target(kind="sensitivity", value=0.6)
    card = calibrated(graphs.card(), logits, labels, target)
    assert card.referral is not None
    point = referral.point_of(card.risk_coverage, card.referral)
    assert point.sensitivity is not None
    assert point.sensitivity >= 0.6
    with pytest.raises(UsageError, match="no positive class"):
        calibrated(graphs.card(classes=("bird", "cat", "dog")), logits, labels, target)


def test_without_slices_nothing_is_fitted() -> None:
    card = calibrated(graphs.card(), np.empty((0, 3)), np.empty(0, dtype=np.int64))
    assert (card.temperature, card.calibration, card.referral, card.risk_coverage) == (1.0, None, None, ())
    assert (card.operating_point, card.reliability) == (None, ())
