"""Look-alike groups: slices so alike that a net which met one has met the others.

Files of the sets at hand name no patient, so likeness stands in for it: exact copies, near copies, and neighbours in
file order that still resemble each other. A group is not a patient, and one patient may be in several groups.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lungcli.core.metrics import Ints
from lungcli.data.read import Grey

Thumbs = NDArray[np.float32]

SIDE = 64
NEAR = 0.90
NEIGHBOUR = 0.80
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
    # What is left of a flat picture is rounding, which would correlate with anything.
    if length <= 1e-6 * SIDE * max(1.0, float(np.abs(small).max())):
        return np.zeros(SIDE * SIDE, dtype=np.float32)
    unit: Thumbs = (centred / length).astype(np.float32)
    return unit


def thumbnails(greys: Iterable[Grey]) -> Thumbs:
    """Thumbnails of many slices: float32 [n, 4096]."""
    rows = [thumbnail(grey) for grey in greys]
    return np.stack(rows) if rows else np.zeros((0, SIDE * SIDE), dtype=np.float32)


def look_alikes(
    thumbs: Thumbs,
    hashes: Sequence[str],
    order: Order,
    *,
    near: float = NEAR,
    neighbour: float = NEIGHBOUR,
    patients: Sequence[str] = (),
) -> Ints:
    """Number the look-alike groups: int64 [n], from 0 in order of each group's first slice.

    Groups are the connected components of: the same content (`hashes`), a correlation of at least `near`, and file
    numbers that follow each other in one folder (`order`: folder and number, or None where a name tells nothing)
    with a correlation of at least `neighbour`. Slices of one named patient are always together.
    """
    parents = list(range(len(hashes)))
    for first, second in _pairs(thumbs, hashes, order, near, neighbour, patients):
        _join(parents, first, second)
    numbers: dict[int, int] = {}
    found = [numbers.setdefault(_root(parents, i), len(numbers)) for i in range(len(parents))]
    return np.array(found, dtype=np.int64)


def exact_copies(hashes: Sequence[str]) -> int:
    """Count the slices whose content was there already under another name."""
    return len(hashes) - len(set(hashes))


def with_near_copy(thumbs: Thumbs, near: float = NEAR) -> int:
    """Count the slices that have at least one other slice at a correlation of at least `near`."""
    return len({i for pair in _near_pairs(thumbs, near) for i in pair})


def mixed(groups: Sequence[int], labels: Sequence[int]) -> int:
    """Count the groups that hold more than one class."""
    return sum(count > 1 for count in Counter(group for group, _ in set(zip(groups, labels, strict=True))).values())


def _pairs(
    thumbs: Thumbs, hashes: Sequence[str], order: Order, near: float, neighbour: float, patients: Sequence[str]
) -> Iterator[tuple[int, int]]:
    yield from _same(hashes)
    yield from _same(patients)
    yield from _near_pairs(thumbs, near)
    places: dict[tuple[str, int], int] = {place: i for i, place in enumerate(order) if place is not None}
    for (folder, number), i in places.items():
        after = places.get((folder, number + 1))
        if after is not None and float(thumbs[i] @ thumbs[after]) >= neighbour:
            yield i, after


def _same(values: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Pair each value with the first one equal to it; empty values are equal to nothing."""
    first: dict[str, int] = {}
    for i, value in enumerate(values):
        if value:
            yield first.setdefault(value, i), i


def _near_pairs(thumbs: Thumbs, near: float) -> Iterator[tuple[int, int]]:
    """Pairs at a correlation of at least `near`, a block against a block, so that memory does not grow with n²."""
    for top in range(0, len(thumbs), BLOCK):
        for left in range(top, len(thumbs), BLOCK):
            alike = thumbs[top : top + BLOCK] @ thumbs[left : left + BLOCK].T >= near
            rows, columns = np.nonzero(alike)
            distinct = rows + top < columns + left
            yield from zip((rows[distinct] + top).tolist(), (columns[distinct] + left).tolist(), strict=True)


def _root(parents: list[int], item: int) -> int:
    while parents[item] != item:
        parents[item] = parents[parents[item]]
        item = parents[item]
    return item


def _join(parents: list[int], first: int, second: int) -> None:
    """Put two slices in one group, named after its earliest slice."""
    low, high = sorted((_root(parents, first), _root(parents, second)))
    parents[high] = low


def members(groups: Sequence[int]) -> dict[int, tuple[int, ...]]:
    """Slices of every group, by group number."""
    found: defaultdict[int, list[int]] = defaultdict(list)
    for i, group in enumerate(groups):
        found[group].append(i)
    return {group: tuple(slices) for group, slices in found.items()}
