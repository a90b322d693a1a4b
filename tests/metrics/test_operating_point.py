"""Operating points: which threshold keeps a target, and what findings are worth."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lungcli.metrics import operating_point
from lungcli.metrics.operating_point import DecisionRule, OperatingTarget
from tests.metrics.test_predictions import evaluation

SCORES = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8])
POSITIVE = np.array([0, 0, 1, 0, 1, 0, 1, 1], dtype=bool)
RULE = DecisionRule(positive=1, threshold=0.2)
PROBABILITIES = np.array([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7], [0.8, 0.1, 0.1], [0.0, 1.0, 0.0]])


@pytest.mark.parametrize(
    ("target", "threshold", "sensitivity", "specificity"),
    [
        (OperatingTarget(kind="specificity", value=0.75), 0.45, 0.75, 0.75),
        (OperatingTarget(kind="specificity", value=0.76), 0.65, 0.5, 1.0),
        (OperatingTarget(kind="sensitivity", value=1.0), 0.25, 1.0, 0.5),
        (OperatingTarget(kind="sensitivity", value=0.7), 0.45, 0.75, 0.75),
    ],
    ids=str,
)
def test_the_target_is_kept_and_the_other_is_the_most(
    target: OperatingTarget, threshold: float, sensitivity: float, specificity: float
) -> None:
    point = operating_point.choose(SCORES, POSITIVE, target)
    assert point is not None
    assert (point.threshold, point.sensitivity, point.specificity) == pytest.approx(
        (threshold, sensitivity, specificity)
    )
    assert (point.target, point.n) == (target, 8)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=40), st.floats(0, 1))
def test_a_point_is_what_it_says_on_the_slices_it_was_chosen_on(rows: list[tuple[float, bool]], value: float) -> None:
    scores = np.array([score for score, _ in rows])
    positive = np.array([is_positive for _, is_positive in rows], dtype=bool)
    point = operating_point.choose(scores, positive, OperatingTarget(kind="specificity", value=value))
    if point is None:
        return
    called = DecisionRule(positive=1, threshold=point.threshold).suspicious(np.stack([1 - scores, scores], axis=1))
    assert called[positive].mean() == pytest.approx(point.sensitivity)
    assert 1 - called[~positive].mean() == pytest.approx(point.specificity)
    assert point.specificity >= value - 1e-9
    assert point.sensitivity + point.specificity > 1


@pytest.mark.parametrize("positive", [np.zeros(8, dtype=bool), np.ones(8, dtype=bool), SCORES < 0.45])
def test_there_is_no_point_without_both_kinds_or_above_chance(
    positive: "np.ndarray[tuple[int], np.dtype[np.bool_]]",
) -> None:
    assert operating_point.choose(SCORES, positive, OperatingTarget(kind="specificity", value=0.9)) is None


def test_each_institution_counts_as_much_however_many_its_slices() -> None:
    healthy, tumours = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8], [0.55, 0.75, 0.85, 0.95]
    scores = np.array([*healthy, 0.65, 0.85, *tumours])
    positive = np.array([False] * 10 + [True] * 4)
    where = ["large"] * 8 + ["small"] * 2 + ["large"] * 4
    target = OperatingTarget(kind="specificity", value=0.7)

    alone = operating_point.choose(scores, positive, target)
    assert alone is not None
    assert (alone.threshold, alone.specificity, alone.sensitivity) == pytest.approx((0.675, 0.7, 0.75))
    point = operating_point.choose(scores, positive, target, where)
    assert point is not None
    # 7 of 8 and 1 of 2; at .675 it would be 6 of 8 and 1 of 2.
    assert (point.threshold, point.specificity) == pytest.approx((0.825, (1 + 1 / 2) / 2))


def test_the_class_said_is_the_most_probable_that_the_operating_point_allows() -> None:
    assert RULE.suspicious(PROBABILITIES).tolist() == [True, True, False, True]
    assert RULE.predicted(PROBABILITIES).tolist() == [1, 1, 0, 1]
    late = DecisionRule(positive=1, threshold=0.99)
    assert late.predicted(np.array([[0.01, 0.9, 0.09]])).tolist() == [2]


def test_confidence_is_a_half_at_the_threshold_and_one_far_from_it() -> None:
    rows = np.array([[0.8, 0.2], [1.0, 0.0], [0.0, 1.0], [0.5, 0.5]])
    assert RULE.confidence(rows) == pytest.approx([0.5, 1, 1, 0.8], abs=1e-4)
    assert DecisionRule(positive=1, threshold=0.0).confidence(rows) == pytest.approx([1, 0.5, 1, 1], abs=1e-4)


def test_above_one_half_confidence_is_the_probability_of_the_finding() -> None:
    rule = DecisionRule(positive=1, threshold=0.75)
    rows = np.array([[0.9, 0.1], [0.4, 0.6], [0.25, 0.75], [0.05, 0.95]])
    assert rule.suspicious(rows).tolist() == [False, False, True, True]
    # More probably positive than not, and yet not called so: never sure.
    assert rule.confidence(rows) == pytest.approx([0.9, 0.4, 0.75, 0.95])


def test_without_an_operating_point_the_most_probable_class_decides() -> None:
    labels = np.array([0, 2, 1, 1])
    for rule in (DecisionRule(positive=1, threshold=None), DecisionRule(positive=None, threshold=0.5)):
        assert rule.predicted(PROBABILITIES).tolist() == [0, 2, 0, 1]
        assert rule.confidence(PROBABILITIES) == pytest.approx([0.5, 0.7, 0.8, 1])
        assert rule.right(PROBABILITIES, labels).tolist() == [True, True, False, True]
    assert DecisionRule(positive=1, threshold=None).suspicious(PROBABILITIES).tolist() == [False, False, False, True]
    assert not DecisionRule(positive=None, threshold=None).suspicious(PROBABILITIES).any()
    assert RULE.right(PROBABILITIES, labels).tolist() == [False, False, False, True]


def test_figures_of_findings_by_hand() -> None:
    assert operating_point.measure(evaluation("bmmmnn")) is None
    predictions = msgspec.structs.replace(evaluation("bmmmnn"), suspicious=(True, True, False, False, False, True))
    malignant = [label == predictions.classes.index("malignant") for label in predictions.labels]
    figures = operating_point.measure(predictions)
    assert figures is not None
    called = [said for said, is_malignant in zip(predictions.suspicious, malignant, strict=True) if is_malignant]
    assert figures.sensitivity.value == pytest.approx(np.mean(called))
    passed = [
        not said for said, is_malignant in zip(predictions.suspicious, malignant, strict=True) if not is_malignant
    ]
    assert figures.specificity.value == pytest.approx(np.mean(passed))


def test_bands_of_reliability_hold_every_slice_once_least_sure_first() -> None:
    confidence = np.linspace(0.5, 1, 100)
    bands = operating_point.reliability(confidence, confidence > 0.6, np.arange(100))
    assert [band.low for band in bands] == pytest.approx([0.5, 0.6262, 0.7525, 0.8787], abs=0.01)
    assert sum(band.n for band in bands) == 100
    assert [band.right.value for band in bands] == [pytest.approx(0.2, abs=0.04), 1, 1, 1]
    few = operating_point.reliability(confidence[:30], confidence[:30] > 0.6, np.arange(30))
    assert [band.n for band in few] == [30]


def test_classes_that_are_told_apart_and_classes_that_are_not() -> None:
    labels = np.tile([0, 1, 2], 40)
    rows = np.where(labels[:, None] == 1, [0.1, 0.8, 0.1], [0.45, 0.1, 0.45])
    predictions = msgspec.structs.replace(
        evaluation("bbmmnn"),
        slices=tuple(map(str, range(120))),
        labels=tuple(labels.tolist()),
        groups=tuple(range(120)),
        probabilities=tuple(map(tuple, rows.tolist())),
    )
    measured = operating_point.separability(predictions)
    assert [pair.classes for pair in measured] == [
        ("benign", "malignant"),
        ("benign", "normal"),
        ("malignant", "normal"),
    ]
    assert [pair.auc.value for pair in measured] == [1, 0.5, 1]
    assert [pair.is_shown for pair in measured] == [True, False, True]


def test_a_class_without_slices_is_not_compared() -> None:
    predictions = msgspec.structs.replace(evaluation("bbmmbb"), labels=(0, 0, 1, 1, 0, 0))
    assert [pair.classes for pair in operating_point.separability(predictions)] == [("benign", "malignant")]


def test_two_classes_are_compared_within_an_institution() -> None:
    """At `b` all are benign: that the model tells them from the normal ones at `a` may be the scanner's doing."""
    predictions = msgspec.structs.replace(
        evaluation("nnnnbb"),
        labels=(0, 0, 2, 2, 0, 0),
        groups=(0, 1, 2, 3, 4, 5),
        institutions=("a", "a", "a", "a", "b", "b"),
    )
    (pair,) = operating_point.separability(predictions)
    assert (pair.classes, pair.auc.value) == (("benign", "normal"), 0.5)
    apart = msgspec.structs.replace(predictions, institutions=("b", "b", "a", "a", "b", "b"))
    assert operating_point.separability(apart) == ()
