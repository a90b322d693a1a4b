"""What the threshold for near copies does: how many groups it makes, and how many look-alikes it leaves apart."""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePosixPath

import msgspec
import numpy as np
from numpy.typing import NDArray

from lungcli.datasets import groups
from lungcli.datasets.cache import Advance
from lungcli.datasets.groups import NEAR, NEIGHBOUR, Order, Thumbs
from lungcli.datasets.manifest import Manifest
from lungcli.datasets.manifest import folder as folder_of
from lungcli.imaging.image_io import read
from lungcli.metrics.classification import Ints

NEARS = (0.80, 0.85, NEAR, 0.95, 0.98)


class PairScores(msgspec.Struct, frozen=True, kw_only=True):
    """How well groups find patients: of the pairs of slices in one group, the share of one patient (`precision`);
    of the pairs of slices of one patient, the share in one group (`recall`). None where there is no such pair.
    """

    precision: float | None
    recall: float | None


class ThresholdEffect(msgspec.Struct, frozen=True, kw_only=True):
    """What grouping by likeness alone does under the threshold `near`.

    `copies_apart` is the share of near copies (slices with another one at a correlation of at least 0.90) that have
    such a one in another group, where a split may put it on the other side; `alike_apart` the same from 0.80 on.
    None where no slice has such another one. `pairs` needs a source that knows patients.
    """

    near: float
    groups: int
    largest: int
    copies_apart: float | None
    alike_apart: float | None
    pairs: PairScores | None


def evaluate_thresholds(manifest: Manifest, advance: Advance | None = None) -> tuple[ThresholdEffect, ...]:
    """Read every slice of a data set and say what each threshold would do; `advance(done, total)` hears of each."""
    thumbs = read_thumbnails(manifest, advance)
    ordered = manifest.source.ordered
    return threshold_effects(
        thumbs,
        [item.sha256 for item in manifest.slices],
        [
            groups.sequence_position(item.label, PurePosixPath(item.path).name) if ordered else None
            for item in manifest.slices
        ],
        [item.patient for item in manifest.slices],
    )


def read_thumbnails(manifest: Manifest, advance: Advance | None = None) -> Thumbs:
    """Read every slice of a data set: thumbnails, float32 [n, 4096]. Raises UnreadableInputError."""
    folder = folder_of(manifest.name)
    thumbs = np.empty((len(manifest.slices), groups.SIDE**2), dtype=np.float32)
    pool = ThreadPoolExecutor()
    try:
        rows = pool.map(lambda item: groups.thumbnail(read(folder / item.path, colour=False).grey), manifest.slices)
        for i, row in enumerate(rows):
            thumbs[i] = row
            if advance is not None:
                advance(i + 1, len(thumbs))
    finally:
        # Who interrupts waits for the slices at hand, not for the rest of the set.
        pool.shutdown(wait=True, cancel_futures=True)
    return thumbs


def threshold_effects(
    thumbs: Thumbs,
    hashes: Sequence[str],
    order: Order,
    patients: Sequence[str] = (),
    nears: Sequence[float] = NEARS,
) -> tuple[ThresholdEffect, ...]:
    """Group slices under every threshold of `nears`, and say what each does; see `groups.near_duplicate_groups`.

    `thumbs` is float32 [n, 4096]. `patients`, where any is known, are not used to group but to judge the groups.
    """
    found = groups.groups_by_threshold(nears, thumbs, hashes, order)
    copies, alike = _shares_apart(thumbs, found, NEAR), _shares_apart(thumbs, found, NEIGHBOUR)
    return tuple(
        ThresholdEffect(
            near=near,
            groups=len(set(numbers.tolist())),
            largest=max(Counter(numbers.tolist()).values(), default=0),
            copies_apart=copies[i],
            alike_apart=alike[i],
            pairs=pair_scores(numbers.tolist(), patients) if any(patients) else None,
        )
        for i, (near, numbers) in enumerate(zip(nears, found, strict=True))
    )


def pair_scores(numbers: Sequence[int], patients: Sequence[str]) -> PairScores:
    """Judge groups by the patients they should find; slices whose patient is not known (empty) don't count.

    Pairs are counted from the sizes of groups, of patients and of their overlaps, never listed.
    """
    known = [(number, patient) for number, patient in zip(numbers, patients, strict=True) if patient]
    both = _pairs(Counter(known))
    together = _pairs(Counter(number for number, _ in known))
    same = _pairs(Counter(patient for _, patient in known))
    return PairScores(precision=both / together if together else None, recall=both / same if same else None)


def _pairs(sizes: "Counter[int] | Counter[str] | Counter[tuple[int, str]]") -> int:
    return sum(size * (size - 1) // 2 for size in sizes.values())


def _shares_apart(thumbs: Thumbs, found: Sequence[Ints], level: float) -> list[float | None]:
    """Of the slices with another one at `level` or above, the share with such a one outside their own group."""
    paired: NDArray[np.bool_] = np.zeros(len(thumbs), dtype=np.bool_)
    crossing = np.zeros((len(found), len(thumbs)), dtype=np.bool_)
    for rows, columns, correlations in groups.correlation_blocks(thumbs):
        alike = correlations >= level
        if rows == columns:
            np.fill_diagonal(alike, val=False)
        if not alike.any():
            continue
        paired[rows] |= alike.any(axis=1)
        paired[columns] |= alike.any(axis=0)
        for numbers, marks in zip(found, crossing, strict=True):
            apart = alike & (numbers[rows, None] != numbers[None, columns])
            marks[rows] |= apart.any(axis=1)
            marks[columns] |= apart.any(axis=0)
    count = int(paired.sum())
    return [int(marks.sum()) / count if count else None for marks in crossing]
