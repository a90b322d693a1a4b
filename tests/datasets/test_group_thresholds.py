"""What thresholds do, by hand, by listing all pairs, and on phantoms whose patients are known."""

import itertools

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lungcli.datasets import group_thresholds, groups, manifest
from lungcli.datasets.groups import Thumbs
from lungcli.datasets.ingest.ingest import IncomingFile, write_dataset
from lungcli.datasets.manifest import Source
from lungcli.datasets.phantom import dataset
from tests.datasets.test_groups import at_correlations
from tests.imaging.pictures import png


def drawn(slices: int, seed: int, side: int = 128) -> tuple[Thumbs, list[str]]:
    """Thumbnails of phantoms, and whose each is."""
    people = list(dataset.patients(slices, seed))
    drawings = [dataset.render(patient, z, side) for patient in people for z in patient.positions()]
    thumbs = np.stack([groups.thumbnail((drawing / np.float32(255)).astype(np.float32)) for drawing in drawings])
    return thumbs, [patient.name for patient in people for _ in patient.positions()]


def test_by_hand() -> None:
    # To the first: a near copy, one that is alike, and one that is neither.
    thumbs, hashes = at_correlations(0.93, 0.82, 0.1), list("abcd")

    loose, used, strict = group_thresholds.threshold_effects(thumbs, hashes, [None] * 4, thresholds=(0.8, 0.9, 0.95))

    assert (loose.near, loose.groups, loose.largest, loose.copies_apart, loose.alike_apart) == (0.8, 2, 3, 0.0, 0.0)
    # The third is alike to the first, both are then apart; the second (0.76 to the third) is not.
    assert (used.groups, used.largest, used.copies_apart) == (3, 2, 0.0)
    assert used.alike_apart == pytest.approx(2 / 3)
    assert (strict.groups, strict.largest, strict.copies_apart, strict.alike_apart) == (4, 1, 1.0, 1.0)
    assert used.pairs is None


def test_where_nothing_is_alike_there_is_no_share() -> None:
    (found,) = group_thresholds.threshold_effects(at_correlations(0.1, 0.2), list("abc"), [None] * 3, thresholds=(0.9,))

    assert (found.copies_apart, found.alike_apart) == (None, None)


def test_file_order_is_followed_and_patients_only_judge() -> None:
    thumbs = at_correlations(0.82, 0.1)

    (found,) = group_thresholds.threshold_effects(
        thumbs, list("abc"), [("f", 1), ("f", 2), None], ["p", "q", "p"], thresholds=(0.9,)
    )

    assert found.groups == 2
    assert found.pairs == group_thresholds.PairScores(precision=0.0, recall=0.0)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.sampled_from(["", "p", "q", "r"])), max_size=14))
def test_pairwise_is_what_listing_all_pairs_gives(slices: list[tuple[int, str]]) -> None:
    known = [(number, patient) for number, patient in slices if patient]
    pairs = [(a == b, p == q) for (a, p), (b, q) in itertools.combinations(known, 2)]
    together, same, both = (sum(map(which, pairs)) for which in (lambda i: i[0], lambda i: i[1], all))

    found = group_thresholds.pair_scores([number for number, _ in slices], [patient for _, patient in slices])

    assert found.precision == (pytest.approx(both / together) if together else None)
    assert found.recall == (pytest.approx(both / same) if same else None)


@pytest.mark.parametrize("seed", range(3))
def test_likeness_finds_the_patients_of_phantoms(seed: int) -> None:
    """Pairwise precision and recall of the threshold in use; bodies drawn apart are easier than real ones."""
    thumbs, patients = drawn(90, seed)

    numbers = groups.near_duplicate_groups(thumbs, [str(i) for i in range(len(thumbs))], [None] * len(thumbs))
    found = group_thresholds.pair_scores(numbers.tolist(), patients)

    print(f"seed {seed}: pairwise precision {found.precision:.3f}, recall {found.recall:.3f}")
    assert found.precision is not None
    assert found.precision >= 0.85
    assert found.recall == 1.0


def test_a_looser_threshold_joins_and_a_stricter_one_parts() -> None:
    thumbs, patients = drawn(90, 0)
    hashes = [str(i) for i in range(len(thumbs))]

    found = group_thresholds.threshold_effects(thumbs, hashes, [None] * len(thumbs), patients)

    assert [effect.near for effect in found] == [0.8, 0.85, 0.9, 0.95, 0.98]
    for looser, stricter in itertools.pairwise(found):
        assert looser.groups <= stricter.groups
        assert looser.largest >= stricter.largest
        assert looser.copies_apart is not None
        assert stricter.copies_apart is not None
        assert looser.copies_apart <= stricter.copies_apart
        assert looser.pairs is not None
        assert stricter.pairs is not None
        assert looser.pairs.recall is not None
        assert stricter.pairs.recall is not None
        assert looser.pairs.recall >= stricter.pairs.recall
    assert found[2].copies_apart == 0


@pytest.mark.parametrize("ordered", [True, False])
def test_of_a_data_set_on_disk(ordered: bool) -> None:
    incoming = [IncomingFile(label="ab"[i % 2], filename=f"x ({i}).png", content=png(i % 4)) for i in range(8)]
    made = write_dataset("some", incoming, Source(about="made up"), ordered=ordered)

    found = {effect.near: effect for effect in group_thresholds.evaluate_thresholds(made)}

    assert manifest.load("some").source == msgspec.structs.replace(made.source, ordered=ordered)
    assert found[groups.NEAR].groups == len({item.group for item in made.slices})
    assert found[groups.NEAR].largest == 2
