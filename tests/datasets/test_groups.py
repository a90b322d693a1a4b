"""Near-duplicate groups: what joins slices, what does not, and how groups are numbered."""

import random
import tracemalloc
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lungcli.datasets import groups
from lungcli.datasets.groups import Thumbs, near_duplicate_groups, thumbnail
from lungcli.metrics.classification import Ints
from tests.imaging.pictures import noise


def at_correlations(*to_first: float) -> Thumbs:
    """Vectors of unit length: the first, and others with the given correlation to it and nothing else in common."""
    vectors = np.zeros((len(to_first) + 1, 4096), dtype=np.float32)
    vectors[0, 0] = 1
    for i, correlation in enumerate(to_first, start=1):
        vectors[i, 0] = correlation
        vectors[i, i] = np.sqrt(1 - correlation**2)
    return vectors


def found(thumbs: Thumbs, hashes: Sequence[str] = (), order: groups.Order = (), near: float = groups.NEAR) -> list[int]:
    n = len(thumbs)
    numbers = near_duplicate_groups(thumbs, hashes or [f"h{i}" for i in range(n)], order or [None] * n, near=near)
    assert numbers.dtype == np.int64
    return [int(number) for number in numbers]


def test_thumbnails_are_centred_and_of_unit_length() -> None:
    thumbs = np.stack([thumbnail((noise(i) / 255).astype(np.float32)) for i in range(3)])

    assert thumbs.shape == (3, 4096)
    assert thumbs.dtype == np.float32
    np.testing.assert_allclose(thumbs.sum(axis=1), 0, atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(thumbs, axis=1), 1, atol=1e-5)


def test_thumbnail_forgets_brightness_contrast_and_resolution() -> None:
    small, large = noise(1, 64, 64), noise(1, 512, 512)
    dim = (large * 0.4 + 30).astype(np.float32)

    assert float(thumbnail(small) @ thumbnail(dim)) > 0.98


def test_thumbnail_of_a_flat_picture_resembles_nothing() -> None:
    flat = thumbnail(np.full((50, 70), 0.3, dtype=np.float32))

    assert not flat.any()


def test_two_named_patients_are_one_group_only_by_copies() -> None:
    alike, copy = at_correlations(0.97), at_correlations(0.981)

    for thumbs, patients, expected in (
        (alike, ["p", "q"], [0, 1]),
        (copy, ["p", "q"], [0, 0]),
        (alike, ["p", ""], [0, 0]),
        (alike, ["", ""], [0, 0]),
    ):
        assert near_duplicate_groups(thumbs, ["a", "b"], [None] * 2, patients=patients).tolist() == expected


def test_what_is_one_group_already_stays_one() -> None:
    thumbs = at_correlations(0.0, 0.1, 0.2)

    numbers = near_duplicate_groups(thumbs, ["a", "b", "c", "d"], [None] * 4, joined=["x/1", "y/1", "x/1", ""])

    assert numbers.tolist() == [0, 1, 0, 2]


def test_no_thumbnails() -> None:
    assert found(np.zeros((0, 4096), dtype=np.float32)) == []


def test_unlike_slices_stay_apart() -> None:
    assert found(at_correlations(0.5, 0.2, 0.85)) == [0, 1, 2, 3]


def test_near_copies_join_at_the_threshold() -> None:
    assert found(at_correlations(0.91, 0.89)) == [0, 0, 1]
    assert found(at_correlations(0.91, 0.89), near=0.95) == [0, 1, 2]


def test_exact_copies_join_even_when_flat() -> None:
    assert found(np.zeros((3, 4096), dtype=np.float32), hashes=["a", "b", "a"]) == [0, 1, 0]


def test_groups_are_connected_components() -> None:
    # 1 and 2 are both near copies of 0, but only alike through it.
    thumbs = at_correlations(0.92, 0.92)

    assert float(thumbs[1] @ thumbs[2]) < groups.NEAR
    assert found(thumbs) == [0, 0, 0]


def test_neighbours_in_file_order_join_at_a_lower_likeness() -> None:
    thumbs = at_correlations(0.82, 0.7)

    assert found(thumbs, order=[("a", 4), ("a", 5), ("a", 3)]) == [0, 0, 1]


@pytest.mark.parametrize("second", [("b", 5), ("a", 6), ("a", 4), None])
def test_only_the_next_number_of_the_same_folder_is_a_neighbour(second: tuple[str, int] | None) -> None:
    assert found(at_correlations(0.85), order=[("a", 4), second]) == [0, 1]


def test_slices_of_a_patient_join() -> None:
    numbers = near_duplicate_groups(
        at_correlations(0, 0, 0), ["a", "b", "c", "d"], [None] * 4, patients=["p", "", "", "p"]
    )

    assert numbers.tolist() == [0, 1, 2, 0]


def test_likeness_is_found_across_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    thumbs = at_correlations(0.1, 0.1, 0.1, 0.1, 0.1, 0.95, 0.1)
    monkeypatch.setattr(groups, "BLOCK", 3)

    assert found(thumbs) == [0, 1, 2, 3, 4, 5, 0, 6]


@pytest.mark.parametrize("block", [1, 2, 5, 64])
def test_a_chain_of_near_copies_is_one_group_however_it_is_cut(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    """Each is a near copy of the next alone, so joining takes several rounds in a block and goes through blocks."""
    angles = np.arccos(0.92) * np.random.default_rng(0).permutation(40)
    thumbs = np.zeros((40, 4096), dtype=np.float32)
    thumbs[:, 0], thumbs[:, 1] = np.cos(angles), np.sin(angles)
    apart = np.zeros((3, 4096), dtype=np.float32)
    apart[np.arange(3), np.arange(3) + 5] = 1
    monkeypatch.setattr(groups, "BLOCK", block)

    assert found(np.concatenate([apart[:1], thumbs, apart[1:]])) == [0, *[1] * 40, 2, 3]


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 10_000), block=st.integers(1, 30), near=st.floats(0.0, 0.95))
def test_blocks_join_what_one_pair_at_a_time_joins(seed: int, block: int, near: float) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(30, 4))
    thumbs = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    plain = list(range(30))
    for i in range(30):
        for j in range(i):
            if float(thumbs[i] @ thumbs[j]) >= near:
                plain = [plain[j] if number == plain[i] else number for number in plain]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(groups, "BLOCK", block)
        numbers = found(thumbs, near=near)

    assert len(set(numbers)) == len(set(plain)) == len(set(zip(numbers, plain, strict=True)))


def test_thousands_of_near_copies_are_joined_without_listing_their_pairs() -> None:
    """Two million pairs are alike here; a list of them as Python values would take 100 MB and more."""
    thumbs = np.zeros((2000, 4096), dtype=np.float32)
    thumbs[:, 0] = 1
    tracemalloc.start()

    numbers = found(thumbs)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert set(numbers) == {0}
    assert peak < 60e6


def test_near_copies_are_joined_in_few_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Were only rows to choose partners, a block whose rows are one group already would take a round a column."""
    thumbs, rounds, roots = np.zeros((300, 4096), dtype=np.float32), 0, groups._roots
    thumbs[:, 0] = 1

    def counting(parents: Ints) -> Ints:
        nonlocal rounds
        rounds += 1
        return roots(parents)

    monkeypatch.setattr(groups, "_roots", counting)
    monkeypatch.setattr(groups, "BLOCK", 100)

    assert set(found(thumbs)) == {0}
    assert rounds <= 6 * 4


def test_the_number_of_a_file_is_the_last_in_its_name() -> None:
    assert groups.sequence_position("normal", "Normal case (12).jpg") == ("normal/Normal case (", 12)
    assert groups.sequence_position("a", "p003-s02.png") == ("a/p003-s", 2)
    assert groups.sequence_position("a", f"{'9' * 5_000}.png") == (f"a/{'9' * 4_982}", 10**18 - 1)
    assert groups.sequence_position("a", "scan.png") is None


@settings(deadline=None)
@given(hashes=st.lists(st.sampled_from("abcdef"), max_size=30))
def test_numbers_count_up_in_order_of_first_slices(hashes: list[str]) -> None:
    numbers = found(np.zeros((len(hashes), 4096), dtype=np.float32), hashes=hashes)

    firsts = list(dict.fromkeys(numbers))
    assert firsts == list(range(len(set(hashes))))
    assert [numbers[hashes.index(value)] for value in hashes] == numbers


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 1000), shuffle=st.randoms(use_true_random=False))
def test_order_of_slices_does_not_change_who_is_together(seed: int, shuffle: random.Random) -> None:
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(4, 4096))
    rows = centres[rng.integers(0, 4, 14)] + rng.normal(scale=rng.uniform(0.1, 0.4), size=(14, 4096))
    thumbs = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    order = list(range(14))
    shuffle.shuffle(order)

    straight, shuffled = found(thumbs), found(thumbs[order])

    for i in range(14):
        for j in range(14):
            assert (shuffled[i] == shuffled[j]) == (straight[order[i]] == straight[order[j]])


def test_members_of_groups_come_in_order() -> None:
    assert groups.members_by_group([0, 1, 0]) == {0: (0, 2), 1: (1,)}
