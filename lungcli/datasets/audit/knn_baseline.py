"""How far memory alone gets: the nearest neighbour on thumbnails, with and without a slice's look-alikes."""

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from lungcli.core.errors import UsageError
from lungcli.datasets.groups import BLOCK, Thumbs
from lungcli.metrics import classification
from lungcli.metrics.classification import Ints

METHOD = "1-nearest-neighbour on 64×64 grey thumbnails, nothing learned"
LEAKAGE = "memory of the same bodies, not knowledge of lungs; a random split counts it as accuracy"


class NearestNeighbour(msgspec.Struct, frozen=True, kw_only=True):
    """Accuracy and balanced accuracy of copying the class of the most alike other slice.

    `random_…` may look at all other slices, as a random split nearly does; `grouped_…` only outside the slice's own
    look-alike group. The distance between the two is the leak.
    """

    random_accuracy: float
    random_balanced: float
    grouped_accuracy: float
    grouped_balanced: float
    n: int
    groups: int


def nearest_neighbour_accuracy(thumbs: Thumbs, labels: Sequence[int], groups: Sequence[int]) -> NearestNeighbour:
    """Leave-one-out 1-nearest-neighbour by correlation on thumbnails, float32 [n, 4096], which learns nothing.

    `labels` and `groups` have one number a slice. Raises UsageError when all slices are of one look-alike group.
    """
    truth, group = np.array(labels, dtype=np.int64), np.array(groups, dtype=np.int64)
    count = len(set(group.tolist()))
    if count < 2:
        raise UsageError("all slices are of one look-alike group, so none has a neighbour outside of it")
    (anyone, _), (strangers, _) = nearest(thumbs, [np.arange(len(thumbs)), group])
    random_accuracy, random_balanced = _figures(truth, truth[anyone])
    grouped_accuracy, grouped_balanced = _figures(truth, truth[strangers])
    return NearestNeighbour(
        random_accuracy=random_accuracy,
        random_balanced=random_balanced,
        grouped_accuracy=grouped_accuracy,
        grouped_balanced=grouped_balanced,
        n=len(truth),
        groups=count,
    )


def nearest(thumbs: Thumbs, aparts: Sequence[Ints]) -> list[tuple[Ints, NDArray[np.float32]]]:
    """Find the most alike slice among those that differ in a number, for each way of numbering in `aparts`.

    `thumbs` is float32 [n, 4096], each of `aparts` int64 [n]: `arange(n)` means any other slice, group numbers mean
    slices of other groups. Returns for each its index, int64 [n], and correlation, float32 [n]: −inf where no slice
    differs. Slices are compared a block against all, so that memory does not grow with n².
    """
    found = [(np.zeros(len(thumbs), dtype=np.int64), np.zeros(len(thumbs), dtype=np.float32)) for _ in aparts]
    for start in range(0, len(thumbs), BLOCK):
        rows = slice(start, start + BLOCK)
        alike: NDArray[np.float32] = thumbs[rows] @ thumbs.T
        for apart, (index, correlation) in zip(aparts, found, strict=True):
            allowed = np.where(apart[rows, None] != apart[None, :], alike, np.float32(-np.inf))
            index[rows] = allowed.argmax(axis=1)
            correlation[rows] = allowed.max(axis=1)
    return found


def _figures(truth: Ints, verdicts: Ints) -> tuple[float, float]:
    matrix = classification.confusion(truth, verdicts, int(truth.max()) + 1)
    return float(classification.accuracy(matrix)), float(classification.balanced_accuracy(matrix))
