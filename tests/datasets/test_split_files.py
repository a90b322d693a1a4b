"""Split files: what is written is read back, and what leaks or is of other data is refused with the reason."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lungcli.core import recipe as recipes
from lungcli.core.errors import UnreadableInputError, UsageError
from lungcli.core.recipe import Drawn
from lungcli.datasets import manifest, source_splits, split_files, splits
from lungcli.datasets.manifest import Manifest
from lungcli.datasets.split_files import SplitFile
from tests.datasets.test_splits import CLASSES, PROTOCOLS, even
from tests.imaging.pictures import described

DATA = even(groups=6)


@pytest.fixture
def kept() -> Manifest:
    """A data set with a manifest in the home."""
    manifest.save(DATA, manifest.folder(DATA.name))
    return DATA


def edited(path: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """Change a split file by hand."""
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return path


def forged(file: SplitFile, **changes: Any) -> SplitFile:
    """A file with other content and a digest that fits it."""
    other = msgspec.structs.replace(file, **changes)
    digest = split_files._digest(other.manifest, other.protocol, other.seed, other.folds, other.slices)
    return msgspec.structs.replace(other, digest=digest)


@settings(deadline=None, max_examples=40)
@given(
    sizes=st.lists(st.integers(1, 9), min_size=4, max_size=8),
    protocol=st.sampled_from(PROTOCOLS),
    folds=st.sampled_from([0, 3, 4]),
    seed=st.integers(0, 1000),
)
def test_round_trip(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], protocol: Drawn, folds: int, seed: int
) -> None:
    data = described([(label, size) for label in CLASSES for size in sizes])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LUNGCLI_HOME", str(tmp_path_factory.mktemp("home")))
        path = split_files.save(data, split_files.build(data, protocol, folds, seed), "s")

        assert split_files.splits_of(data, path) == split_files.make_splits(data, protocol, folds, seed)


def test_a_file_names_the_very_splits_that_a_seed_names() -> None:
    assert split_files.make_splits(DATA, "grouped", 0, 5) == (splits.make_split(DATA, "grouped", 5),)
    assert split_files.make_splits(DATA, "grouped", 4, 5) == splits.cross_validation_folds(DATA, 4, 5)


def test_same_seed_same_digest() -> None:
    digests = {split_files.build(DATA, seed=seed).digest for seed in (0, 0, 1)}

    assert len(digests) == 2
    assert split_files.build(DATA).digest == "befc55e781459ba5338ac75050389033eba3c74cdcae6e831f2ea223c731a1c9"


def test_what_is_in_the_file(kept: Manifest) -> None:
    path = split_files.save(kept, split_files.build(kept, folds=3), "mine")

    content = json.loads(path.read_text())

    assert path == manifest.folder("some") / "splits" / "mine.json"
    assert list(content) == ["format_version", "data", "manifest", "protocol", "seed", "folds", "slices", "digest"]
    assert content["manifest"] == kept.digest
    assert content["slices"][0] == {
        "path": kept.slices[0].path,
        "sha256": kept.slices[0].sha256,
        "parts": content["slices"][0]["parts"],
    }
    assert sorted(content["slices"][0]["parts"]).count("test") == 1


def test_names(kept: Manifest) -> None:
    assert split_files.default_name(split_files.build(kept, seed=3)) == "grouped-seed3"
    assert split_files.default_name(split_files.build(kept, "random", 5)) == "random-5folds-seed0"
    path = split_files.save(kept, split_files.build(kept), "grouped-seed0")

    assert split_files.saved(kept) == {"grouped-seed0": path}
    assert split_files.find(kept, "Grouped_Seed0") == path
    assert split_files.find(kept, str(path)) == path
    with pytest.raises(UsageError, match="unknown split 'grouped-sed0'") as caught:
        split_files.find(kept, "grouped-sed0")
    assert "did you mean 'grouped-seed0'?" in caught.value.hint
    with pytest.raises(UsageError, match="'some' came without a split of its own"):
        split_files.find(kept, split_files.GIVEN)


def test_a_name_is_not_taken_by_another_split(kept: Manifest) -> None:
    path = split_files.save(kept, split_files.build(kept), "mine")
    written = path.stat().st_mtime_ns

    assert split_files.save(kept, split_files.build(kept), "mine") == path
    assert path.stat().st_mtime_ns == written
    with pytest.raises(UsageError, match="another split 'mine' of 'some' already"):
        split_files.save(kept, split_files.build(kept, seed=1), "mine")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda slices: slices[:-1], "slices: 1 gone"),
        (lambda slices: (*slices, msgspec.structs.replace(slices[0], path="slices/new.png")), "slices: 1 new"),
        (lambda slices: (msgspec.structs.replace(slices[0], sha256="0"), *slices[1:]), "slices: 1 changed"),
        (lambda slices: (msgspec.structs.replace(slices[0], group=99), *slices[1:]), "other classes, groups or order"),
        (lambda slices: slices[::-1], "other classes, groups or order"),
    ],
    ids=["gone", "new", "changed", "group", "order"],
)
def test_changed_data_is_refused(kept: Manifest, change: Callable[[Any], Any], why: str) -> None:
    path = split_files.save(kept, split_files.build(kept, folds=3, seed=2), "mine")
    now = manifest.build(kept.name, tuple(change(kept.slices)), (), kept.source)

    with pytest.raises(UsageError, match=f"is of other data than 'some': .*{why}") as caught:
        split_files.splits_of(now, path)
    assert "lungcli data split 'some' --protocol grouped --folds 3 --seed 2" in caught.value.hint


def test_a_leak_is_refused_even_where_the_digest_fits(kept: Manifest) -> None:
    file = split_files.build(kept)
    first = file.slices[0]
    other = "test" if first.parts == ("train",) else "train"
    leaking = forged(file, slices=(msgspec.structs.replace(first, parts=(other,)), *file.slices[1:]))
    path = split_files.save(kept, leaking, "leaking")

    with pytest.raises(UsageError, match="leaks: 1 near-duplicate groups lie in more than one of train, val and test"):
        split_files.splits_of(kept, path)


def test_a_change_by_hand_is_refused(kept: Manifest) -> None:
    path = split_files.save(kept, split_files.build(kept), "mine")

    edited(path, lambda content: content.update(seed=3))

    with pytest.raises(UsageError, match="was changed after it was written"):
        split_files.splits_of(kept, path)


def test_a_slice_without_a_part_in_every_fold_is_refused(kept: Manifest) -> None:
    path = split_files.save(kept, split_files.build(kept, folds=3), "mine")

    edited(path, lambda content: content["slices"][4]["parts"].pop())

    with pytest.raises(UsageError, match="does not give every slice 3 parts"):
        split_files.splits_of(kept, path)


@pytest.mark.parametrize(
    ("content", "why"),
    [(b"", "is damaged"), (b"[]", "is damaged"), (b"\xff", "is damaged"), (None, "cannot read")],
)
def test_damaged_and_missing_files(tmp_path: Path, content: bytes | None, why: str) -> None:
    path = tmp_path / "s.json"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(UnreadableInputError, match=why):
        split_files.splits_of(DATA, path)


def test_unknown_parts_and_newer_files(kept: Manifest) -> None:
    path = split_files.save(kept, split_files.build(kept), "mine")

    with pytest.raises(UnreadableInputError, match="is damaged"):
        split_files.read(edited(path, lambda content: content["slices"][0].update(parts=["valid"])))
    with pytest.raises(UnreadableInputError, match="format 3; this lungcli reads up to 2"):
        split_files.read(
            edited(path, lambda content: content.update(format_version=3) or content["slices"][0].update(parts=["val"]))
        )


def test_a_recipe_names_its_split(kept: Manifest) -> None:
    path = split_files.save(kept, split_files.build(kept, folds=4, seed=3), "mine")
    told = split_files.recipe_fields("some", "mine")

    assert told == {"split": "mine", "protocol": "grouped", "split_seed": 3, "folds": 4}
    assert split_files.recipe_fields("some", str(path)) == told
    named = recipes.make(data="some", model="m", fold=2, **told)
    by_seed = recipes.make(data="some", model="m", fold=2, split_seed=3, folds=4)
    assert (
        split_files.split_of_recipe(kept, named)
        == split_files.split_of_recipe(kept, by_seed)
        == splits.cross_validation_folds(kept, 4, 3)[1]
    )
    assert split_files.split_of_recipe(kept, recipes.make(data="some", model="m")) == splits.make_split(kept)


def test_a_file_elsewhere_is_named_by_its_path(kept: Manifest, tmp_path: Path) -> None:
    path = split_files.save(kept, split_files.build(kept), "mine").rename(tmp_path / "other.json")

    told = split_files.recipe_fields("some", str(path))

    assert told["split"] == str(path)
    assert split_files.split_of_recipe(kept, recipes.make(data="some", model="m", **told)) == splits.make_split(kept)


def test_a_split_that_became_another_is_refused(kept: Manifest) -> None:
    path = split_files.save(kept, split_files.build(kept), "mine")
    named = recipes.make(data="some", model="m", **split_files.recipe_fields("some", "mine"))
    path.unlink()
    split_files.save(kept, split_files.build(kept, seed=1), "mine")

    with pytest.raises(UsageError, match="the split mine is now the grouped split with seed 1"):
        split_files.split_of_recipe(kept, named)


def several() -> Manifest:
    """Groups of three classes in three hospitals, of which two share a group."""
    slices = tuple(
        msgspec.structs.replace(item, institution=("North", "South", "West")[item.group % 3 if i else 1])
        for i, item in enumerate(DATA.slices)
    )
    return manifest.build("some", slices, (), DATA.source)


def test_folds_by_institution_are_kept_in_a_file_of_a_newer_format() -> None:
    data = several()
    manifest.save(data, manifest.folder("some"))
    file = split_files.build(data, "institution", seed=2)

    path = split_files.save(data, file, split_files.default_name(file))

    assert path.stem == "institution-3folds-seed2"
    assert (file.format_version, split_files.build(data).format_version) == (2, 1)
    assert split_files.splits_of(data, path) == source_splits.institution_folds(data, 2)
    assert "none" in {part for item in file.slices for part in item.parts}


def test_the_protocol_institution_needs_no_file_and_makes_its_own_number_of_folds() -> None:
    data = several()
    manifest.save(data, manifest.folder("some"))

    fields = split_files.recipe_fields("some", "institution")
    recipe = recipes.make(data="some", model="m", fold=2, **fields)

    assert fields == {"split": "", "protocol": "institution", "folds": 3}
    assert split_files.split_of_recipe(data, recipe) == source_splits.institution_folds(data)[1]
    with pytest.raises(UsageError, match="'some' has 3 institutions, a fold for each, and not 5 folds"):
        split_files.build(data, "institution", folds=5)
