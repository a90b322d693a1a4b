"""Test-time augmentation: a slice as it is, mirrored, and shifted a little.

The prediction is the mean of the calibrated probabilities of ten views (Krizhevsky et al., NeurIPS 2012, section 4.1:
the mean over shifted and mirrored copies), at ten times the cost.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Slices = NDArray[np.uint8]

# Augmentation in training shifts slices further than this.
SHIFT = 1 / 48
_MOVES = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1))
COUNT = 2 * len(_MOVES)
RULE = (
    f"the mean of the calibrated probabilities of {COUNT} views: the slice and its mirror image, each as it is and "
    "moved up, down, left and right by 1/48 of its side"
)


def ten_views(slices: Slices) -> Iterator[Slices]:
    """Yield the ten views of slices (n, S, S), each contiguous (n, S, S), the unchanged one first.

    What moves in is black, as all outside the body is.
    """
    step = max(1, round(slices.shape[-1] * SHIFT))
    for down, right in _MOVES:
        moved = _shift(slices, down * step, right * step)
        yield moved
        yield np.ascontiguousarray(moved[:, :, ::-1])


def _shift(slices: Slices, down: int, right: int) -> Slices:
    if not (down or right):
        return slices
    moved = np.zeros_like(slices)
    rows, columns = slices.shape[1:]
    moved[:, max(0, down) : rows + min(0, down), max(0, right) : columns + min(0, right)] = slices[
        :, max(0, -down) : rows + min(0, -down), max(0, -right) : columns + min(0, -right)
    ]
    return moved
