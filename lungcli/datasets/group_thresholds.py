"""Effect of the near-duplicate threshold: the number of groups, and the near-duplicates left in different groups."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import msgspec
import numpy as np
from numpy.typing import NDArray

from lungcli.datasets import groups, manifest
from lungcli.datasets.files import Advance, map_in_order
from lungcli.datasets.groups import NEAR, NEIGHBOUR, Order, Thumbs
from lungcli.datasets.manifest import Manifest
from lungcli.imaging.image_io import read
from lungcli.metrics.classification import Ints

NEARS = (0.80, 0.85, NEAR, 0.95, 0.98)


class PairScores(msgspec.Struct, frozen=True, kw_only=True):
    """How well groups match patients: of the pairs of slices in one group, the share of one patient (`precision`);
    of the pairs of slices of one patient, the share in one group (`recall`). None where there is no such pair.
    """

    precision: float | None
    recall: float | None


class ThresholdEffect(msgspec.Struct, frozen=True, kw_only=True):
    """Effect of grouping by correlation alone at the threshold `near`.

    `copies_apart` is the share of near copies (slices with another one at a correlation of at least 0.90) that have
    one in another group, where a split may put it on the other side; `alike_apart` the same from 0.80 on. Both are
    None where there are none. `pairs` needs a source that knows patients.
    """

    near: float
    groups: int
    largest: int
    copies_apart: float | None
    alike_apart: float | None
    pairs: PairScores | None


def evaluate_thresholds(data: Manifest, advance: Advance | None = None) -> tuple[ThresholdEffect, ...]:
    """Read every slice of a data set and return the effect of each threshold; `advance(done, total)` counts slices."""
    thumbs = read_thumbnails(data, advance)
    ordered = data.source.ordered
    return threshold_effects(
        thumbs,
        [item.sha256 for item in data.slices],
        [
            groups.sequence_position(item.label, PurePosixPath(item.path).name) if ordered else None
            for item in data.slices
        ],
        [item.patient for item in data.slices],
    )


def read_thumbnails(data: Manifest, advance: Advance | None = None) -> Thumbs:
    """Read every slice of a data set: thumbnails, float32 [n, 4096]. Raises UnreadableInputError."""
    folder = manifest.folder(data.name)
    return thumbnails_of([folder / item.path for item in data.slices], advance)


def thumbnails_of(files: Sequence[Path], advance: Advance | None = None) -> Thumbs:
    """Read slices from their files: thumbnails, float32 [n, 4096]. Raises UnreadableInputError."""

    def thumbnail(file: Path) -> Thumbs:
        return groups.thumbnail(read(file, colour=False).grey)

    thumbs = np.empty((len(files), groups.SIDE**2), dtype=np.float32)
    for i, row in enumerate(map_in_order(thumbnail, files, advance)):
        thumbs[i] = row
    return thumbs


def threshold_effects(
    thumbs: Thumbs,
    hashes: Sequence[str],
    order: Order,
    patients: Sequence[str] = (),
    thresholds: Sequence[float] = NEARS,
) -> tuple[ThresholdEffect, ...]:
    """Group slices at each of `thresholds` and return the effects; see `groups.near_duplicate_groups`.

    `thumbs` is float32 [n, 4096]. `patients`, where any is known, are not used to group but to score the groups.
    """
    groups_by_near = groups.groups_by_threshold(thresholds, thumbs, hashes, order)
    copies, alike = _shares_apart(thumbs, groups_by_near, NEAR), _shares_apart(thumbs, groups_by_near, NEIGHBOUR)
    return tuple(
        ThresholdEffect(
            near=near,
            groups=len(set(numbers.tolist())),
            largest=max(Counter(numbers.tolist()).values(), default=0),
            copies_apart=copies[i],
            alike_apart=alike[i],
            pairs=pair_scores(numbers.tolist(), patients) if any(patients) else None,
        )
        for i, (near, numbers) in enumerate(zip(thresholds, groups_by_near, strict=True))
    )


def pair_scores(numbers: Sequence[int], patients: Sequence[str]) -> PairScores:
    """Score groups against patients; slices whose patient is unknown (empty) are left out.

    Pairs are counted from the sizes of groups, patients and their overlaps, never listed.
    """
    pairs = [(number, patient) for number, patient in zip(numbers, patients, strict=True) if patient]
    both = _pairs(Counter(pairs))
    together = _pairs(Counter(number for number, _ in pairs))
    same = _pairs(Counter(patient for _, patient in pairs))
    return PairScores(precision=both / together if together else None, recall=both / same if same else None)


def _pairs(sizes: "Counter[int] | Counter[str] | Counter[tuple[int, str]]") -> int:
    return sum(size * (size - 1) // 2 for size in sizes.values())


def _shares_apart(thumbs: Thumbs, groupings: Sequence[Ints], min_correlation: float) -> list[float | None]:
    """Of the slices with another one at `min_correlation` or above, the share with one outside their own group."""
    paired: NDArray[np.bool_] = np.zeros(len(thumbs), dtype=np.bool_)
    crossing = np.zeros((len(groupings), len(thumbs)), dtype=np.bool_)
    for rows, columns, correlations in groups.correlation_blocks(thumbs):
        alike = correlations >= min_correlation
        if rows == columns:
            np.fill_diagonal(alike, val=False)
        if not alike.any():
            continue
        paired[rows] |= alike.any(axis=1)
        paired[columns] |= alike.any(axis=0)
        for numbers, marks in zip(groupings, crossing, strict=True):
            apart = alike & (numbers[rows, None] != numbers[None, columns])
            marks[rows] |= apart.any(axis=1)
            marks[columns] |= apart.any(axis=0)
    count = int(paired.sum())
    return [int(marks.sum()) / count if count else None for marks in crossing]
