"""The gate."""

import msgspec
import pytest

from lungcli.core import recipe as recipes
from lungcli.core.errors import UsageError
from lungcli.evaluation import acceptance
from lungcli.evaluation.acceptance import Decision
from lungcli.metrics.intervals import Estimate
from lungcli.metrics.predictions import Evaluation
from tests.metrics.test_predictions import evaluation

TEACHER = evaluation("bbmmnn")


def decide(
    ours: Evaluation, reference: Evaluation, max_drop: float, metric: str = acceptance.METRIC, spared: int = 0
) -> Decision:
    return acceptance.decide("distillation", ("student", ours), ("teacher", reference), max_drop, metric, spared)


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
    decision = decide(evaluation(predicted), TEACHER, max_drop)
    assert decision.met is met
    assert decision.max_drop == max_drop


def test_missed_cancers_outweigh_a_gain_in_balanced_accuracy() -> None:
    """Balanced accuracy rises by a sixth, but half of the malignant slices are no longer found."""
    decision = decide(evaluation("bbmbnn"), evaluation("bnmmbn"), 0.02)
    assert decision.difference.value == pytest.approx(1 / 6)
    assert decision.sensitivity is not None
    assert decision.sensitivity.value == -0.5
    assert not decision.met
    assert decide(evaluation("bbmbnn"), evaluation("bnmmbn"), 0.5).met


def test_the_gate_uses_the_metric_it_is_given() -> None:
    decision = decide(evaluation("bnmmnn"), TEACHER, 0.02, "malignant_specificity")
    assert decision.metric == "malignant_specificity"
    assert decision.difference.value == 0
    assert decision.met


def test_a_figure_that_the_classes_lack_is_refused() -> None:
    two = msgspec.structs.replace(TEACHER, classes=("benign", "normal", "other"), probabilities=TEACHER.probabilities)
    assert decide(two, two, 0.0).sensitivity is None
    with pytest.raises(UsageError, match="the model has no sensitivity"):
        decide(two, two, 0.0, "malignant_sensitivity")


def test_the_gate_watches_the_sensitivity_of_the_positive_class() -> None:
    """As many slices are right, but one that is normal is not found any more."""
    of_normal = msgspec.structs.replace(TEACHER, positive_class="normal")
    worse = msgspec.structs.replace(evaluation("bbmmnb"), positive_class="normal")
    for metric in ("sensitivity", "malignant_sensitivity"):
        decision = decide(worse, of_normal, 0.1, metric)
        assert (decision.positive_class, decision.metric) == ("normal", "normal_sensitivity")
        assert decision.sensitivity == decision.difference
        assert decision.difference.value == -0.5
        assert not decision.met


def test_both_checks_of_the_gate_use_the_metric_of_the_recipe() -> None:
    recipe = recipes.make(data="d", model="ownmodel", metric="sensitivity")
    checks = acceptance.gate([TEACHER], evaluation("bbmbnn"), evaluation("bbmmnn"), recipe)
    assert [check.metric for check in checks] == ["malignant_sensitivity"] * 2
    assert [check.difference.value for check in checks] == [-0.5, 0.5]


def test_a_better_model_always_passes() -> None:
    decision = decide(TEACHER, evaluation("bnmmnn"), 0.0)
    assert decision.met
    assert decision.difference.value == pytest.approx(1 / 6)


def test_the_difference_has_a_paired_interval() -> None:
    difference = decide(evaluation("bnmmnn"), TEACHER, 0.02).difference
    assert difference.value == pytest.approx(-1 / 6)
    assert difference.low is not None
    assert difference.high == 0
    assert difference.low < -1 / 6


def test_models_evaluated_on_different_slices_are_not_compared() -> None:
    other = msgspec.structs.replace(TEACHER, split_digest="other")
    with pytest.raises(UsageError, match="different slices"):
        decide(TEACHER, other, 0.02)


@pytest.mark.parametrize(("predicted", "met"), [("bnmmnn", True), ("bnmmnb", False), ("bnmmbn", False)])
def test_a_spared_prediction_may_become_wrong(predicted: str, met: bool) -> None:
    """Of six slices one is more than the limit; the gain of another makes up for nothing."""
    assert decide(evaluation(predicted), TEACHER, 0.02, spared=1).met is met


def test_the_gate_checks_the_student_against_its_teacher_and_int8_against_the_student() -> None:
    recipe = recipes.make(data="d", model="m", max_drop=0.1, max_int8_drop=0.3)
    student, int8 = evaluation("bnmmnn"), evaluation("nnmmbn")
    distillation, quantization = acceptance.gate([TEACHER], student, int8, recipe)
    assert (distillation.name, distillation.model, distillation.reference) == ("distillation", "student", "teacher")
    assert (distillation.max_drop, distillation.met) == (0.1, False)
    assert distillation.difference.value == pytest.approx(-1 / 6)
    assert (quantization.name, quantization.model, quantization.reference) == ("quantization", "int8", "student")
    assert (quantization.max_drop, quantization.met) == (0.3, False)
    assert quantization.difference.value == pytest.approx(-1 / 3)
    assert acceptance.gate([TEACHER, TEACHER], student, student, recipe)[0].reference == "mean of teachers"
    assert acceptance.gate([student], student, evaluation("nnmmnn"), recipes.make(data="d", model="m"))[1].met


@pytest.mark.parametrize(
    ("low", "value", "learned"),
    [(0.34, 0.5, True), (0.33, 0.5, False), (None, 0.34, True), (None, 0.33, False), (None, None, False)],
)
def test_a_model_has_learned_where_its_interval_is_above_chance(
    low: float | None, value: float | None, learned: bool
) -> None:
    figures = TEACHER.figures()
    estimates = figures.estimates | {"balanced_accuracy": Estimate(value=value, low=low, high=0.9)}
    assert acceptance.has_learned(msgspec.structs.replace(figures, estimates=estimates), 3) is learned
