"""Combining: the same whatever the order, one person in one group, nothing copied, nothing lost in silence."""

import contextlib
import hashlib
import itertools
import random
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lungcli.core.errors import UsageError
from lungcli.datasets import cache, combine, manifest, source_splits, splits, verify
from lungcli.datasets.ingest import importer
from lungcli.datasets.manifest import Manifest
from tests.imaging.pictures import encoded, noise, png, write


@pytest.fixture
def imported(tmp_path: Path) -> Sequence[str]:
    """Data sets of three hospitals: one without a table; a patient is in two, and a picture in two."""
    plain = {"benign/1.png": png(1), "normal/2.png": png(2), "normal/3.png": png(3)}
    north = b"path,label,patient,institution,mask\na.png,malignant,p1,North,m.png\nb.png,tumour-free,p2,North,\n"
    south = b"path,label,patient,institution\nc.png,normal,p1,South\nd.png,normal,p3,South\ne.png,normal,p4,South\n"
    importer.import_dataset(write(tmp_path / "home", plain))
    importer.import_dataset(
        write(tmp_path / "north", {"labels.csv": north, "a.png": png(4), "b.png": png(5), "m.png": png(6)})
    )
    importer.import_dataset(
        write(tmp_path / "south", {"labels.csv": south, "c.png": png(7), "d.png": png(3), "e.png": png(8)})
    )
    return "home", "north", "south"


MAP = {"tumour-free": "normal"}


def combined(names: Sequence[str], name: str = "all", class_map: Mapping[str, str] = MAP) -> Manifest:
    return combine.combine(names, name, class_map)


def test_classes_institutions_masks_and_groups(imported: Sequence[str]) -> None:
    data = combined(imported)

    assert data.classes == ("benign", "malignant", "normal")
    assert [(item.path, item.label, item.institution, item.mask, item.group) for item in data.slices] == [
        ("slices/home/benign/1.png", "benign", "home", None, 0),
        ("slices/north/malignant/a.png", "malignant", "North", "masks/north/malignant/a.png.png", 1),
        ("slices/home/normal/2.png", "normal", "home", None, 2),
        ("slices/home/normal/3.png", "normal", "home", None, 3),
        ("slices/north/tumour-free/b.png", "normal", "North", None, 4),
        ("slices/south/normal/c.png", "normal", "South", None, 1),
        ("slices/south/normal/e.png", "normal", "South", None, 5),
    ]
    assert combine.shared_patients(data) == 1
    originals = {item.sha256: item.signature for name in imported for item in manifest.load(name).slices}
    assert {item.sha256: item.signature for item in data.slices} == originals
    assert [(item.path, item.reason) for item in data.rejected] == [
        ("south/slices/normal/d.png", "the same picture as home/slices/normal/3.png")
    ]


def test_the_order_of_data_sets_does_not_matter(imported: Sequence[str]) -> None:
    first = combined(imported)
    for number in range(3):
        shuffled = random.Random(number).sample(imported, 3)
        again = combined(shuffled, f"all{number}")
        assert msgspec.structs.replace(again, name="all") == first


SLICES = st.tuples(st.integers(0, 7), st.booleans(), st.sampled_from(("", "", "p1", "p2", "p3")))


@settings(max_examples=20, deadline=None)
@given(hospitals=st.lists(st.lists(SLICES, min_size=2, max_size=6), min_size=2, max_size=3), seed=st.integers(0, 9))
def test_copies_and_patients_of_several_hospitals_are_of_one_group_in_any_order(
    hospitals: list[list[tuple[int, bool, str]]], seed: int
) -> None:
    """Each slice is a picture by number, as it is or encoded anew, and perhaps of a named patient."""
    number_of: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as folder:
        for hospital, slices in enumerate(hospitals):
            table, files = ["path,label,patient,institution"], {}
            for row, (number, is_copy, patient) in enumerate(slices):
                content = encoded(noise(number), "JPEG", quality=80) if is_copy else png(number)
                number_of[hashlib.sha256(content).hexdigest()] = number
                files[f"{row}.png"] = content
                table.append(f"{row}.png,{('normal', 'benign')[number % 2]},{patient},H{hospital}")
            files["labels.csv"] = "\n".join(table).encode()
            importer.import_dataset(write(Path(folder) / f"h{hospital}", files))
    names = [f"h{hospital}" for hospital in range(len(hospitals))]

    data = combined(names, class_map={})
    again = combined(random.Random(seed).sample(names, len(names)), "again", {})

    for name in (*names, "all", "again"):
        manifest.remove(name)
    assert msgspec.structs.replace(again, name="all") == data
    assert {item.sha256 for item in data.slices} == number_of.keys()
    for one, other in itertools.combinations(data.slices, 2):
        if number_of[one.sha256] == number_of[other.sha256] or one.patient == other.patient != "":
            assert one.group == other.group
    # No group, and so no patient and no copy, is in two parts of a fold.
    with contextlib.suppress(UsageError):
        for fold in source_splits.institution_folds(data):
            splits.require_no_leak(data, fold)
            groups = [{data.slices[i].group for i in part} for part in (fold.train, fold.val, fold.test)]
            assert sum(map(len, groups)) == len(set.union(*groups))


def test_files_are_linked_and_outlive_the_other_data_sets(imported: Sequence[str]) -> None:
    data = combined(imported)
    folder = manifest.folder(data.name)
    assert (folder / data.slices[0].path).samefile(manifest.folder("home") / "slices/benign/1.png")

    for name in imported:
        manifest.remove(name)

    assert verify.verify(data).whole
    assert cache.load(data, folder, 32).shape == (7, 32, 32)


def test_files_are_copied_where_there_are_no_links(imported: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr("os.link", refuse)
    data = combined(imported)

    assert verify.verify(data).whole
    assert not (manifest.folder("all") / data.slices[0].path).samefile(manifest.folder("home") / "slices/benign/1.png")


def test_combined_data_sets_combine(imported: Sequence[str]) -> None:
    combined(imported[:2], "two")

    three = combined(["two", "south"], "three", {})

    assert sorted({item.institution for item in three.slices}) == ["North", "South", "home"]
    assert combine.shared_patients(three) == 1
    assert verify.verify(three).whole


def test_a_class_renamed_to_nothing_is_left_out(imported: Sequence[str]) -> None:
    data = combined(imported, class_map={"Tumour_Free": "", "benign": "normal"})

    assert data.classes == ("malignant", "normal")
    assert len(data.slices) == 6


def test_groups_of_a_data_set_stay_together(imported: Sequence[str]) -> None:
    home = manifest.load("home")
    joined = manifest.build(
        "home", tuple(msgspec.structs.replace(item, group=0) for item in home.slices), (), home.source
    )
    manifest.save(joined, manifest.folder("home"))

    data = combined(imported)

    assert len({item.group for item in data.slices if item.institution == "home"}) == 1


def test_two_data_sets_that_disagree_on_a_slice_are_refused(imported: Sequence[str], tmp_path: Path) -> None:
    importer.import_dataset(write(tmp_path / "west", {"benign/x.png": png(2), "normal/y.png": png(9)}))

    with pytest.raises(UsageError) as caught:
        combined([*imported, "west"])

    assert caught.value.message == (
        "the same slice is benign in 'west' (slices/benign/x.png) and normal in 'home' (slices/normal/2.png)"
    )


@pytest.mark.parametrize(
    ("names", "class_map", "message"),
    [
        (["home"], {}, "two data sets or more"),
        (["home", "HOME"], {}, "'home' is named twice"),
        (["home", "nowhere"], {}, "unknown data set 'nowhere'"),
        (["home", "south"], {"tumour-free": "normal"}, "unknown class 'tumour-free'"),
        (["home", "south"], {"normal": "", "benign": ""}, "no slice is left"),
    ],
)
def test_what_cannot_be_combined_says_so(
    imported: Sequence[str], names: list[str], class_map: dict[str, str], message: str
) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        combined(names, class_map=class_map)
    assert caught.value.hint
    assert not manifest.folder("all").exists()


def test_a_taken_name_is_refused(imported: Sequence[str]) -> None:
    with pytest.raises(UsageError, match="there is a data set 'south' already"):
        combined(imported, "south")


def test_several_data_sets_are_combined_once_under_a_name_of_theirs(imported: Sequence[str]) -> None:
    assert combine.combined_name(["south", "home"]) == "home+south"
    made = manifest.load("home+south")
    assert made.source.members == tuple((name, manifest.load(name).digest) for name in ("home", "south"))

    assert combine.combined_name(["home", "south"]) == "home+south"

    manifest.remove("south")
    importer.import_dataset(manifest.folder("north"), "south")
    with pytest.raises(UsageError, match="combines other data than there is now") as caught:
        combine.combined_name(["home", "south"])
    assert "lungcli data remove 'home+south'" in caught.value.hint
