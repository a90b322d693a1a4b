"""The audit of whole data sets: a clean one, and one in which everything that can be wrong is."""

import msgspec
import numpy as np
import pytest

from lungcli.core.errors import UnreadableInputError
from lungcli.datasets import manifest
from lungcli.datasets.audit import features
from lungcli.datasets.audit.audit import LEVELS, Audit, audit
from lungcli.datasets.audit.findings import SEVERITIES
from lungcli.datasets.ingest.ingest import IncomingFile, write_dataset
from lungcli.datasets.manifest import Manifest, Source
from tests.imaging.pictures import encoded, noise

ABOUT = Source(about="made up")


def audited(made: Manifest) -> Audit:
    return audit(made, features.dataset_features(made, manifest.folder(made.name), 64))


def near(seed: int, step: int) -> bytes:
    """A slice that shows body `seed`, a little different at every `step`."""
    changed = noise(seed).copy()
    changed[step : step + 3, :3] ^= 64
    return encoded(changed)


@pytest.fixture
def clean() -> Manifest:
    """45 bodies of three classes with two near copies each."""
    files = [
        IncomingFile(label="abc"[body % 3], filename=f"{body}-{step}.png", content=near(body, step))
        for body in range(45)
        for step in range(2)
    ]
    return write_dataset("clean", files, ABOUT, ordered=False)


@pytest.fixture
def faulty() -> Manifest:
    """Six things are wrong with it: see the test."""
    files = [
        IncomingFile(label=label, filename=f"{label}{i}.png", content=near(10 * place + i // 2, i % 2))
        for place, label in enumerate(("benign", "malignant", "normal"))
        for i in range(20 if label == "malignant" else 10)
    ]
    files += [
        IncomingFile(label="malignant", filename=f"large{i}.png", content=encoded(noise(60 + i, 48, 60)))
        for i in range(6)
    ]
    files += [IncomingFile(label="benign", filename="again.png", content=near(0, 0))]
    files += [IncomingFile(label="normal", filename="mislabelled.png", content=near(10, 5))]
    files += [IncomingFile(label="normal", filename="contradiction.png", content=near(2, 1))]
    made = write_dataset("faulty", files, ABOUT, ordered=False)
    slices = manifest.folder("faulty") / "slices"
    (slices / "benign" / "benign7.png").write_bytes(b"not a picture")
    (slices / "normal" / "normal3.png").write_bytes(near(99, 0))
    return made


def test_everything_wrong_is_found(faulty: Manifest) -> None:
    found = audited(faulty)
    by_id = {item.id: item for item in found.findings}

    graveness = [SEVERITIES.index(item.severity) for item in found.findings]
    assert graveness == sorted(graveness)
    assert by_id["files.unreadable"].examples == ("slices/benign/benign7.png: it is not a picture",)
    assert by_id["files.changed"].examples == ("slices/normal/normal3.png",)
    assert by_id["copies.exact"].examples == ("slices/benign/again.png = slices/benign/benign0.png",)
    assert by_id["conflict.copies"].examples == ("slices/benign/benign5.png = slices/normal/contradiction.png",)
    assert "slices/malignant/malignant0.png ↔ slices/normal/mislabelled.png" in " ".join(
        by_id["conflict.labels"].examples
    )
    assert by_id["shortcut.size"].title == "picture size: 6 of 6 slices that are not 48×48 are malignant"
    assert {"groups.mixed", "classes.few-groups"} <= set(by_id)
    assert found.slices == len(faulty.slices) - 1
    assert found.count("error") == 4


def test_a_clean_set_is_only_warned_of_random_splits(clean: Manifest) -> None:
    found = audited(clean)

    assert [item.id for item in found.findings] == ["leak.memory", "copies.near"]
    assert [(item.slices, item.groups) for item in found.classes] == [(30, 15)] * 3
    assert found.nearest_neighbour is not None
    assert found.nearest_neighbour.random_accuracy == 1.0
    assert found.nearest_neighbour.grouped_accuracy < 0.6
    assert found.copies == ()
    assert found.conflicts == ()
    assert [item.before for item in found.shortcuts[:3]] == [None, None, None]
    assert all(item.before and item.after for item in found.shortcuts[3:])


def test_the_threshold_is_shown_with_what_it_does(clean: Manifest) -> None:
    random, *by_likeness, imported = audited(clean).groupings

    assert (random.name, random.groups, random.largest) == ("random split", 90, 1)
    assert [item.name for item in by_likeness] == [f"likeness ≥ {level:.2f}" for level in LEVELS]
    assert all((item.groups, item.largest) == (45, 2) for item in (*by_likeness, imported))
    assert random.crossing[0].slices / random.crossing[0].n > 0.5
    assert [item.slices for item in imported.crossing] == [0] * 4


def resembling(shared: int, own: int, weight: float) -> bytes:
    """A slice that shares a picture with others: their correlation is about 1 / (1 + weight²)."""
    common, private = (np.random.default_rng(seed).normal(size=(8, 8)) for seed in (shared, 50 + own))
    blocks = np.kron(128 + 25 * (common + weight * private), np.ones((6, 6)))
    return encoded(np.clip(blocks, 0, 255).astype(np.uint8))


def test_a_faint_likeness_across_classes_is_no_conflict() -> None:
    files = [IncomingFile(label="ab"[i % 2], filename=f"{i}.png", content=resembling(0, i, 0.6)) for i in range(12)]

    found = audited(write_dataset("faint", files, ABOUT, ordered=False))

    assert found.conflicts == ()
    assert found.groups == 12


def test_slices_that_resemble_the_test_cross_below_the_threshold() -> None:
    files = [
        IncomingFile(label="ab"[i % 2], filename=f"{i}.png", content=resembling(i % 2, i, 0.38)) for i in range(40)
    ]
    found = audited(write_dataset("alike", files, ABOUT, ordered=False))

    by_id = {item.id: item for item in found.findings}
    assert by_id["split.crossing"].severity == "note"
    assert [item.slices for item in found.groupings[-1].crossing[:3]] == [0, 0, 0]
    assert found.groupings[-1].crossing[3].slices > 0


def test_groups_that_are_not_those_of_the_slices_leak(clean: Manifest) -> None:
    alone = tuple(msgspec.structs.replace(item, group=i) for i, item in enumerate(clean.slices))

    found = audited(manifest.build(clean.name, alone, (), clean.source))

    assert next(item for item in found.findings if item.id == "split.crossing").severity == "error"


@pytest.mark.parametrize("named", [False, True])
def test_slices_of_two_named_patients_are_no_near_duplicates_unless_they_are_copies(*, named: bool) -> None:
    """Forty bodies alike, at about .95: only what names patients says that they are forty."""
    files = [
        IncomingFile(
            label="ab"[i % 2],
            filename=f"{i}.png",
            content=resembling(i % 2, i, 0.3),
            patient=f"patient-{i}" if named else "",
        )
        for i in range(40)
    ]
    made = write_dataset("alike", files, ABOUT, ordered=False)
    apart = tuple(msgspec.structs.replace(item, group=i) for i, item in enumerate(made.slices))

    found = audited(manifest.build(made.name, apart, (), made.source))

    crossing = [item.severity for item in found.findings if item.id == "split.crossing"]
    assert crossing == ([] if named else ["error"])
    assert (max(item.group for item in made.slices) == 39) is named


def test_a_shortcut_in_the_border_is_found_and_preparation_takes_it_out() -> None:
    def content(body: int) -> bytes:
        picture = noise(body, 64, 64).copy()
        picture[:8] = 40 + 160 * (body % 2)
        return encoded(picture)

    files = [IncomingFile(label="ab"[i % 2], filename=f"{i}.png", content=content(i)) for i in range(40)]
    found = audited(write_dataset("marked", files, ABOUT, ordered=False))

    marked = {item.name: item for item in found.shortcuts}["border-thumbnail"]
    assert marked.before is not None
    assert marked.after is not None
    assert marked.before.is_significant()
    assert not marked.after.is_significant()
    assert "shortcut.border-thumbnail" in {item.id for item in found.findings}


def test_the_same_data_has_the_same_audit(clean: Manifest) -> None:
    found = audited(clean)

    assert msgspec.json.encode(found) == msgspec.json.encode(audited(clean))
    assert msgspec.json.decode(msgspec.json.encode(found), type=Audit) == found


def test_one_group_is_no_data_set_to_learn_from() -> None:
    files = [IncomingFile(label="ab"[i % 2], filename=f"{i}.png", content=near(1, i)) for i in range(4)]

    found = audited(write_dataset("one", files, ABOUT, ordered=False))

    assert found.nearest_neighbour is None
    assert found.groupings[-1].crossing == ()
    assert {"split.impossible", "conflict.labels"} <= {item.id for item in found.findings if item.severity == "error"}


def test_nothing_left_to_read(clean: Manifest) -> None:
    for item in clean.slices:
        (manifest.folder("clean") / item.path).unlink()

    with pytest.raises(UnreadableInputError, match="no slice of the data set 'clean' can be read"):
        audited(clean)


def test_institutions_of_one_class_and_what_shows_them() -> None:
    """Of two hospitals the second has one class, and its slices are bright."""
    files = [
        IncomingFile(
            label="ab"[body % 2] if body < 20 else "a",
            filename=f"{body}.png",
            content=encoded((noise(body) // 2 + (128 if body >= 20 else 0)).astype(np.uint8)),
            institution="North" if body < 20 else "South",
        )
        for body in range(40)
    ]

    result = audited(write_dataset("two", files, ABOUT, ordered=False))

    by_id = {item.id: item for item in result.findings}
    assert by_id["institutions.one-class"].examples == ("South: 20 a",)
    assert result.institutions is not None
    assert 0 <= result.institutions.p <= 1
    assert by_id["institutions.visible"].severity == ("warning" if result.institutions.is_significant() else "note")


def test_a_single_institution_is_no_finding(clean: Manifest) -> None:
    result = audited(clean)

    assert result.institutions is None
    assert not [item for item in result.findings if item.id.startswith("institutions")]
