"""Batches of an epoch: every slice once, or classes and institutions drawn evenly."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lungcli.training import sampling


def test_shuffled_batches_hold_every_row_once_and_are_nearly_equal() -> None:
    batches = sampling.shuffled(np.arange(5, 50), seed=1, epoch=2, batches=4)

    assert sorted(np.concatenate(batches)) == list(range(5, 50))
    assert {len(batch) for batch in batches} == {11, 12}


def test_weights_of_a_small_example() -> None:
    labels = np.array([0, 0, 0, 0, 0, 1])
    institutions = np.array([0, 0, 0, 0, 1, 1])

    # Class 0: institutions 0 and 1 as √4 to √1, so 2/3 over four slices and 1/3 on one; each class gets a half.
    np.testing.assert_allclose(
        sampling.balancing_weights(labels, institutions), [1 / 12, 1 / 12, 1 / 12, 1 / 12, 1 / 6, 1 / 2]
    )


@given(arrays(np.int64, st.integers(1, 60), elements=st.integers(0, 3)), st.integers(0, 99))
def test_classes_are_even_for_any_labels(labels: np.ndarray, seed: int) -> None:
    institutions = np.random.default_rng(seed).integers(0, 3, len(labels))
    weights = sampling.balancing_weights(labels, institutions)

    present = np.unique(labels)
    np.testing.assert_allclose([weights[labels == label].sum() for label in present], 1 / len(present))
    assert (weights > 0).all()


def test_draws_follow_the_weights_and_repeat_by_seed_and_epoch() -> None:
    rows, weights = np.arange(100, 104), np.array([0.7, 0.3, 0.0, 0.0])
    many = np.concatenate([np.concatenate(sampling.drawn(rows, weights, 0, epoch, 2)) for epoch in range(500)])

    assert set(many) == {100, 101}
    assert abs((many == 100).mean() - 0.7) < 0.05
    one, again, other = (np.concatenate(sampling.drawn(rows, weights, 0, epoch, 2)).tolist() for epoch in (1, 1, 2))
    assert one == again
    assert one != other or one != np.concatenate(sampling.drawn(rows, weights, 0, 3, 2)).tolist()
