"""Figures against hand computation and against their definitions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lungcli.metrics import calibration, classification
from lungcli.metrics.classification import Ints

# 10 benign (6 found), 20 malignant (18 found), 30 normal (24 found).
MATRIX = np.array([[6, 1, 3], [1, 18, 1], [4, 2, 24]])

pairs = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=60)


def test_by_hand() -> None:
    assert classification.recalls(MATRIX) == pytest.approx([0.6, 0.9, 0.8])
    assert classification.precisions(MATRIX) == pytest.approx([6 / 11, 18 / 21, 24 / 28])
    assert classification.balanced_accuracy(MATRIX) == pytest.approx((0.6 + 0.9 + 0.8) / 3)
    assert classification.accuracy(MATRIX) == pytest.approx(48 / 60)
    assert classification.recall_of(1)(MATRIX) == pytest.approx(0.9)
    assert classification.specificity_of(1)(MATRIX) == pytest.approx(1 - 3 / 40)
    expected = (10 * 11 + 20 * 21 + 30 * 28) / 60**2
    assert classification.kappa(MATRIX) == pytest.approx((0.8 - expected) / (1 - expected))
    assert classification.macro_f1(MATRIX) == pytest.approx(np.mean([12 / 21, 36 / 41, 48 / 58]))


def test_a_class_without_slices_does_not_count() -> None:
    matrix = np.array([[3, 1, 0], [0, 4, 0], [0, 0, 0]])
    assert classification.balanced_accuracy(matrix) == pytest.approx((0.75 + 1) / 2)
    assert np.isnan(classification.recalls(matrix)[2])
    assert np.isnan(classification.balanced_accuracy(np.zeros((3, 3), dtype=np.int64)))


@given(pairs)
def test_confusion_counts_every_slice(pairs: list[tuple[int, int]]) -> None:
    labels, given_ = (np.array(column, dtype=np.int64) for column in zip(*pairs, strict=True))
    matrix = classification.confusion(labels, given_, 3)
    assert matrix.sum() == len(pairs)
    assert classification.accuracy(matrix) == pytest.approx(float((labels == given_).mean()))
    for label in range(3):
        assert matrix[label].sum() == (labels == label).sum()


@given(st.lists(pairs, min_size=2, max_size=4))
def test_stacked_matrices_give_the_same_as_one_by_one(many: list[list[tuple[int, int]]]) -> None:
    matrices: list[Ints] = [
        classification.confusion(np.array([a for a, _ in pairs]), np.array([b for _, b in pairs]), 3) for pairs in many
    ]
    for figure in (
        classification.balanced_accuracy,
        classification.kappa,
        classification.macro_f1,
        classification.specificity_of(1),
    ):
        together = figure(np.stack(matrices))
        np.testing.assert_allclose(together, [figure(matrix) for matrix in matrices])


def test_softmax_is_calibrated_by_temperature() -> None:
    logits = np.array([[2.0, 0.0, -2.0]], dtype=np.float32)
    assert calibration.softmax(logits).sum() == pytest.approx(1)
    assert calibration.softmax(logits, 4.0).max() < calibration.softmax(logits).max()
    assert np.isfinite(calibration.softmax(np.array([[1e4, -1e4]]))).all()


def test_probability_scores_by_hand() -> None:
    probabilities = np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]])
    labels = np.array([0, 1])
    assert calibration.negative_log_likelihood(probabilities, labels) == pytest.approx(-(np.log(0.7) + np.log(0.3)) / 2)
    brier = ((0.3**2 + 0.2**2 + 0.1**2) + (0.1**2 + 0.7**2 + 0.6**2)) / 2
    assert calibration.brier_score(probabilities, labels) == pytest.approx(brier)
    # One slice right at 0.7, one wrong at 0.6, in different bins.
    assert calibration.expected_calibration_error(probabilities, labels) == pytest.approx((0.3 + 0.6) / 2)


def test_perfect_confidence_is_perfectly_calibrated() -> None:
    probabilities = np.eye(3)[[0, 1, 2, 1]]
    assert calibration.expected_calibration_error(probabilities, np.array([0, 1, 2, 1])) == 0
