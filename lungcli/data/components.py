"""Connected regions of a small mask."""

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


def label(mask: Mask) -> tuple[NDArray[np.int32], int]:
    """Number the connected regions (sides, not corners) of a mask [H, W]: int32 [H, W] from 1, 0 outside; and how many.

    Runs along the rows are joined with the runs they touch one row above, so the work grows with the runs, not with
    the pixels: about 0.1 ms for a chest at 100 pixels, where importing scipy's would cost every start 0.1 s.
    """
    height, width = mask.shape
    edges = np.zeros((height, width + 2), dtype=np.bool_)
    edges[:, 1:-1] = mask
    # Where a row changes, runs begin and end by turns.
    changes = np.flatnonzero(edges[:, 1:] != edges[:, :-1])
    rows, starts = np.divmod(changes[::2], width + 1)
    ends = changes[1::2] - rows * (width + 1)
    parents = _joined(rows.tolist(), starts.tolist(), ends.tolist())
    numbers: dict[int, int] = {}
    of_run = [numbers.setdefault(parent, len(numbers) + 1) for parent in parents]
    found = np.zeros((height, width), dtype=np.int32)
    found[mask] = np.repeat(np.array(of_run, dtype=np.int32), ends - starts)
    return found, len(numbers)


def _joined(rows: list[int], starts: list[int], ends: list[int]) -> list[int]:
    """First run of the region that each run belongs to; runs are in reading order."""
    parents = list(range(len(rows)))

    def root(run: int) -> int:
        while parents[run] != run:
            parents[run] = parents[parents[run]]
            run = parents[run]
        return run

    above = 0
    for run, (row, start, end) in enumerate(zip(rows, starts, ends, strict=True)):
        while rows[above] < row - 1 or (rows[above] == row - 1 and ends[above] <= start):
            above += 1
        mine, touching = run, above
        while rows[touching] < row and starts[touching] < end:
            other = root(touching)
            if other < mine:
                parents[mine] = mine = other
            elif other > mine:
                parents[other] = mine
            touching += 1
    return [root(run) for run in range(len(parents))]
