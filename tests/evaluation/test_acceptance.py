"""The gate."""

import msgspec
import pytest

from lungcli.core.errors import UsageError
from lungcli.evaluation import acceptance
from tests.metrics.test_predictions import evaluation

TEACHER = evaluation("bbmmnn")


@pytest.mark.parametrize(
    ("predicted", "max_drop", "met"),
    [
        ("bbmmnn", 0.0, True),
        ("bnmmnn", 0.02, False),
        ("bnmmnn", 1 / 6, True),
        ("bnmmnn", 0.16, False),
        ("mmbbmm", 1.0, True),
    ],
)
def test_a_drop_is_held_against_what_is_allowed(predicted: str, max_drop: float, met: bool) -> None:
    decision = acceptance.decide(evaluation(predicted), TEACHER, max_drop)
    assert decision.met is met
    assert decision.max_drop == max_drop


def test_missed_cancers_outweigh_a_gain_in_balanced_accuracy() -> None:
    """Balanced accuracy rises by a sixth, but half of the malignant slices are no longer found."""
    decision = acceptance.decide(evaluation("bbmbnn"), evaluation("bnmmbn"), 0.02)
    assert decision.difference.value == pytest.approx(1 / 6)
    assert decision.malignant is not None
    assert decision.malignant.value == -0.5
    assert not decision.met
    assert acceptance.decide(evaluation("bbmbnn"), evaluation("bnmmbn"), 0.5).met


def test_the_gate_uses_the_metric_it_is_given() -> None:
    decision = acceptance.decide(evaluation("bnmmnn"), TEACHER, 0.02, "malignant_specificity")
    assert decision.metric == "malignant_specificity"
    assert decision.difference.value == 0
    assert decision.met


def test_a_figure_that_the_classes_lack_is_refused() -> None:
    two = msgspec.structs.replace(TEACHER, classes=("benign", "normal", "other"), probabilities=TEACHER.probabilities)
    assert acceptance.decide(two, two, 0.0).malignant is None
    with pytest.raises(UsageError, match="no malignant sensitivity"):
        acceptance.decide(two, two, 0.0, "malignant_sensitivity")


def test_a_better_model_always_passes() -> None:
    decision = acceptance.decide(TEACHER, evaluation("bnmmnn"), 0.0)
    assert decision.met
    assert decision.difference.value == pytest.approx(1 / 6)


def test_the_difference_has_a_paired_interval() -> None:
    difference = acceptance.decide(evaluation("bnmmnn"), TEACHER, 0.02).difference
    assert difference.value == pytest.approx(-1 / 6)
    assert difference.low is not None
    assert difference.high == 0
    assert difference.low < -1 / 6


def test_models_evaluated_on_different_slices_are_not_compared() -> None:
    other = msgspec.structs.replace(TEACHER, split_digest="other")
    with pytest.raises(UsageError, match="different slices"):
        acceptance.decide(TEACHER, other, 0.02)
