"""Connected regions of a small mask."""

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Labels = NDArray[np.intp]
Places = NDArray[np.intp]


def label(mask: Mask) -> tuple[Labels, NDArray[np.intp]]:
    """Number the connected regions (sides, not corners) of a mask [H, W]: [H, W] from 1, 0 outside; and their pixels.

    The sizes are [n + 1], that of the outside is 0.

    Runs along the rows are joined with the runs they touch one row above, so the work grows with the runs, not with
    the pixels: about 0.1 ms for a chest at 100 pixels, where importing scipy's would cost every start 0.1 s.
    """
    height, width = mask.shape
    edges = np.zeros((height, width + 2), dtype=np.bool_)
    edges[:, 1:-1] = mask
    # Where a row changes, runs begin and end by turns.
    changes = np.flatnonzero(edges[:, 1:] != edges[:, :-1])
    starts, ends = changes[::2], changes[1::2]
    first = np.array(_joined(starts, ends, width + 1), dtype=np.intp)
    # The first run of a region is the one that is its own first.
    numbers = (first == np.arange(len(first))).cumsum()
    lengths, regions = ends - starts, numbers[first]
    labels = np.zeros((height, width), dtype=np.intp)
    labels[mask] = np.repeat(regions, lengths)
    return labels, np.bincount(regions, lengths, 1).astype(np.intp)


def _joined(starts: Places, ends: Places, stride: int) -> list[int]:
    """First run of the region that each run belongs to; runs are in reading order, rows `stride` places apart."""
    touching = np.searchsorted(ends, starts - stride, side="right").tolist()
    beyond = np.searchsorted(starts, ends - stride, side="left").tolist()
    first = list(range(len(touching)))
    for run, (other, end) in enumerate(zip(touching, beyond, strict=True)):
        mine = run
        while other < end:
            root = other
            while first[root] != root:
                first[root] = root = first[first[root]]
            if root < mine:
                first[mine] = mine = root
            elif root > mine:
                first[root] = mine
            other += 1
    # A run points at an earlier one, whose answer is known by then.
    for run, earlier in enumerate(first):
        first[run] = first[earlier]
    return first
