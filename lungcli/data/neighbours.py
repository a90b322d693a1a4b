"""How far memory alone gets: the nearest neighbour on thumbnails, with and without a slice's look-alikes."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import msgspec
import numpy as np
from numpy.typing import NDArray

from lungcli.core import metrics
from lungcli.core.errors import UsageError
from lungcli.core.metrics import Ints
from lungcli.data.cache import Advance
from lungcli.data.groups import BLOCK, Thumbs, thumbnail
from lungcli.data.manifest import Manifest
from lungcli.data.manifest import folder as folder_of
from lungcli.data.read import read


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
    anyone, strangers = _nearest(thumbs, group)
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


def of(manifest: Manifest, advance: Advance | None = None) -> NearestNeighbour:
    """Read every slice of a data set and measure the leak; `advance(done, total)` hears of each slice."""
    folder = folder_of(manifest.name)
    with ThreadPoolExecutor() as pool:
        rows = []
        for row in pool.map(lambda item: thumbnail(read(folder / item.path).grey), manifest.slices):
            rows.append(row)
            if advance is not None:
                advance(len(rows), len(manifest.slices))
    return nearest_neighbour_accuracy(np.stack(rows), manifest.labels(), [item.group for item in manifest.slices])


def _nearest(thumbs: Thumbs, group: Ints) -> tuple[Ints, Ints]:
    """Index of the most alike other slice, and of the most alike one of another group: int64 [n] each."""
    anyone = np.zeros(len(thumbs), dtype=np.int64)
    strangers = np.zeros(len(thumbs), dtype=np.int64)
    for start in range(0, len(thumbs), BLOCK):
        rows = slice(start, start + BLOCK)
        alike: NDArray[np.float32] = thumbs[rows] @ thumbs.T
        own = np.arange(start, start + len(alike))
        alike[np.arange(len(alike)), own] = -np.inf
        anyone[rows] = alike.argmax(axis=1)
        alike[group[rows, None] == group[None, :]] = -np.inf
        strangers[rows] = alike.argmax(axis=1)
    return anyone, strangers


def _figures(truth: Ints, verdicts: Ints) -> tuple[float, float]:
    matrix = metrics.confusion(truth, verdicts, int(truth.max()) + 1)
    return float(metrics.accuracy(matrix)), float(metrics.balanced_accuracy(matrix))
