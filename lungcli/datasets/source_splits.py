"""Splits that follow what the slices say: one institution left out, or the parts that a data set came with."""

from collections import Counter
from collections.abc import Sequence

from lungcli.core.errors import UsageError
from lungcli.core.names import natural
from lungcli.datasets import groups, splits
from lungcli.datasets.manifest import Manifest
from lungcli.datasets.splits import PARTS, Part, Split
from lungcli.metrics.predictions import positive_index

# One institution's slices at least, to say anything of it.
LEAST_TESTED = 2


def institution_folds(manifest: Manifest, seed: int = 0, positive: str = "") -> tuple[Split, ...]:
    """Divide the slices once for each institution, by name: that one is tested, groups of the others are train and val.

    Slices of the others that are in a group with a tested one (near-duplicates, a patient of both) are in no part.

    Raises UsageError for fewer than two institutions or more than twenty, for one of a single slice, and where without
    one there are fewer than two classes, or fewer than two groups with slices of the class `positive` (else malignant).
    """
    splits.require_classes(manifest)
    names = institutions(manifest)
    where = manifest.institutions()
    labels = manifest.labels()
    units = list(groups.members_by_group([item.group for item in manifest.slices]).values())
    folds = []
    for fold, name in enumerate(names):
        rest = [unit for unit in units if all(where[i] != name for i in unit)]
        counts = [splits.class_counts(unit, labels, len(manifest.classes)) for unit in rest]
        _require_trainable(manifest, name, counts, positive_index(manifest.classes, positive))
        test = tuple(i for i, institution in enumerate(where) if institution == name)
        train, val = splits.divide(manifest, rest, seed, fold)
        folds.append(
            splits.assemble(manifest, (train, val, test), "institution", seed, folds=len(names), fold=fold + 1)
        )
    return tuple(folds)


def institutions(manifest: Manifest) -> tuple[str, ...]:
    """Return the institutions to be left out, one a fold, by name. Raises UsageError as `institution_folds` does."""
    slices = Counter(manifest.institutions())
    names = tuple(sorted(slices, key=natural))
    if not 2 <= len(names) <= splits.FOLDS[1]:
        raise UsageError(
            f"leaving one institution out takes 2 to {splits.FOLDS[1]} of them, and {manifest.name!r} has {len(names)}",
            "combine data sets of several: lungcli data combine A B --name AB",
        )
    if few := next((name for name in names if slices[name] < LEAST_TESTED), ""):
        raise UsageError(
            f"the institution {few!r} has a single slice, which is too few to test on",
            "combine the data sets without it, or import more of its slices",
        )
    return names


def _require_trainable(
    manifest: Manifest, left_out: str, counts: Sequence[splits.Counts], positive: int | None
) -> None:
    """Raise UsageError where the groups that are left, with `counts` of each class, make no classifier."""
    there = [sum(count[k] > 0 for count in counts) for k in range(len(manifest.classes))]
    why = "fewer than two classes are left" if sum(map(bool, there)) < 2 else ""
    if positive is not None and (number := there[positive]) < 2:
        groups_left = f"{number or 'no'} group{'' if number == 1 else 's'} with {manifest.classes[positive]} slices"
        why = f"{groups_left} are left, and it takes two"
    if why:
        raise UsageError(
            f"without the institution {left_out!r} {why}, to train and to validate",
            "combine with a data set of another institution that has them: lungcli data combine A B --name AB",
        )


def given_split(manifest: Manifest, parts: Sequence[Part | None]) -> Split | None:
    """Return the split that a data set came with, from the part of every slice; none where a slice has none.

    Where it has two parts, the one beside `train` is tested, and a validation part is drawn from groups of `train`.
    None where nothing is left to train on or to test.
    """
    slices = {part: [i for i, of in enumerate(parts) if of == part] for part in PARTS}
    others = [part for part in PARTS[1:] if slices[part]]
    if None in parts or not slices["train"] or not others:
        return None
    train, val, test = (tuple(slices[part]) for part in PARTS)
    if len(others) == 1:
        units = groups.members_by_group([manifest.slices[i].group for i in slices["train"]]).values()
        train, val = splits.divide(manifest, [tuple(slices["train"][i] for i in unit) for unit in units], 0, 0)
        test = tuple(slices[others[0]])
    return splits.assemble(manifest, (train, val, test), "given", 0)
