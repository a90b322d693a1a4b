"""Connected regions, against a flood fill that is too slow to use."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from lungcli.imaging.connected_components import Mask, label


def flooded(mask: Mask) -> list[set[tuple[int, int]]]:
    left = {(int(row), int(column)) for row, column in zip(*np.nonzero(mask), strict=True)}
    regions = []
    while left:
        waiting, region = [left.pop()], set()
        while waiting:
            row, column = waiting.pop()
            region.add((row, column))
            for near in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
                if near in left:
                    left.remove(near)
                    waiting.append(near)
        regions.append(region)
    return regions


@settings(deadline=None, max_examples=200)
@given(arrays.arrays(np.bool_, st.tuples(st.integers(1, 14), st.integers(1, 14))))
def test_regions_are_those_of_a_flood_fill(mask: Mask) -> None:
    numbers, sizes = label(mask)

    expected = flooded(mask)
    assert len(sizes) == len(expected) + 1
    np.testing.assert_array_equal(sizes[1:], np.bincount(numbers.ravel(), minlength=len(sizes))[1:])
    assert not numbers[~mask].any()
    found = [
        {(int(row), int(column)) for row, column in zip(*np.nonzero(numbers == region), strict=True)}
        for region in range(1, len(sizes))
    ]
    assert sorted(map(sorted, found)) == sorted(map(sorted, expected))


def test_numbers_follow_reading_order() -> None:
    mask = np.array([[0, 1, 0, 1], [0, 0, 0, 1], [1, 1, 0, 0]], dtype=np.bool_)

    np.testing.assert_array_equal(label(mask)[0], [[0, 1, 0, 2], [0, 0, 0, 2], [3, 3, 0, 0]])


def test_a_spiral_is_one_region() -> None:
    mask = np.ones((7, 7), dtype=np.bool_)
    mask[1, :6] = mask[1:6, 5] = mask[5, 1:6] = mask[3:6, 1] = mask[3, 1:4] = False

    assert label(mask)[1].tolist() == [0, mask.sum()]


@pytest.mark.parametrize("value", [True, False])
def test_all_or_nothing(value: bool) -> None:
    assert label(np.full((3, 5), value))[1].tolist() == ([0, 15] if value else [0])
