"""Near-duplicate groups: slices so similar that a net trained on one has in effect seen the others.

The files of most data sets name no patient, so similarity stands in for it: exact copies, near copies, and neighbours
in file order that are still similar. A group is not a patient, and one patient may be in several groups.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lungcli.metrics.classification import Ints

Thumbs = NDArray[np.float32]
Mask = NDArray[np.bool_]

SIDE = 64
NEAR = 0.90
NEIGHBOUR = 0.80
# Slices of two named patients are of one person only if they are copies: crops around nodules resemble each other so
# much (.90 joins 1,895 of 4,997 in LIDC-IDRI) that similarity says less than names do.
COPY = 0.98
BLOCK = 1024

Order = Sequence[tuple[str, int] | None]


def thumbnail(grey: NDArray[np.float32] | NDArray[np.uint8]) -> Thumbs:
    """Reduce one slice [H, W] to a mean-centred vector of unit length: float32 [4096]; zeros when it is flat.

    The dot product of two thumbnails is the correlation of their pixels.
    """
    image = Image.fromarray(np.ascontiguousarray(grey, dtype=np.float32))
    small = np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BILINEAR)).reshape(-1).astype(np.float64)
    centred = small - small.mean()
    length = float(np.linalg.norm(centred))
    # In a flat picture only rounding errors remain, which would correlate with anything.
    if length <= 1e-6 * SIDE * max(1.0, float(np.abs(small).max())):
        return np.zeros(SIDE * SIDE, dtype=np.float32)
    unit: Thumbs = (centred / length).astype(np.float32)
    return unit


def near_duplicate_groups(
    thumbs: Thumbs,
    hashes: Sequence[str],
    order: Order,
    *,
    near: float = NEAR,
    patients: Sequence[str] = (),
    joined: Sequence[str] = (),
) -> Ints:
    """Number the near-duplicate groups: int64 [n], from 0 in order of each group's first slice.

    Groups are the connected components of: the same content (`hashes`), a correlation of at least `near`, and file
    numbers that follow each other in one folder (`order`: folder and number, or None where the name has no number)
    with a correlation of at least `NEIGHBOUR`. Slices of one named patient are always together, and so are those that
    are in one group already (`joined`: names of groups); those of two named patients only from `COPY` on.
    """
    return groups_by_threshold((near,), thumbs, hashes, order, patients=patients, joined=joined)[0]


def groups_by_threshold(
    thresholds: Sequence[float],
    thumbs: Thumbs,
    hashes: Sequence[str],
    order: Order,
    *,
    patients: Sequence[str] = (),
    joined: Sequence[str] = (),
) -> tuple[Ints, ...]:
    """Number the groups as `near_duplicate_groups` does, under each of `thresholds`, in one pass over all pairs."""
    start = np.arange(len(hashes), dtype=np.int64)
    for first, second in _certain_pairs(thumbs, hashes, order, patients, joined):
        _join(start, first, second)
    parents = [start.copy() for _ in thresholds]
    people = people_of(patients)
    for rows, columns, correlations in correlation_blocks(thumbs):
        for threshold, parents_of in zip(thresholds, parents, strict=True):
            alike = correlations >= threshold
            if people is not None:
                alike &= ~two_people(people[rows], people[columns], correlations)
            _join_block(parents_of, rows, columns, alike)
    return tuple(_numbered(_roots(parents_of)) for parents_of in parents)


def correlation_blocks(thumbs: Thumbs) -> Iterator[tuple[slice, slice, Thumbs]]:
    """Yield the correlations of all pairs in blocks of rows and columns, so that memory does not grow with n².

    Each pair is in one block or, on the diagonal, twice, with each slice paired with itself as well.
    """
    for top in range(0, len(thumbs), BLOCK):
        for left in range(top, len(thumbs), BLOCK):
            rows, columns = slice(top, top + BLOCK), slice(left, left + BLOCK)
            yield rows, columns, thumbs[rows] @ thumbs[columns].T


def sequence_position(label: str, filename: str) -> tuple[str, int] | None:
    """Series and number of a file: `Normal case (12).jpg` is number 12 of the files named `Normal case (…`."""
    # The last 18 digits: Python makes no number of more than 4,300.
    match = re.search(r"([0-9]{1,18})[^0-9]*$", PurePosixPath(filename).stem)
    return (f"{label}/{filename[: match.start()]}", int(match[1])) if match else None


def _certain_pairs(
    thumbs: Thumbs, hashes: Sequence[str], order: Order, patients: Sequence[str], joined: Sequence[str]
) -> Iterator[tuple[int, int]]:
    """Pairs that are in one group at any threshold."""
    for values in (hashes, patients, joined):
        yield from _equal_pairs(values)
    index_of: dict[tuple[str, int], int] = {position: i for i, position in enumerate(order) if position is not None}
    for (folder, number), i in index_of.items():
        successor = index_of.get((folder, number + 1))
        if successor is not None and float(thumbs[i] @ thumbs[successor]) >= NEIGHBOUR:
            yield i, successor


def _equal_pairs(values: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Pair each value with the first one equal to it; empty values are equal to nothing."""
    first: dict[str, int] = {}
    for i, value in enumerate(values):
        if value:
            yield first.setdefault(value, i), i


def people_of(patients: Sequence[str]) -> Ints | None:
    """Number of each slice's patient, -1 where it is unknown; None where all are."""
    numbers: dict[str, int] = {"": -1}
    people = [numbers.setdefault(patient, len(numbers)) for patient in patients]
    return np.array(people, dtype=np.int64) if len(numbers) > 1 else None


def two_people(ours: Ints, theirs: Ints, correlations: Thumbs) -> Mask:
    """Say of every pair whether both are of named patients who differ, and are no copies: bool [ours, theirs]."""
    two: Mask = (ours[:, None] != theirs[None]) & (ours[:, None] >= 0) & (theirs[None] >= 0) & (correlations < COPY)
    return two


def _join_block(parents: Ints, rows: slice, columns: slice, alike: Mask) -> None:
    """Join every pair of a block that is `alike`, in rounds: in each, every slice joins one group it is not in yet.

    A round at least halves the groups still to be joined (Borůvka 1926), so rounds are few, however many pairs there
    are; listing the pairs of 20,000 near copies would take gigabytes.
    """
    if not alike.any():
        return
    while True:
        roots = _roots(parents)
        apart = alike & (roots[rows, None] != roots[None, columns])
        joining = np.flatnonzero(apart.any(axis=1))
        if not len(joining):
            return
        joined = np.flatnonzero(apart.any(axis=0))
        pairs = [(joining, apart[joining].argmax(axis=1)), (apart[:, joined].argmax(axis=0), joined)]
        for firsts, seconds in pairs:
            for first, second in zip((firsts + rows.start).tolist(), (seconds + columns.start).tolist(), strict=True):
                _join(parents, first, second)


def _roots(parents: Ints) -> Ints:
    """Return the first slice of each slice's group, and compress all paths to it."""
    while not np.array_equal(shorter := parents[parents], parents):
        parents[:] = shorter
    return parents.copy()


def _root(parents: Ints, item: int) -> int:
    while (parent := int(parents[item])) != item:
        parents[item] = parents[parent]
        item = parent
    return item


def _join(parents: Ints, first: int, second: int) -> None:
    """Put two slices in one group, named after its earliest slice."""
    low, high = sorted((_root(parents, first), _root(parents, second)))
    parents[high] = low


def _numbered(roots: Ints) -> Ints:
    _, numbers = np.unique(roots, return_inverse=True)
    return numbers.astype(np.int64)


def members_by_group(groups: Sequence[int]) -> dict[int, tuple[int, ...]]:
    """Slices of every group, by group number."""
    members: defaultdict[int, list[int]] = defaultdict(list)
    for i, group in enumerate(groups):
        members[group].append(i)
    return {group: tuple(slices) for group, slices in members.items()}
