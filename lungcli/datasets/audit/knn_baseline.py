"""The nearest-neighbour baseline on thumbnails, with and without a slice's near-duplicates."""

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from lungcli.core.errors import UsageError
from lungcli.datasets.groups import BLOCK, Thumbs, two_people
from lungcli.metrics import classification
from lungcli.metrics.classification import Ints

METHOD = "1-nearest-neighbour on 64×64 grey thumbnails, nothing learned"
LEAKAGE = "memory of the same bodies, not knowledge of lungs; a random split counts it as accuracy"


class NearestNeighbour(msgspec.Struct, frozen=True, kw_only=True):
    """Accuracy and balanced accuracy of predicting the class of the most similar other slice.

    `random_…` uses all other slices, nearly as a random split does; `grouped_…` only those outside the slice's own
    near-duplicate group. The difference between the two is leakage.
    """

    random_accuracy: float
    random_balanced: float
    grouped_accuracy: float
    grouped_balanced: float
    n: int
    groups: int


def nearest_neighbour_accuracy(thumbs: Thumbs, labels: Sequence[int], groups: Sequence[int]) -> NearestNeighbour:
    """Score leave-one-out 1-nearest-neighbour by correlation of thumbnails, float32 [n, 4096].

    `labels` and `groups` have one number per slice. Raises UsageError when there is only one group.
    """
    truth, group = np.array(labels, dtype=np.int64), np.array(groups, dtype=np.int64)
    count = len(set(group.tolist()))
    if count < 2:
        raise UsageError("all slices are of one near-duplicate group, so none has a neighbour outside of it")
    (nearest_any, _), (nearest_outside, _) = nearest(thumbs, [np.arange(len(thumbs)), group])
    random_accuracy, random_balanced = _figures(truth, truth[nearest_any])
    grouped_accuracy, grouped_balanced = _figures(truth, truth[nearest_outside])
    return NearestNeighbour(
        random_accuracy=random_accuracy,
        random_balanced=random_balanced,
        grouped_accuracy=grouped_accuracy,
        grouped_balanced=grouped_balanced,
        n=len(truth),
        groups=count,
    )


def nearest(
    thumbs: Thumbs, numberings: Sequence[Ints], people: Ints | None = None
) -> list[tuple[Ints, NDArray[np.float32]]]:
    """Find each slice's nearest neighbour among the slices with another number, for each of `numberings`.

    `thumbs` is float32 [n, 4096], each numbering int64 [n]: `arange(n)` allows any other slice, group numbers those of
    other groups. Returns for each the index, int64 [n], and correlation, float32 [n], of the neighbours: −inf where
    there is none. With `people` (see `groups.people_of`) slices of two named patients are no neighbours unless they are
    copies, as when groups are made. Slices are compared in blocks, so that memory does not grow with n².
    """
    neighbours = [(np.zeros(len(thumbs), dtype=np.int64), np.zeros(len(thumbs), dtype=np.float32)) for _ in numberings]
    for start in range(0, len(thumbs), BLOCK):
        rows = slice(start, start + BLOCK)
        alike: NDArray[np.float32] = thumbs[rows] @ thumbs.T
        if people is not None:
            alike[two_people(people[rows], people, alike)] = -np.inf
        for numbers, (index, correlation) in zip(numberings, neighbours, strict=True):
            allowed = np.where(numbers[rows, None] != numbers[None, :], alike, np.float32(-np.inf))
            index[rows] = allowed.argmax(axis=1)
            correlation[rows] = allowed.max(axis=1)
    return neighbours


def _figures(truth: Ints, predictions: Ints) -> tuple[float, float]:
    matrix = classification.confusion(truth, predictions, int(truth.max()) + 1)
    return float(classification.accuracy(matrix)), float(classification.balanced_accuracy(matrix))
