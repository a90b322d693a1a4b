"""Split files: the part of every slice, written with a digest and checked for leakage whenever it is read.

DATA SET/splits/NAME.json    one split, or the folds of a cross-validation
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

import msgspec

from lungcli.core import names, versioned
from lungcli.core.errors import UnreadableInputError, UsageError
from lungcli.core.recipe import Drawn, Protocol, Recipe
from lungcli.datasets import manifest as manifests
from lungcli.datasets import source_splits, splits
from lungcli.datasets.manifest import Manifest
from lungcli.datasets.splits import PARTS, Part, Split

FORMAT_VERSION = 2
# What earlier versions read as well.
_FIRST_VERSION = 1

GIVEN = "given"
"""Name of the split that a data set came with."""


class SliceParts(msgspec.Struct, frozen=True, kw_only=True):
    """One slice, and its part in the split, or in each fold."""

    path: str
    sha256: str
    parts: tuple[Part | Literal["none"], ...]


class SplitFile(msgspec.Struct, frozen=True, kw_only=True):
    """Content of a split file. `manifest` is the digest of the data it divides, called `data` when it was written.

    `folds` is 0 for a single split. `digest` covers everything but the name of the data set.
    """

    format_version: int = _FIRST_VERSION
    data: str
    manifest: str
    protocol: Protocol
    seed: int
    folds: int
    slices: tuple[SliceParts, ...]
    digest: str


_FORMAT = versioned.Format(
    kind="split", version=FORMAT_VERSION, content=SplitFile, error=UnreadableInputError, most_bytes=versioned.MOST_LARGE
)


def build(manifest: Manifest, protocol: Protocol = "grouped", folds: int = 0, seed: int = 0) -> SplitFile:
    """Divide a data set into one split (`folds` 0) or into folds, as a file holds it.

    Raises UsageError as `make_splits` does.
    """
    return of_splits(manifest, make_splits(manifest, protocol, folds, seed))


def of_splits(manifest: Manifest, all_splits: Sequence[Split]) -> SplitFile:
    """Return one split, or all folds of a cross-validation, as a file holds it."""
    first = all_splits[0]
    columns = [_column(split, len(manifest.slices)) for split in all_splits]
    slices = tuple(
        SliceParts(path=item.path, sha256=item.sha256, parts=parts)
        for item, parts in zip(manifest.slices, zip(*columns, strict=True), strict=True)
    )
    return SplitFile(
        format_version=_FIRST_VERSION if first.protocol in get_args(Drawn) else FORMAT_VERSION,
        data=manifest.name,
        manifest=manifest.digest,
        protocol=first.protocol,
        seed=first.seed,
        folds=first.folds,
        slices=slices,
        digest=_digest(manifest.digest, first.protocol, first.seed, first.folds, slices),
    )


def make_splits(manifest: Manifest, protocol: Protocol, folds: int, seed: int, positive: str = "") -> tuple[Split, ...]:
    """Return the one split or all folds of a data set, checked for leakage.

    With the protocol `institution`, `folds` is the number of institutions, or 0, and `positive` a class that every fold
    is to train on (else malignant). Raises UsageError as the functions of `splits` do, for another number, and for the
    protocol `given`, which is none to make splits by.
    """
    all_splits: tuple[Split, ...]
    if protocol == "institution":
        all_splits = source_splits.institution_folds(manifest, seed, positive)
        if folds not in (0, len(all_splits)):
            raise UsageError(
                f"{manifest.name!r} has {len(all_splits)} institutions, a fold for each, and not {folds} folds",
                "leave --folds out",
            )
    elif protocol == "given":
        raise UsageError(f"the data set {manifest.name!r} came without a split", "choose grouped or institution")
    elif folds == 0:
        all_splits = (splits.make_split(manifest, protocol, seed),)
    else:
        all_splits = splits.cross_validation_folds(manifest, folds, seed, protocol)
    for split in all_splits:
        splits.require_no_leak(manifest, split)
    return all_splits


def default_name(file: SplitFile) -> str:
    """Name a split after what it is: `grouped-seed0`, `random-5folds-seed0`."""
    return "-".join([file.protocol, *([f"{file.folds}folds"] if file.folds else []), f"seed{file.seed}"])


def saved(manifest: Manifest) -> dict[str, Path]:
    """Split files in the folder of a data set, by name."""
    return {path.stem: path for path in sorted(_folder(manifest).glob("*.json"))}


def save(manifest: Manifest, file: SplitFile, name: str) -> Path:
    """Write a split file into the data set's folder and return its path; an identical file is left as it is.

    Raises UsageError for a name that can't be a file's, or that another split has.
    """
    path = _folder(manifest) / f"{names.checked(name, 'split')}.json"
    if path.exists():
        if read(path).digest != file.digest:
            raise UsageError(f"there is another split {name!r} of {manifest.name!r} already", "choose another --name")
        return path
    versioned.write(path, file)
    return path


def find(manifest: Manifest, spec: str) -> Path:
    """Return the split file that a name or a path means. Raises UsageError."""
    path = Path(spec)
    if spec.endswith(".json") or path.is_file():
        return path.absolute()
    if spec == GIVEN and GIVEN not in saved(manifest):
        raise UsageError(
            f"the data set {manifest.name!r} came without a split of its own",
            "folders train/, val/ and test/, or a column split in labels.csv, are kept as one by `lungcli data import`",
        )
    hint = f"grouped and random need no file; write one: lungcli data split '{manifest.name}'"
    return names.find(spec, saved(manifest), "split", hint)


def read(path: Path) -> SplitFile:
    """Read a split file as it is; `splits_of` checks it. Raises UnreadableInputError."""
    return _FORMAT.read(path, "check the path, or make one: lungcli data split NAME")


def splits_of(manifest: Manifest, path: Path) -> tuple[Split, ...]:
    """Read the one split or all folds in a file, and check them.

    Raises UnreadableInputError (no split file), UsageError for a split of other data, with leakage, or edited by hand.
    """
    file = read(path)
    _require_same_data(manifest, file, path)
    count = max(file.folds, 1)
    if any(len(item.parts) != count for item in file.slices):
        raise UsageError(f"the split {path} does not give every slice {count} parts", _remake_hint(manifest, file))
    all_splits = tuple(
        splits.assemble(manifest, _parts(file, i), file.protocol, file.seed, file.folds, i + 1 if file.folds else 0)
        for i in range(count)
    )
    for split in all_splits:
        splits.require_no_leak(manifest, split)
    if file.digest != _digest(file.manifest, file.protocol, file.seed, file.folds, file.slices):
        raise UsageError(f"the split {path} was changed after it was written", _remake_hint(manifest, file))
    return all_splits


def split_of_recipe(manifest: Manifest, recipe: Recipe) -> Split:
    """Return the split of a recipe, checked for leakage. Raises UsageError, UnreadableInputError."""
    if recipe.split:
        all_splits = splits_of(manifest, find(manifest, recipe.split))
        first = all_splits[0]
        if (first.protocol, first.seed, first.folds) != (recipe.protocol, recipe.split_seed, recipe.folds):
            raise UsageError(
                f"the split {recipe.split} is now {splits.describe(first)}, not the one that the recipe names",
                "start a new run with another --name",
            )
    else:
        all_splits = make_splits(manifest, recipe.protocol, recipe.folds, recipe.split_seed, recipe.positive_class)
    split = all_splits[max(recipe.fold, 1) - 1]
    return splits.with_test_part(manifest, split) if recipe.final else split


def recipe_fields(data: str, spec: str) -> dict[str, object]:
    """Return the fields `split`, `protocol`, `split_seed` and `folds` of a recipe for a split file.

    So it does for the protocol `institution`, which needs none. Raises UsageError when there is no such split of the
    data set, UnreadableInputError for a damaged file.
    """
    manifest = manifests.load(data)
    if spec == "institution":
        return {"split": "", "protocol": spec, "folds": len(source_splits.institutions(manifest))}
    path = find(manifest, spec)
    file = read(path)
    own = path.parent == _folder(manifest)
    return {
        "split": path.stem if own else str(path),
        "protocol": file.protocol,
        "split_seed": file.seed,
        "folds": file.folds,
    }


def _folder(manifest: Manifest) -> Path:
    return manifests.folder(manifest.name) / manifests.SPLITS


def _column(split: Split, count: int) -> list[Part | Literal["none"]]:
    """Part of every slice, in the order of the manifest."""
    column: list[Part | Literal["none"]] = ["none"] * count
    for part, slices in zip(PARTS, (split.train, split.val, split.test), strict=True):
        for i in slices:
            column[i] = part
    return column


def _parts(file: SplitFile, fold: int) -> list[tuple[int, ...]]:
    chosen = [item.parts[fold] for item in file.slices]
    return [tuple(i for i, part in enumerate(chosen) if part == wanted) for wanted in PARTS]


def _digest(manifest: str, protocol: str, seed: int, folds: int, slices: Sequence[SliceParts]) -> str:
    content = (manifest, protocol, seed, folds, slices)
    return hashlib.sha256(msgspec.json.encode(content)).hexdigest()


def _require_same_data(manifest: Manifest, file: SplitFile, path: Path) -> None:
    """Refuse a split of other data, and say how it differs."""
    theirs = {item.path: item.sha256 for item in file.slices}
    ours = {item.path: item.sha256 for item in manifest.slices}
    counts = (
        (len(theirs.keys() - ours.keys()), "gone"),
        (len(ours.keys() - theirs.keys()), "new"),
        (sum(ours[key] != value for key, value in theirs.items() if key in ours), "changed"),
    )
    differences = ", ".join(f"{count} {word}" for count, word in counts if count)
    if differences:
        raise UsageError(
            f"the split {path} is of other data than {manifest.name!r}: slices: {differences}",
            _remake_hint(manifest, file),
        )
    if file.manifest != manifest.digest or [*theirs] != [*ours] or len(file.slices) != len(manifest.slices):
        raise UsageError(
            f"the split {path} is of other data than {manifest.name!r}: the slices have other classes, groups or order",
            _remake_hint(manifest, file),
        )


def _remake_hint(manifest: Manifest, file: SplitFile) -> str:
    folds = f" --folds {file.folds}" if file.folds else ""
    return (
        f"make it again: lungcli data split '{manifest.name}' --protocol {file.protocol}{folds} --seed {file.seed} "
        "--name NEW"
    )
