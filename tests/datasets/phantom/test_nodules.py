"""Drawn nodules for training, where no real ones are at hand."""

import numpy as np

from lungcli.datasets.phantom import nodules

CROPS, MASKS = nodules.crops(40, 3)


def test_each_is_one_bright_spot_in_the_middle_of_dark_lung() -> None:
    for crop, mask in zip(CROPS, MASKS, strict=True):
        assert mask[60:68, 60:68].mean() > 0.9
        assert not mask[[0, -1]].any()
        assert not mask[:, [0, -1]].any()
        # Nothing but noise is left outside: the mask is the whole nodule, but for its soft rim.
        assert crop[mask > 0].mean() > crop[mask == 0].mean() + 60
        assert crop[mask == 0].std() < 12


def test_they_are_of_all_sizes_that_transplants_need() -> None:
    diameters = 0.7 * 2 * np.sqrt(MASKS.sum(axis=(1, 2)) / np.pi)
    assert 10 < diameters.min() < 15 < 28 < diameters.max() < 40


def test_the_same_seed_draws_the_same_and_another_others() -> None:
    again, other = nodules.crops(2, 3)[0], nodules.crops(2, 4)[0]
    np.testing.assert_array_equal(again, CROPS[:2])
    assert (again != other).any()
