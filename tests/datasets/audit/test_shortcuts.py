"""Shortcuts: found where there are some, and nobody accused where there are none."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lungcli.datasets.audit import shortcuts
from lungcli.datasets.audit.shortcuts import leave_group_out, oddity, one_hot, run_test, whitened
from lungcli.metrics import classification

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def bodies(groups: int, each: int, classes: int, seed: int) -> tuple[Ints, Ints]:
    """Labels and groups of `groups` bodies with `each` slices; classes take turns."""
    group = np.repeat(np.arange(groups), each)
    return (group % classes).astype(np.int64), group.astype(np.int64)


def slowly(white: Floats, labels: Ints, group: Ints, classes: int) -> list[int]:
    """The rule of `leave_group_out` as one would say it, a slice at a time."""
    verdicts = []
    for row, own in zip(white, group, strict=True):
        distances = [
            ((row - white[there].mean(axis=0)) ** 2).sum() if there.any() else np.inf
            for there in ((labels == k) & (group != own) for k in range(classes))
        ]
        verdicts.append(int(np.argmin(distances)))
    return verdicts


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10_000), count=st.integers(2, 30), groups=st.integers(2, 6), classes=st.integers(2, 4))
def test_each_slice_meets_means_without_its_own_group(seed: int, count: int, groups: int, classes: int) -> None:
    rng = np.random.default_rng(seed)
    group = np.unique(rng.integers(0, groups, count), return_inverse=True)[1].astype(np.int64)
    labels, white = rng.integers(0, classes, count), rng.normal(size=(count, 3))

    assert leave_group_out(white, labels, group, classes).tolist() == slowly(white, labels, group, classes)


def test_what_tells_the_classes_is_found() -> None:
    labels, group = bodies(24, 5, 3, 0)
    rng = np.random.default_rng(0)
    features = np.stack([labels + rng.normal(scale=0.3, size=120), rng.normal(size=120)], axis=1)

    found = run_test(features, labels, group, 3)

    assert found is not None
    assert found.is_significant()
    assert found.p == 1 / (1 + shortcuts.SHUFFLES)
    assert (found.balanced_accuracy.value or 0) > 0.8
    assert found.chance == pytest.approx(1 / 3, abs=0.06)
    assert found.chance < found.chance_high < 0.6


def test_memory_of_bodies_is_no_shortcut() -> None:
    # Every body has a number of its own that all its slices share, and that says nothing of its class.
    labels, group = bodies(30, 8, 3, 0)
    own = np.random.default_rng(3).normal(size=(30, 4))

    found = run_test(own[group], labels, group, 3)

    assert found is not None
    assert not found.is_significant()
    assert (found.balanced_accuracy.value or 0) < 0.5


def test_clean_data_is_seldom_accused() -> None:
    labels, group = bodies(20, 4, 2, 0)
    accused = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        found = run_test(rng.normal(size=(20, 6))[group] + rng.normal(scale=0.2, size=(80, 6)), labels, group, 2)
        accused += found is not None and found.is_significant()

    # One in a hundred is expected; five of sixty would happen by chance once in 3,000 times.
    assert accused < 5


def test_shuffles_judge_as_the_trial_does() -> None:
    labels, group = bodies(9, 4, 3, 0)
    white = whitened(np.random.default_rng(5).normal(size=(36, 5)))
    rng = np.random.default_rng(7)

    slow = []
    for _ in range(shortcuts.SHUFFLES):
        given = rng.permutation(labels[::4])[group]
        matrix = classification.confusion(given, leave_group_out(white, given, group, 3), 3)
        slow.append(float(classification.balanced_accuracy(matrix)))

    np.testing.assert_allclose(shortcuts._by_chance(white, labels, group, 3, 7), slow)


def test_nothing_to_tell_from() -> None:
    labels, group = bodies(6, 3, 2, 0)

    assert run_test(np.full((18, 2), 512.0), labels, group, 2) is None
    assert run_test(np.random.default_rng(0).normal(size=(18, 2)), labels, np.zeros(18, dtype=np.int64), 2) is None


def test_whitening_leaves_nothing_to_units_or_repetition() -> None:
    rng = np.random.default_rng(1)
    numbers = rng.normal(size=(200, 2))

    once = whitened(numbers)
    rescaled = whitened(numbers * [1000, 0.001] + [5, -3])

    np.testing.assert_allclose(np.abs(once), np.abs(rescaled), atol=1e-9)
    assert once.std(axis=0) == pytest.approx([0.95, 0.95], abs=0.02)
    assert whitened(np.column_stack([numbers, np.full(200, 7.0)])).shape == (200, 2)


def test_one_hot() -> None:
    assert one_hot(["png", "jpeg", "png"]).tolist() == [[0, 1], [1, 0], [0, 1]]


def test_odd_ones_of_one_class() -> None:
    values = ["512×512"] * 30 + ["623×512"] * 9 + ["600×400"]
    labels = ["normal"] * 20 + ["malignant"] * 19 + ["normal"]

    found = oddity(values, labels, list(range(40)))

    assert found is not None
    assert (found.usual, found.slices, found.groups) == ("512×512", 10, 10)
    assert (found.label, found.of_label) == ("malignant", 9)
    assert found.base == 19 / 40


@pytest.mark.parametrize(
    ("odd", "label"),
    [(4, "malignant"), (0, "malignant"), (10, "normal malignant")],
    ids=["too few", "none", "of both classes"],
)
def test_odd_ones_that_say_nothing(odd: int, label: str) -> None:
    labels = ["normal", "malignant"] * 20 + [label.split()[i % len(label.split())] for i in range(odd)]

    assert oddity(["png"] * 40 + ["jpeg"] * odd, labels, list(range(40 + odd))) is None


def test_odd_ones_of_the_class_that_nearly_all_are() -> None:
    assert oddity(["png"] * 94 + ["jpeg"] * 6, ["normal"] * 99 + ["malignant"], list(range(100))) is None
    assert oddity([], [], []) is None
