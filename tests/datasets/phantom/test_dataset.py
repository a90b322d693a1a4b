"""Phantoms: the same seed draws the same slices, and nothing but the nodule knows the class."""

import dataclasses
import itertools
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lungcli.core.errors import UsageError
from lungcli.datasets import groups, manifest
from lungcli.datasets.phantom import dataset
from lungcli.datasets.phantom.dataset import Patient
from tests.datasets.phantom.nodules import spot_of

SIDE = 128


def drawn(slices: int = 60, seed: int = 0) -> list[Patient]:
    return list(dataset.patients(slices, seed))


def middle(patient: Patient) -> float:
    positions = patient.positions()
    return positions[len(positions) // 2]


def of_class(people: Sequence[Patient], label: str) -> list[Patient]:
    return [patient for patient in people if patient.label == label]


def test_the_same_seed_draws_the_same_pixels_in_any_order() -> None:
    first, again = drawn()[:3], drawn()[:3]

    forwards = [dataset.render(patient, middle(patient), SIDE) for patient in first]
    backwards = [dataset.render(patient, middle(patient), SIDE) for patient in reversed(again)]

    for one, other in zip(forwards, reversed(backwards), strict=True):
        np.testing.assert_array_equal(one, other)


def test_another_seed_draws_other_bodies() -> None:
    ours, theirs = drawn(seed=0)[0], drawn(seed=1)[0]

    assert ours.body != theirs.body
    assert groups.thumbnail(dataset.render(ours, 0.0, SIDE)) @ groups.thumbnail(dataset.render(theirs, 0.0, SIDE)) < 0.9


def test_a_slice_is_a_grey_square_that_uses_the_grey_scale() -> None:
    pixels = dataset.render(drawn()[0], 0.0, SIDE)

    assert pixels.shape == (SIDE, SIDE)
    assert pixels.dtype == np.uint8
    assert (pixels > 200).mean() > 0.1
    assert (pixels < 120).mean() > 0.3


def test_noise_differs_between_slices_and_stays_within_a_slice() -> None:
    patient = drawn()[0]

    air = [dataset.render(patient, z, SIDE)[:6, SIDE // 2 - 20 : SIDE // 2 + 20].astype(float) for z in (0.0, 0.001)]

    assert air[0].std() > 0.5
    assert not np.array_equal(air[0], air[1])


@given(slices=st.integers(30, 400), seed=st.integers(0, 2**32))
@settings(deadline=None, max_examples=50)
def test_every_slice_asked_for_is_planned_and_every_class_can_be_split(slices: int, seed: int) -> None:
    plan = dataset._plan(slices, seed)

    assert sum(count for _, count in plan) == slices
    assert all(2 <= count <= 11 for _, count in plan)
    of_label = Counter(label for label, _ in plan)
    assert set(of_label) == {"benign", "malignant", "normal"}
    assert min(of_label.values()) >= (3 if slices < 60 else 4)


def test_classes_have_about_their_shares() -> None:
    assert Counter(label for label, _ in dataset._plan(240, 0)) == {"normal": 24, "benign": 15, "malignant": 21}


@pytest.mark.parametrize(("slices", "seed", "why"), [(29, 0, "29 slices are too few"), (60, -1, "the seed is -1")])
def test_what_cannot_be_drawn_is_refused(slices: int, seed: int, why: str) -> None:
    with pytest.raises(UsageError, match=why) as caught:
        dataset.make_dataset(slices=slices, seed=seed, side=SIDE)

    assert caught.value.hint
    assert not manifest.existing()


def test_the_class_decides_the_nodule_and_nothing_else() -> None:
    """Body, vessels and scanner come out the same whatever class the patient was given."""
    several = [list(itertools.islice(dataset.patients(slices, 0), 12)) for slices in (240, 300, 360)]

    for same in zip(*several, strict=True):
        for patient in same[1:]:
            assert patient.body == same[0].body
            np.testing.assert_array_equal(patient.tree, same[0].tree)
            assert dataclasses.replace(patient.scan, slices=1) == dataclasses.replace(same[0].scan, slices=1)
    assert sum(len({patient.label for patient in same}) > 1 for same in zip(*several, strict=True)) >= 5


def test_normal_patients_have_no_nodule() -> None:
    for patient in of_class(drawn(), "normal"):
        assert patient.nodule is None
        assert spot_of(patient, 0.0) is None


@pytest.mark.parametrize(("label", "low", "high"), [("benign", 16, 20), ("malignant", 30, 36)])
def test_nodules_have_the_size_of_their_class(label: str, low: float, high: float) -> None:
    people = of_class(drawn(120), label)

    diameters = [2 * patient.nodule.radius for patient in people if patient.nodule]

    assert len(diameters) == len(people)
    assert low <= min(diameters)
    assert max(diameters) <= high


@pytest.mark.parametrize("label", ["benign", "malignant"])
def test_every_slice_of_a_patient_with_a_nodule_shows_it(label: str) -> None:
    for patient in of_class(drawn(), label):
        plain = dataclasses.replace(patient, nodule=None)
        for z in patient.positions():
            spot = spot_of(patient, z, 256)
            assert spot is not None
            change = dataset.render(patient, z, 256).astype(int) - dataset.render(plain, z, 256)
            y, x = round(spot.y), round(spot.x)
            assert change[y - 1 : y + 2, x - 1 : x + 2].max() > 25
            rows, columns = np.nonzero(np.abs(change) > 8)
            # Spicules reach up to 1.65 radii, and the blur a little further.
            assert np.hypot(rows - spot.y, columns - spot.x).max() < 1.7 * spot.radius + 4


def test_a_spot_scales_with_the_picture() -> None:
    patient = of_class(drawn(), "malignant")[0]

    small, large = spot_of(patient, 0.0, 128), spot_of(patient, 0.0, 512)

    assert small is not None
    assert large is not None
    assert large.radius == pytest.approx(4 * small.radius)
    assert large.x + 0.5 == pytest.approx(4 * (small.x + 0.5))
    assert large.y + 0.5 == pytest.approx(4 * (small.y + 0.5))


def test_the_data_set_is_written_with_its_patients_and_where_it_comes_from() -> None:
    heard: list[tuple[int, int]] = []

    made = dataset.make_dataset(
        slices=36, seed=3, name="tiny", side=SIDE, advance=lambda done, of: heard.append((done, of))
    )

    assert manifest.load("tiny") == made
    assert made.classes == ("benign", "malignant", "normal")
    assert len(made.slices) == 36
    assert not made.rejected
    assert made.source.synthetic
    assert made.source.licence == "CC0-1.0"
    assert "seed 3" in made.source.about
    assert heard[-1] == (36, 36)
    labels = {f"phantom-3-{patient.name}": patient.label for patient in drawn(36, 3)}
    assert {item.patient: item.label for item in made.slices} == labels
    assert len({item.group for item in made.slices}) >= 9
    for item in made.slices:
        assert item.size == (SIDE, SIDE)
        assert item.path.startswith(f"slices/{item.label}/{item.patient.removeprefix('phantom-3-')}-s")
    assert [item.path for item in made.slices] == sorted(item.path for item in made.slices)


def test_the_same_seed_makes_the_same_data_set() -> None:
    first = dataset.make_dataset(slices=30, name="first", side=64)
    again = dataset.make_dataset(slices=30, name="again", side=64)
    other = dataset.make_dataset(slices=30, seed=1, name="other", side=64)

    assert first.digest == again.digest
    assert other.digest != first.digest
