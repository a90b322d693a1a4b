"""Batches of an epoch: every slice once, or classes and institutions drawn evenly."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lungcli.training import sampling


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


def test_every_step_has_a_seed_of_its_own_that_never_changes() -> None:
    """A run that an earlier version began goes on with the draws it would have made."""
    assert sampling.seed_of(0, 1, 2) == 4444528474906858
    seeds = {sampling.seed_of(seed, epoch, batch) for seed in range(3) for epoch in range(9) for batch in range(-1, 9)}
    assert len(seeds) == 3 * 9 * 10


@given(st.integers(2, 200), st.integers(2, 64), st.integers(0, 5))
def test_an_epoch_has_every_slice_once_in_batches_of_nearly_equal_size(count: int, batch: int, epoch: int) -> None:
    rows = np.arange(count)
    batches = sampling.shuffled(rows, 0, epoch, -(-count // batch))
    assert sorted(np.concatenate(batches).tolist()) == rows.tolist()
    sizes = {len(part) for part in batches}
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) <= batch
