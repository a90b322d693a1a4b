"""The bootstrap over near-duplicate groups."""

import numpy as np
import pytest

from lungcli.metrics import classification, intervals
from lungcli.metrics.classification import Ints


def sample(rng: np.random.Generator, groups: int, each: int, accuracy: float) -> tuple[Ints, Ints, Ints]:
    """Slices of `groups` groups, classified correctly or not group by group."""
    group = np.repeat(np.arange(groups), each)
    labels = np.repeat(rng.integers(0, 3, groups), each)
    good = np.repeat(rng.random(groups) < accuracy, each)
    return labels, np.where(good, labels, (labels + 1) % 3), group


def test_groups_are_summed_whole() -> None:
    labels, predicted = np.array([0, 1, 1, 2]), np.array([0, 1, 2, 2])
    matrices = intervals.confusion_by_group(labels, predicted, np.array([7, 7, 9, 9]), 3)
    assert matrices.shape == (2, 3, 3)
    np.testing.assert_array_equal(matrices[0], [[1, 0, 0], [0, 1, 0], [0, 0, 0]])
    np.testing.assert_array_equal(matrices.sum(axis=0), classification.confusion(labels, predicted, 3))


def test_every_resample_draws_as_many_groups_as_there_are() -> None:
    draws = intervals.bootstrap_counts(12)
    assert draws.shape == (intervals.RESAMPLES, 12)
    assert set(draws.sum(axis=1)) == {12.0}


def test_draws_are_two_thousand_of_one_seed() -> None:
    expected = np.random.default_rng(0).multinomial(5, [0.2] * 5, size=2000)
    np.testing.assert_array_equal(intervals.bootstrap_counts(5), expected)


def test_interval_holds_the_value_and_is_the_same_every_time() -> None:
    labels, predicted, groups = sample(np.random.default_rng(0), 40, 8, 0.7)
    matrices = intervals.confusion_by_group(labels, predicted, groups, 3)
    first = intervals.estimate(classification.accuracy, matrices)
    assert first == intervals.estimate(classification.accuracy, matrices)
    assert first.low is not None
    assert first.value is not None
    assert first.high is not None
    assert first.low < first.value < first.high


def test_interval_leaves_two_and_a_half_percent_on_each_side() -> None:
    labels, predicted, groups = sample(np.random.default_rng(0), 100, 3, 0.7)
    matrices = intervals.confusion_by_group(labels, predicted, groups, 3)
    found = intervals.estimate(classification.balanced_accuracy, matrices)
    resampled = classification.balanced_accuracy(intervals.resample(matrices))
    assert found.low is not None
    assert found.high is not None
    assert (resampled < found.low).mean() == pytest.approx(0.025, abs=0.001)
    assert (resampled > found.high).mean() == pytest.approx(0.025, abs=0.001)


def test_near_duplicates_widen_the_interval() -> None:
    """320 slices in 40 groups that stand or fall together know less than 320 that do not."""
    labels, predicted, groups = sample(np.random.default_rng(0), 40, 8, 0.7)
    together = intervals.estimate(classification.accuracy, intervals.confusion_by_group(labels, predicted, groups, 3))
    alone = intervals.estimate(
        classification.accuracy, intervals.confusion_by_group(labels, predicted, np.arange(len(labels)), 3)
    )
    assert together.low is not None
    assert together.high is not None
    assert alone.low is not None
    assert alone.high is not None
    assert together.high - together.low > 2 * (alone.high - alone.low)


def test_interval_covers_95_percent_of_samples() -> None:
    """Of 200 experiments with a known accuracy, the interval holds it about as often as it says."""
    held = 0
    for seed in range(200):
        labels, predicted, groups = sample(np.random.default_rng(seed), 60, 3, 0.7)
        found = intervals.estimate(
            classification.accuracy, intervals.confusion_by_group(labels, predicted, groups, 3), seed
        )
        held += found.low is not None and found.high is not None and found.low <= 0.7 <= found.high
    assert 0.90 <= held / 200 <= 0.99


def test_a_model_does_not_differ_from_itself() -> None:
    labels, predicted, groups = sample(np.random.default_rng(0), 30, 5, 0.7)
    matrices = intervals.confusion_by_group(labels, predicted, groups, 3)
    same = intervals.paired_difference(classification.balanced_accuracy, matrices, matrices)
    assert (same.value, same.low, same.high) == (0, 0, 0)


def test_pairing_narrows_the_difference() -> None:
    rng = np.random.default_rng(0)
    labels, predicted, groups = sample(rng, 40, 8, 0.7)
    other = predicted.copy()
    other[:8] = labels[:8]
    ours, theirs = (intervals.confusion_by_group(labels, v, groups, 3) for v in (other, predicted))
    paired = intervals.paired_difference(classification.accuracy, ours, theirs)
    single = intervals.estimate(classification.accuracy, theirs)
    assert paired.low is not None
    assert paired.high is not None
    assert single.low is not None
    assert single.high is not None
    assert paired.high - paired.low < (single.high - single.low) / 2


def test_no_slices_of_a_class_is_no_figure() -> None:
    matrices = intervals.confusion_by_group(np.array([0, 0]), np.array([0, 1]), np.array([0, 1]), 3)
    missing = intervals.estimate(classification.recall_of(2), matrices)
    assert missing.value is None
    assert pytest.approx(0.5) == intervals.estimate(classification.recall_of(0), matrices).value


def test_a_share_by_hand() -> None:
    """Wilson's limits for 5 of 10, which a textbook gives as .2366 and .7634."""
    found = intervals.share_estimate(np.arange(10) < 5, np.arange(10))
    assert (found.value, found.low, found.high) == pytest.approx((0.5, 0.2366, 0.7634), abs=1e-4)


def test_a_share_of_all_is_not_certain() -> None:
    found = intervals.share_estimate(np.ones(40, dtype=bool), np.arange(40) // 4)
    assert (found.value, found.high) == (1, 1)
    none = intervals.share_estimate(np.zeros(10, dtype=bool), np.arange(10))
    assert none.high is not None
    assert found.low == pytest.approx(1 - none.high, abs=1e-9)


def test_one_large_group_counts_for_little_more_than_itself() -> None:
    even = intervals.share_estimate(np.arange(40) % 2 == 0, np.arange(40) // 4)
    uneven = intervals.share_estimate(np.arange(40) % 2 == 0, np.maximum(np.arange(40) - 30, 0))
    assert even.low is not None
    assert uneven.low is not None
    assert uneven.low < even.low
    assert intervals.share_estimate(np.zeros(0, dtype=bool), np.zeros(0, dtype=np.int64)).value is None


def test_a_p_value_below_a_level_is_an_interval_that_leaves_out_zero() -> None:
    """Both come from the same resamples; only counts right at the edge may disagree."""
    rng = np.random.default_rng(5)
    seen = set()
    for right in (0.6, 0.7, 0.8, 0.9, 0.97):
        labels, worse, group = sample(rng, 40, 3, right)
        ours, theirs = (intervals.confusion_by_group(labels, predicted, group, 3) for predicted in (labels, worse))
        found = intervals.paired_difference(classification.balanced_accuracy, ours, theirs)
        p = intervals.paired_p(classification.balanced_accuracy, ours, theirs)
        assert found.low is not None
        assert p is not None
        assert (p < 0.05) == (found.low > 0)
        seen.add(p < 0.05)
    assert seen == {True, False}


def test_no_p_value_without_a_figure_and_none_of_zero() -> None:
    matrices = intervals.confusion_by_group(np.array([0, 0]), np.array([0, 1]), np.array([0, 1]), 3)
    assert intervals.paired_p(classification.recall_of(2), matrices, matrices) is None
    assert intervals.paired_p(classification.accuracy, matrices, matrices) == 1


def test_folds_without_a_figure_are_left_out_of_its_spread() -> None:
    found = intervals.over_folds([0.5, float("nan"), 0.7])
    assert found.folds == 2
    assert found.mean.value == pytest.approx(0.6)
    assert intervals.over_folds([0.5]).deviation is None
    assert intervals.over_folds([float("nan")]).mean.value is None
