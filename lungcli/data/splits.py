"""Which slices train, which validate and which test: by look-alike group, or at random as the literature does."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from typing import Literal, get_args

import msgspec

from lungcli.core.errors import UsageError
from lungcli.data.manifest import Manifest

Protocol = Literal["grouped", "random"]

PARTS = ("train", "val", "test")
FRACTIONS = (0.64, 0.16, 0.20)

# A group that is more than this of a class in val or test trains instead: figures that rest on two groups say little.
MOST_OF_A_CLASS = 1 / 3

# How many slices of each class: of a unit (a group or a slice), or still wanted by a part.
Counts = list[float]


class Split(msgspec.Struct, frozen=True, kw_only=True):
    """The three parts as sorted indices into `manifest.slices`. Equal digests mean equal parts of equal data."""

    train: tuple[int, ...]
    val: tuple[int, ...]
    test: tuple[int, ...]
    protocol: Protocol
    seed: int
    digest: str


def split(
    manifest: Manifest,
    protocol: Protocol = "grouped",
    seed: int = 0,
    fractions: tuple[float, float, float] = FRACTIONS,
) -> Split:
    """Divide the slices into train, val and test, each class in about the given `fractions`.

    `grouped` keeps every look-alike group on one side; `random` divides slice by slice, which lets look-alikes leak
    from training into the test. Large units are placed first, each in a part drawn with chances that follow what the
    part still lacks of its classes. Order and chances come from sha256, so a seed means the same split everywhere.

    Raises UsageError for a protocol or fractions that can't be meant, for fewer than two classes, and for a class
    with fewer than three units, which can't be in all parts.
    """
    _check(manifest, protocol, fractions)
    units = _units(manifest, protocol)
    labels = manifest.labels()
    counts = [_count(unit, labels, len(manifest.classes)) for unit in units]
    _require_three(manifest, counts, protocol)
    keys = [_key(manifest, unit, seed) for unit in units]
    chosen = _spread(_place(counts, keys, fractions), counts, keys)
    parts = [
        tuple(sorted(i for unit, part in zip(units, chosen, strict=True) if part == wanted for i in unit))
        for wanted in range(len(PARTS))
    ]
    digest = hashlib.sha256(msgspec.json.encode((manifest.digest, protocol, seed, parts))).hexdigest()
    return Split(train=parts[0], val=parts[1], test=parts[2], protocol=protocol, seed=seed, digest=digest)


def part_of(divided: Split, name: str) -> tuple[int, ...]:
    """Return the slices of the part called `train`, `val` or `test`. Raises UsageError for another name."""
    parts = {"train": divided.train, "val": divided.val, "test": divided.test}
    if name not in parts:
        raise UsageError(f"unknown part {name!r}", f"known: {', '.join(PARTS)}")
    return parts[name]


def _check(manifest: Manifest, protocol: str, fractions: Sequence[float]) -> None:
    if protocol not in get_args(Protocol):
        raise UsageError(f"unknown split protocol {protocol!r}", f"known: {', '.join(get_args(Protocol))}")
    if min(fractions) <= 0 or abs(sum(fractions) - 1) > 1e-6:
        raise UsageError(f"the parts {fractions} of a split must be above 0 and sum to 1", "for example 0.64 0.16 0.20")
    if len(manifest.classes) < 2:
        raise UsageError(
            f"the data set {manifest.name!r} has fewer than two classes, and a classifier needs two",
            "import a data set with one folder for each class",
        )


def _units(manifest: Manifest, protocol: Protocol) -> list[list[int]]:
    """Slices that go together, in file order."""
    if protocol == "random":
        return [[i] for i in range(len(manifest.slices))]
    members: defaultdict[int, list[int]] = defaultdict(list)
    for i, item in enumerate(manifest.slices):
        members[item.group].append(i)
    return list(members.values())


def _count(unit: Sequence[int], labels: Sequence[int], classes: int) -> Counts:
    found = [0.0] * classes
    for i in unit:
        found[labels[i]] += 1
    return found


def _require_three(manifest: Manifest, counts: Sequence[Counts], protocol: Protocol) -> None:
    what = "look-alike groups" if protocol == "grouped" else "slices"
    for k, label in enumerate(manifest.classes):
        number = sum(count[k] > 0 for count in counts)
        if number < len(PARTS):
            raise UsageError(
                f"the class {label!r} has {number} {what[:-1] if number == 1 else what}, and a split into train, val "
                f"and test needs at least {len(PARTS)}",
                f"import more {label} slices, of other people, or leave the class out",
            )


def _key(manifest: Manifest, unit: Sequence[int], seed: int) -> str:
    """Return what orders a unit under a seed; it depends on the content alone, not on how groups are numbered."""
    names = sorted((manifest.slices[i].sha256, manifest.slices[i].path) for i in unit)
    return hashlib.sha256(msgspec.json.encode((seed, names))).hexdigest()


def _place(counts: Sequence[Counts], keys: Sequence[str], fractions: Sequence[float]) -> list[int]:
    """Give every unit a part, the larger ones first while every part still has room."""
    totals = [sum(column) for column in zip(*counts, strict=True)]
    lacks = [[fraction * total for total in totals] for fraction in fractions]
    limits = [totals, *([max(1.0, lack * MOST_OF_A_CLASS) for lack in part] for part in lacks[1:])]
    chosen = [0] * len(counts)
    # Sizes within a factor of two count as equal, so that seeds differ in the large units too.
    for i in sorted(range(len(counts)), key=lambda i: (-int(sum(counts[i])).bit_length(), keys[i])):
        own = [k for k, number in enumerate(counts[i]) if number]
        needs = [sum(counts[i][k] * lack[k] / totals[k] for k in own) for lack in lacks]
        fits = [
            all(counts[i][k] <= min(lack[k], limit[k]) for k in own) for lack, limit in zip(lacks, limits, strict=True)
        ]
        chosen[i] = part = _draw(needs, fits, keys[i])
        for k in own:
            lacks[part][k] -= counts[i][k]
    return chosen


def _draw(needs: Sequence[float], fits: Sequence[bool], key: str) -> int:
    """Draw a part among those where a unit fits, or take the one that lacks most where it fits nowhere."""
    weights = [need if fit else 0.0 for need, fit in zip(needs, fits, strict=True)]
    left = int(key[:12], 16) / 16**12 * sum(weights)
    for part, weight in enumerate(weights):
        left -= weight
        if left < 0:
            return part
    return max(range(len(needs)), key=lambda part: needs[part])


def _spread(chosen: list[int], counts: Sequence[Counts], keys: Sequence[str]) -> list[int]:
    """Move as few slices as it takes to bring every class to every part, where a single move can."""
    chosen = list(chosen)
    smallest_first = sorted(range(len(counts)), key=lambda i: (sum(counts[i]), keys[i]))
    while missing := _missing(chosen, counts):
        moves = (
            [*chosen[:i], part, *chosen[i + 1 :]] for part, k in sorted(missing) for i in smallest_first if counts[i][k]
        )
        better = next((move for move in moves if len(_missing(move, counts)) < len(missing)), None)
        if better is None:
            return chosen
        chosen = better
    return chosen


def _missing(chosen: Sequence[int], counts: Sequence[Counts]) -> set[tuple[int, int]]:
    """Pairs of a part and a class that is not in it."""
    there = {(part, k) for part, count in zip(chosen, counts, strict=True) for k, n in enumerate(count) if n}
    return {(part, k) for part in range(len(PARTS)) for k in range(len(counts[0]))} - there
