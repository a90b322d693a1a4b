"""Splits into training, validation and test part: by near-duplicate group, by institution, or at random."""

import functools
import hashlib
import operator
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from lungcli.core.errors import UsageError
from lungcli.core.recipe import Drawn, Protocol
from lungcli.datasets import groups
from lungcli.datasets.manifest import Manifest
from lungcli.modelfile import model_card

# Where a group, a copy or a patient on two sides is an error.
LEAKLESS: tuple[Protocol, ...] = ("grouped", "institution")
Part = Literal["train", "val", "test"]
PARTS: tuple[Part, ...] = ("train", "val", "test")
FRACTIONS = (0.64, 0.16, 0.20)
FOLDS = (3, 20)
# Training and validation shares of the rest of a fold, as in the single split.
FOLD_FRACTIONS = (0.8, 0.2)

# A group with more than this share of a class in val or test goes to training: metrics on two groups say little.
MOST_OF_A_CLASS = 1 / 3

# Slices of each class: in a unit (a group or a slice), or still missing in a part.
Counts = list[float]


class Split(msgspec.Struct, frozen=True, kw_only=True):
    """The three parts as sorted indices into `manifest.slices`. Equal digests mean equal parts of equal data.

    `fold` counts from 1 to `folds`; both are 0 for a single split. With an institution left out, near-duplicates of its
    slices from elsewhere are in no part. The `final` fit has no test part.
    """

    train: tuple[int, ...]
    val: tuple[int, ...]
    test: tuple[int, ...]
    protocol: Protocol
    seed: int
    digest: str
    folds: int = 0
    fold: int = 0
    final: bool = False


class LeakCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Near-duplicate groups, file contents and named patients that have slices in more than one part; of a split by
    institution, those that have some in the test part and others elsewhere.
    """

    groups: int
    contents: int
    patients: int
    institutions: int


def make_split(manifest: Manifest, protocol: Drawn = "grouped", seed: int = 0) -> Split:
    """Divide the slices into train, val and test, each class in about the shares `FRACTIONS`.

    `grouped` keeps every near-duplicate group in one part; `random` divides slice by slice, which leaks near-duplicates
    from training into the test. Large units are assigned first, each to a part drawn with probabilities that follow how
    many slices of its classes the part still lacks. Order and draws come from sha256, so a seed gives the same split
    everywhere.

    Raises UsageError for fewer than two classes, and for a class with fewer than three units, which cannot be in all
    parts.
    """
    require_classes(manifest)
    units, counts = _units(manifest, protocol, len(PARTS), "a split into train, val and test needs")
    keys = [_key(manifest, unit, seed) for unit in units]
    chosen = _fill_missing_classes(_assign_parts(counts, keys, FRACTIONS), counts, keys, len(PARTS))
    return assemble(manifest, _slices(units, chosen), protocol, seed)


def cross_validation_folds(manifest: Manifest, k: int, seed: int = 0, protocol: Drawn = "grouped") -> tuple[Split, ...]:
    """Divide the slices `k` times for cross-validation: each is in the test part of one of the `k` splits.

    Classes are spread over the test parts as evenly as their units allow; what a fold does not test is divided into
    train and val as by `make_split`, with a val part of its own drawn for each fold.

    Raises UsageError for an invalid `k`, for fewer than two classes, and for a class with fewer than `k`
    units, which cannot be in all test parts.
    """
    if not FOLDS[0] <= k <= FOLDS[1]:
        raise UsageError(f"{k} folds are not possible: choose {FOLDS[0]} to {FOLDS[1]}", "5 are usual: --folds 5")
    require_classes(manifest)
    units, counts = _units(manifest, protocol, k, f"{k} folds need")
    keys = [_key(manifest, unit, seed) for unit in units]
    # Every slice is tested once, so no fold can leave a large group to the training part.
    tested = _fill_missing_classes(_assign_parts(counts, keys, [1 / k] * k, most=1.0), counts, keys, k)
    folds = []
    for fold in range(k):
        rest = [i for i, part in enumerate(tested) if part != fold]
        test = tuple(sorted(i for unit, part in zip(units, tested, strict=True) if part == fold for i in unit))
        train, val = divide(manifest, [units[i] for i in rest], seed, fold)
        folds.append(assemble(manifest, (train, val, test), protocol, seed, folds=k, fold=fold + 1))
    return tuple(folds)


def divide(
    manifest: Manifest, units: Sequence[Sequence[int]], seed: int, fold: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Divide what the fold (from 0) does not test into train and val: `units` of slices that stay together."""
    labels = manifest.labels()
    counts = [class_counts(unit, labels, len(manifest.classes)) for unit in units]
    keys = [_key(manifest, unit, seed, fold + 1) for unit in units]
    drawn = _fill_missing_classes(_assign_parts(counts, keys, FOLD_FRACTIONS), counts, keys, 2)
    train, val, _ = _slices(units, drawn)
    return train, val


def assemble(
    manifest: Manifest,
    parts: Sequence[tuple[int, ...]],
    protocol: Protocol,
    seed: int,
    folds: int = 0,
    fold: int = 0,
) -> Split:
    """Combine sorted train, val and test parts into a split, with its digest."""
    digest = hashlib.sha256(msgspec.json.encode((manifest.digest, protocol, seed, parts))).hexdigest()
    train, val, test = parts
    return Split(train=train, val=val, test=test, protocol=protocol, seed=seed, digest=digest, folds=folds, fold=fold)


def with_test_part(manifest: Manifest, split: Split) -> Split:
    """Return the split of a final fit: what `split` tests is trained on as well, and nothing is tested."""
    train = tuple(sorted((*split.train, *split.test)))
    whole = assemble(manifest, (train, split.val, ()), split.protocol, split.seed)
    return msgspec.structs.replace(whole, final=True)


def count_leaks(manifest: Manifest, parts: Split) -> LeakCounts:
    """Count what is in several parts of a split: a random one leaks by design, a grouped one must not."""
    sides: list[defaultdict[object, set[int]]] = [defaultdict(set) for _ in range(3)]
    for side, part in enumerate((parts.train, parts.val, parts.test)):
        for item in (manifest.slices[i] for i in part):
            for parts_by_value, value in zip(sides, (item.group, item.sha256, item.patient), strict=True):
                parts_by_value[value].add(side)
    sides[2].pop("", None)
    groups, contents, patients = (
        sum(len(sides_of_value) > 1 for sides_of_value in parts_by_value.values()) for parts_by_value in sides
    )
    shared = 0
    if parts.protocol == "institution":
        where = manifest.institutions()
        shared = len({where[i] for i in parts.test} & {where[i] for i in (*parts.train, *parts.val)})
    return LeakCounts(groups=groups, contents=contents, patients=patients, institutions=shared)


def require_no_leak(manifest: Manifest, split: Split) -> None:
    """Raise UsageError for a split that does not partition the data set, or has leakage and none by design."""
    name = describe(split)
    everything = sorted((*split.train, *split.val, *split.test, *_left_out(manifest, split)))
    if everything != list(range(len(manifest.slices))):
        raise UsageError(
            f"{name} has slices in several parts, or in none", f"make one: lungcli data split {manifest.name!r}"
        )
    leaks = count_leaks(manifest, split)
    if split.protocol == "institution" and leaks.institutions:
        raise UsageError(
            f"{name} tests an institution that it trains on",
            f"make one that does not: lungcli data split {manifest.name!r} --protocol institution",
        )
    if split.protocol in LEAKLESS and (leaks.groups or leaks.contents or leaks.patients):
        what = [
            f"{count} {noun}"
            for count, noun in (
                (leaks.groups, "near-duplicate groups"),
                (leaks.contents, "pictures with exact copies"),
                (leaks.patients, "patients"),
            )
            if count
        ]
        raise UsageError(
            f"{name} leaks: {', '.join(what)} lie in more than one of train, val and test",
            f"make one that does not: lungcli data split {manifest.name!r}",
        )


def leak_warning(manifest: Manifest, split: Split) -> str:
    """Say what a split leaks, where it may; empty where it leaks nothing."""
    leaks = count_leaks(manifest, split)
    if split.protocol in LEAKLESS or not (leaks.groups or leaks.contents or leaks.patients):
        return ""
    patients = f", {leaks.patients} patients" if leaks.patients else ""
    of_fold = " of fold 1" if split.folds else ""
    return (
        f"a {split.protocol} split leaks: {leaks.groups} near-duplicate groups{patients} and {leaks.contents} slices "
        f"with exact copies are in several parts{of_fold}, so figures on it are too high"
    )


def _left_out(manifest: Manifest, split: Split) -> list[int]:
    """Return the slices that a split by institution leaves out: those in groups with tested slices of another."""
    if split.protocol != "institution":
        return []
    tested = {manifest.slices[i].group for i in split.test}
    used = {*split.train, *split.val, *split.test}
    return [i for i, item in enumerate(manifest.slices) if i not in used and item.group in tested]


def describe(split: Split) -> str:
    """Name a split as in `the grouped split with seed 0` or `fold 2 of 5 of the grouped split with seed 0`."""
    return model_card.split_in_words(split.protocol, split.seed, split.folds, split.fold, split.final)


def require_classes(manifest: Manifest) -> None:
    """Raise UsageError for a data set of fewer than two classes."""
    if len(manifest.classes) < 2:
        raise UsageError(
            f"the data set {manifest.name!r} has fewer than two classes, and a classifier needs two",
            f"combine it with data of another class: lungcli data combine '{manifest.name}' OTHER --name BOTH",
        )


def _units(manifest: Manifest, protocol: Drawn, least: int, whole: str) -> tuple[list[tuple[int, ...]], list[Counts]]:
    """Return the slices that stay together, in file order, and the class counts of each. Raises UsageError."""
    labels = manifest.labels()
    numbers = [item.group for item in manifest.slices] if protocol == "grouped" else range(len(labels))
    units = list(groups.members_by_group(numbers).values())
    counts = [class_counts(unit, labels, len(manifest.classes)) for unit in units]
    _require_units(manifest, counts, protocol, least, whole)
    return units, counts


def class_counts(unit: Sequence[int], labels: Sequence[int], classes: int) -> Counts:
    """Count the slices of each class in a unit, whose slices have the class indices `labels`."""
    return [float(sum(labels[i] == k for i in unit)) for k in range(classes)]


def _require_units(manifest: Manifest, counts: Sequence[Counts], protocol: Drawn, least: int, whole: str) -> None:
    what = "near-duplicate groups" if protocol == "grouped" else "slices"
    for k, label in enumerate(manifest.classes):
        number = sum(count[k] > 0 for count in counts)
        if number < least:
            fewer = f", or make {number} folds" if FOLDS[0] <= number and least > len(PARTS) else ""
            raise UsageError(
                f"the class {label!r} has {number} {what[:-1] if number == 1 else what}, and {whole} at least {least}",
                f"import more {label} slices, of other people, or leave the class out{fewer}",
            )


def _slices(units: Sequence[Sequence[int]], chosen: Sequence[int]) -> list[tuple[int, ...]]:
    """Slices of each part, sorted, from the part chosen for each unit."""
    return [
        tuple(sorted(i for unit, part in zip(units, chosen, strict=True) if part == wanted for i in unit))
        for wanted in range(len(PARTS))
    ]


def _key(manifest: Manifest, unit: Sequence[int], *seeds: int) -> str:
    """Return the sort key of a unit under a seed; it depends on content alone, not on how groups are numbered."""
    names = sorted((manifest.slices[i].sha256, manifest.slices[i].path) for i in unit)
    return hashlib.sha256(msgspec.json.encode((*seeds, names))).hexdigest()


def _assign_parts(
    counts: Sequence[Counts], keys: Sequence[str], fractions: Sequence[float], most: float = MOST_OF_A_CLASS
) -> list[int]:
    """Assign every unit to a part, the larger ones first while every part still has room.

    Where possible, no unit takes more than the share `most` of a class in a part, except in the first part.
    """
    totals = [sum(column) for column in zip(*counts, strict=True)]
    lacks = [[fraction * total for total in totals] for fraction in fractions]
    limits = [totals, *([max(1.0, lack * most) for lack in part] for part in lacks[1:])]
    chosen = [0] * len(counts)
    # Sizes within a factor of two count as equal, so that seeds differ in the large units too.
    for i in sorted(range(len(counts)), key=lambda i: (-int(sum(counts[i])).bit_length(), keys[i])):
        own = [k for k, number in enumerate(counts[i]) if number]
        needs = [_sum(counts[i][k] * lack[k] / totals[k] for k in own) for lack in lacks]
        fits = [
            all(counts[i][k] <= min(lack[k], limit[k]) for k in own) for lack, limit in zip(lacks, limits, strict=True)
        ]
        chosen[i] = part = _draw_part(needs, fits, keys[i])
        for k in own:
            lacks[part][k] -= counts[i][k]
    return chosen


def _draw_part(needs: Sequence[float], fits: Sequence[bool], key: str) -> int:
    """Draw a part among those that a unit fits into, or return the one that lacks most where it fits nowhere."""
    weights = [need if fit else 0.0 for need, fit in zip(needs, fits, strict=True)]
    remaining = int(key[:12], 16) / 16**12 * _sum(weights)
    for part, weight in enumerate(weights):
        remaining -= weight
        if remaining < 0:
            return part
    return max(range(len(needs)), key=lambda part: needs[part])


def _sum(values: Iterable[float]) -> float:
    """Add from left to right: `sum` rounds differently from Python 3.12 on, and splits must not change."""
    return functools.reduce(operator.add, values, 0.0)


def _fill_missing_classes(chosen: list[int], counts: Sequence[Counts], keys: Sequence[str], parts: int) -> list[int]:
    """Move as few slices as it takes to bring every class to every part, where a single move can."""
    chosen = list(chosen)
    smallest_first = sorted(range(len(counts)), key=lambda i: (sum(counts[i]), keys[i]))
    while missing := _missing_classes(chosen, counts, parts):
        moves = (
            [*chosen[:i], part, *chosen[i + 1 :]] for part, k in sorted(missing) for i in smallest_first if counts[i][k]
        )
        better = next((move for move in moves if len(_missing_classes(move, counts, parts)) < len(missing)), None)
        if better is None:
            return chosen
        chosen = better
    return chosen


def _missing_classes(chosen: Sequence[int], counts: Sequence[Counts], parts: int) -> set[tuple[int, int]]:
    there = {(part, k) for part, count in zip(chosen, counts, strict=True) for k, n in enumerate(count) if n}
    return {(part, k) for part in range(parts) for k in range(len(counts[0]))} - there
