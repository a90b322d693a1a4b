"""Splits: parts are disjoint and complete, groups stay whole, classes are everywhere, seeds mean the same anywhere."""

import subprocess
import sys
from collections import Counter

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lungcli.core.errors import UsageError
from lungcli.core.recipe import Drawn
from lungcli.datasets import manifest, source_splits, splits
from lungcli.datasets.manifest import Manifest
from lungcli.datasets.source_splits import institution_folds
from lungcli.datasets.splits import Split, cross_validation_folds, make_split
from tests.imaging.pictures import described

CLASSES = ("benign", "malignant", "normal")
PROTOCOLS: tuple[Drawn, ...] = ("grouped", "random")


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    """Two or three classes of three or more groups each, of very different sizes."""
    sizes = st.lists(st.one_of(st.integers(1, 4), st.integers(1, 40)), min_size=3, max_size=14)
    classes = CLASSES[: draw(st.integers(2, 3))]
    return described([(label, size) for label in classes for size in draw(sizes)])


def even(groups: int = 25, size: int = 4) -> Manifest:
    return described([(label, size) for label in CLASSES for _ in range(groups)])


def mixing(first: Manifest) -> Manifest:
    """Join the first group of each class into one group of several classes."""
    firsts = {min(item.group for item in first.slices if item.label == label) for label in first.classes}
    slices = tuple(msgspec.structs.replace(i, group=0 if i.group in firsts else i.group) for i in first.slices)
    return manifest.build("mixed", slices, (), first.source)


def parts(divided: Split) -> list[tuple[int, ...]]:
    return [divided.train, divided.val, divided.test]


@settings(deadline=None)
@given(data=manifests(), seed=st.integers(0, 99), protocol=st.sampled_from(PROTOCOLS))
def test_parts_are_disjoint_complete_and_sorted(data: Manifest, seed: int, protocol: Drawn) -> None:
    divided = make_split(data, protocol, seed)

    assert sorted(i for part in parts(divided) for i in part) == list(range(len(data.slices)))
    assert all(list(part) == sorted(part) for part in parts(divided))
    assert (divided.protocol, divided.seed) == (protocol, seed)


@settings(deadline=None)
@given(data=manifests().flatmap(lambda data: st.sampled_from([data, mixing(data)])), seed=st.integers(0, 99))
def test_groups_never_cross(data: Manifest, seed: int) -> None:
    seen = [{data.slices[i].group for i in part} for part in parts(make_split(data, "grouped", seed))]

    assert sum(map(len, seen)) == len(set.union(*seen))


@settings(deadline=None)
@given(data=manifests(), seed=st.integers(0, 99), protocol=st.sampled_from(PROTOCOLS))
def test_every_class_is_in_every_part(data: Manifest, seed: int, protocol: Drawn) -> None:
    if min(Counter(data.labels()).values()) < 3:
        return
    for part in parts(make_split(data, protocol, seed)):
        assert {data.slices[i].label for i in part} == set(data.classes)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_classes_keep_their_shares(protocol: Drawn, seed: int) -> None:
    data = described([("benign", 3)] * 20 + [("malignant", 9)] * 30 + [("malignant", 40)] * 4 + [("normal", 5)] * 40)
    labels = [item.label for item in data.slices]

    for part, fraction in zip(parts(make_split(data, protocol, seed)), splits.FRACTIONS, strict=True):
        counts = Counter(labels[i] for i in part)
        for label in data.classes:
            assert counts[label] / labels.count(label) == pytest.approx(fraction, abs=0.03)


@pytest.mark.parametrize("seed", range(20))
def test_no_large_group_is_most_of_a_class_in_val_or_test(seed: int) -> None:
    data = described([("benign", 40), ("normal", 30)] + [("benign", 3), ("normal", 4)] * 30)

    divided = make_split(data, "grouped", seed)

    assert not {data.slices[i].group for i in divided.val + divided.test} & {0, 1}


@settings(deadline=None, max_examples=30)
@given(data=manifests(), seed=st.integers(0, 99), protocol=st.sampled_from(PROTOCOLS))
def test_same_seed_same_split(data: Manifest, seed: int, protocol: Drawn) -> None:
    if min(Counter(data.labels()).values()) < 3:
        return
    assert make_split(data, protocol, seed) == make_split(data, protocol, seed)


def test_other_seeds_other_parts() -> None:
    divided = [make_split(even(), "grouped", seed) for seed in range(20)]

    assert len({one.digest for one in divided}) == 20
    assert len({one.test for one in divided}) == 20


def test_every_group_gets_to_be_tested_under_some_seed() -> None:
    data = even(groups=8)
    tested = {data.slices[i].group for seed in range(60) for i in make_split(data, "grouped", seed).test}

    assert tested == {item.group for item in data.slices}


def test_digest_tells_protocol_and_data_apart() -> None:
    data = described([(label, 1) for label in CLASSES for _ in range(9)])
    other = described([(label, 1) for label in CLASSES for _ in range(10)])
    grouped, random = make_split(data, "grouped"), make_split(data, "random")

    assert grouped.test == random.test
    assert len({grouped.digest, random.digest, make_split(other).digest}) == 3


def test_split_does_not_depend_on_the_machine() -> None:
    """The parts of a fixed data set, pinned: a change breaks every comparison with earlier results."""
    divided = make_split(described([("benign", 2), ("normal", 3)] * 5), "grouped", seed=7)

    assert divided.val == (7, 8, 9, 20, 21)
    assert divided.test == (2, 3, 4, 15, 16)


def test_split_does_not_depend_on_hash_randomisation() -> None:
    code = (
        "from tests.datasets.test_splits import even; from lungcli.datasets.splits import make_split; "
        "print(make_split(even()).digest)"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2")
    }

    assert digests == {make_split(even()).digest + "\n"}


@pytest.mark.parametrize("groups", [1, 2])
def test_class_with_too_few_groups(groups: int) -> None:
    data = described([("benign", 20)] * groups + [("normal", 5)] * 9)

    with pytest.raises(UsageError) as caught:
        make_split(data)

    counted = "1 near-duplicate group," if groups == 1 else "2 near-duplicate groups,"
    assert caught.value.message.startswith(f"the class 'benign' has {counted}")
    assert "import more benign slices" in caught.value.hint


def test_too_few_groups_can_still_be_split_at_random() -> None:
    divided = make_split(described([("benign", 20)] + [("normal", 5)] * 9), "random")

    assert all(divided_part for divided_part in parts(divided))


def test_class_with_too_few_slices_at_random() -> None:
    with pytest.raises(UsageError, match="the class 'benign' has 2 slices"):
        make_split(described([("benign", 2)] + [("normal", 5)] * 9), "random")


def test_one_class() -> None:
    with pytest.raises(UsageError, match="fewer than two classes"):
        make_split(described([("benign", 3)] * 9))


def test_no_slices() -> None:
    with pytest.raises(UsageError, match="fewer than two classes"):
        make_split(described([]))


@settings(deadline=None)
@given(data=manifests(), k=st.integers(3, 6), seed=st.integers(0, 99), protocol=st.sampled_from(PROTOCOLS))
def test_folds_test_every_slice_once_and_keep_groups_and_classes(
    data: Manifest, k: int, seed: int, protocol: Drawn
) -> None:
    units = [(item.label, item.group if protocol == "grouped" else item.path) for item in data.slices]
    of_class = Counter(label for label, _ in set(units))
    if min(of_class.values()) < k:
        with pytest.raises(UsageError, match=f"and {k} folds need at least {k}"):
            cross_validation_folds(data, k, seed, protocol)
        return

    divided = cross_validation_folds(data, k, seed, protocol)

    assert [(one.fold, one.folds, one.seed, one.protocol) for one in divided] == [
        (i, k, seed, protocol) for i in range(1, k + 1)
    ]
    assert sorted(i for one in divided for i in one.test) == list(range(len(data.slices)))
    assert len({one.digest for one in divided}) == k
    for one in divided:
        splits.require_no_leak(data, one)
        for part in parts(one):
            assert list(part) == sorted(part)
            assert {data.slices[i].label for i in part} == set(data.classes)
    assert divided == cross_validation_folds(data, k, seed, protocol)


@pytest.mark.parametrize("seed", range(5))
def test_classes_keep_their_shares_in_folds(seed: int) -> None:
    data = described([("benign", 3)] * 20 + [("malignant", 9)] * 30 + [("malignant", 40)] * 4 + [("normal", 5)] * 40)
    labels = [item.label for item in data.slices]

    for one in cross_validation_folds(data, 5, seed):
        for part, fraction in zip(parts(one), (0.64, 0.16, 0.20), strict=True):
            counts = Counter(labels[i] for i in part)
            for label in data.classes:
                assert counts[label] / labels.count(label) == pytest.approx(fraction, abs=0.03)


def test_folds_are_pinned() -> None:
    """The folds of a fixed data set: a change breaks every comparison with earlier results."""
    divided = cross_validation_folds(described([("benign", 2), ("normal", 3)] * 5), 5, seed=7)

    assert [one.test for one in divided] == [
        (0, 1, 7, 8, 9),
        (20, 21, 22, 23, 24),
        (5, 6, 17, 18, 19),
        (10, 11, 12, 13, 14),
        (2, 3, 4, 15, 16),
    ]
    assert [one.digest[:12] for one in divided] == [
        "93cdceb093d8",
        "f0106ea3dc57",
        "b2b03cbf7892",
        "aa94261d0db6",
        "e19dd2a93ff8",
    ]


@pytest.mark.parametrize("k", [-1, 0, 1, 2, 21])
def test_folds_that_cannot_be_meant(k: int) -> None:
    with pytest.raises(UsageError, match=f"{k} folds are not possible"):
        cross_validation_folds(even(), k)


def test_too_few_groups_for_so_many_folds() -> None:
    with pytest.raises(UsageError, match="the class 'benign' has 4 near-duplicate groups, and 5 folds need") as caught:
        cross_validation_folds(described([("benign", 20)] * 4 + [("normal", 5)] * 9), 5)
    assert "make 4 folds" in caught.value.hint


def test_sums_do_not_depend_on_the_version_of_python() -> None:
    """From 3.12 on, `sum` corrects its rounding errors, and this would be 1."""
    assert splits._sum([0.1] * 10) == 0.9999999999999999


def test_a_random_split_leaks_and_says_how_much() -> None:
    data = even(groups=10)
    divided = make_split(data, "random")

    found = splits.count_leaks(data, divided)

    crossing = {
        g for g in range(30) if len({n for n, part in enumerate(parts(divided)) for i in part if i // 4 == g}) > 1
    }
    assert found == splits.LeakCounts(groups=len(crossing), contents=0, patients=0, institutions=0)
    assert found.groups > 10
    splits.require_no_leak(data, divided)


@pytest.mark.parametrize(
    ("field", "value", "what"),
    [
        ("group", 0, "1 near-duplicate groups"),
        ("sha256", "same", "1 pictures with exact copies"),
        ("patient", "p", "1 pat"),
    ],
)
def test_a_grouped_split_that_leaks_is_refused(field: str, value: object, what: str) -> None:
    data = even(groups=5)
    divided = make_split(data)
    shared = (divided.train[0], divided.test[0])
    slices = [
        msgspec.structs.replace(item, **{field: value}) if i in shared else item for i, item in enumerate(data.slices)
    ]
    if field == "group":
        slices = [
            msgspec.structs.replace(item, group=100 + i) if i not in shared else item for i, item in enumerate(slices)
        ]
    changed = manifest.build("some", tuple(slices), (), data.source)

    with pytest.raises(UsageError, match=f"grouped split with seed 0 leaks: {what}") as caught:
        splits.require_no_leak(changed, divided)
    assert caught.value.hint == "make one that does not: lungcli data split 'some'"


def test_a_split_with_a_slice_twice_or_nowhere_is_refused() -> None:
    data = even(groups=5)
    divided = make_split(data)

    for bad in (divided.train + divided.test[:1], divided.train[1:], (*divided.train[1:], len(data.slices))):
        with pytest.raises(UsageError, match="several parts, or in none"):
            splits.require_no_leak(data, msgspec.structs.replace(divided, train=bad))


HOSPITALS = ("North", "South", "West 2", "West 10")


def located(data: Manifest, places: list[int]) -> Manifest:
    """The slices of a data set, each taken in one of HOSPITALS."""
    slices = tuple(
        msgspec.structs.replace(item, institution=HOSPITALS[place])
        for item, place in zip(data.slices, places, strict=True)
    )
    return manifest.build("some", slices, (), data.source)


@st.composite
def several_hospitals(draw: st.DrawFn) -> Manifest:
    """A data set of two to four hospitals, each with two groups of every class; any two may share further groups."""
    number = draw(st.integers(2, 4))
    own = [(label, draw(st.integers(1, 8))) for _ in range(number) for label in CLASSES for _ in range(2)]
    shared = draw(st.lists(st.tuples(st.sampled_from(CLASSES), st.integers(2, 8)), max_size=6))
    data = described([*own, *shared])
    return located(
        data,
        [
            item.group // (2 * len(CLASSES)) if item.group < len(own) else draw(st.integers(0, number - 1))
            for item in data.slices
        ],
    )


@settings(deadline=None)
@given(data=several_hospitals(), seed=st.integers(0, 99))
def test_no_institution_and_no_group_is_on_two_sides(data: Manifest, seed: int) -> None:
    _require_sound(data, institution_folds(data, seed))


def _require_sound(data: Manifest, folds: tuple[Split, ...]) -> None:
    names = source_splits.institutions(data)
    where = data.institutions()
    for fold, name in zip(folds, names, strict=True):
        assert [i for i, place in enumerate(where) if place == name] == list(fold.test)
        group_parts = [{data.slices[i].group for i in part} for part in parts(fold)]
        assert sum(map(len, group_parts)) == len(set.union(*group_parts))
        left_out = set(range(len(data.slices))) - {i for part in parts(fold) for i in part}
        assert {data.slices[i].group for i in left_out} <= group_parts[2]
        assert fold.train
        assert fold.val
        splits.require_no_leak(data, fold)
    assert [(fold.protocol, fold.folds, fold.fold) for fold in folds] == [
        ("institution", len(names), number) for number in range(1, len(names) + 1)
    ]
    assert sorted(i for fold in folds for i in fold.test) == list(range(len(data.slices)))


def test_institutions_are_left_out_by_name() -> None:
    data = located(even(groups=8), [i // 4 % 4 for i in range(96)])

    assert source_splits.institutions(data) == ("North", "South", "West 2", "West 10")
    assert splits.describe(institution_folds(data)[3]) == "fold 4 of 4 of the institution split with seed 0"


def test_validation_has_every_class_that_is_left() -> None:
    data = located(even(groups=8), [i // 4 % 4 for i in range(96)])

    for fold in institution_folds(data):
        for part in (fold.train, fold.val):
            assert {data.slices[i].label for i in part} == set(CLASSES)


@pytest.mark.parametrize(
    ("groups", "places", "message"),
    [
        ([("benign", 2), ("normal", 2)], [0] * 4, "takes 2 to 20 of them, and 'some' has 1"),
        ([("benign", 2), ("normal", 2)], [0, 0, 0, 1], "the institution 'South' has a single slice"),
        (
            [("benign", 2), ("normal", 2)],
            [0, 0, 1, 1],
            "without the institution 'North' fewer than two classes are left",
        ),
        (
            [("malignant", 2), ("malignant", 2), ("normal", 2), ("benign", 2), ("normal", 2), ("benign", 2)],
            [0, 0, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1],
            "without the institution 'North' 1 group with malignant slices are left, and it takes two",
        ),
        (
            [("malignant", 2), ("malignant", 2), ("normal", 2), ("benign", 2), ("normal", 2), ("benign", 2)],
            [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1],
            "without the institution 'North' no groups with malignant slices are left",
        ),
    ],
)
def test_institutions_that_cannot_be_left_out(groups: list[tuple[str, int]], places: list[int], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        institution_folds(located(described(groups), places))
    assert caught.value.hint


def test_a_split_that_trains_on_the_tested_institution_is_refused() -> None:
    data = located(even(groups=8), [i // 4 % 4 for i in range(96)])
    fold = institution_folds(data)[0]
    moved = msgspec.structs.replace(fold, train=tuple(sorted((*fold.train, *fold.test[:4]))), test=fold.test[4:])

    with pytest.raises(UsageError, match="tests an institution that it trains on"):
        splits.require_no_leak(data, moved)


def test_names_of_splits() -> None:
    data = even(groups=5)

    assert splits.describe(make_split(data, "random", 3)) == "the random split with seed 3"
    assert splits.describe(cross_validation_folds(data, 4)[1]) == "fold 2 of 4 of the grouped split with seed 0"
