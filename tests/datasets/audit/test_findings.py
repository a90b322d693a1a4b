"""Findings: what is said, how gravely, and when nothing is."""

from collections.abc import Iterable

import pytest

from lungcli.datasets.audit import findings
from lungcli.datasets.audit.findings import ClassCount, Crossing, Finding, Pair
from lungcli.datasets.audit.knn_baseline import NearestNeighbour
from lungcli.datasets.audit.shortcuts import Oddity, Shortcut, ShortcutTest
from lungcli.datasets.manifest import Rejected
from lungcli.metrics.intervals import Estimate


def short(found: Iterable[Finding]) -> list[tuple[str, str, str]]:
    return [(item.severity, item.id, item.title) for item in found]


def pair(correlation: float) -> Pair:
    return Pair(paths=("a.png", "b.png"), labels=("benign", "normal"), correlation=correlation)


def trial(p: float) -> ShortcutTest:
    return ShortcutTest(balanced_accuracy=Estimate(value=0.6, low=0.5, high=0.7), chance=0.33, chance_high=0.45, p=p)


def test_files() -> None:
    broken = Rejected(path="slices/a.png", reason="it is empty")

    found = list(findings.files([broken], ["slices/b.png", "slices/c.png"], [broken, broken]))

    assert short(found) == [
        ("error", "files.unreadable", "1 slice can no longer be read"),
        ("error", "files.changed", "2 slices changed after the import"),
        ("note", "files.left-out", "2 files of the source were left out"),
    ]
    assert found[0].examples == ("slices/a.png: it is empty",)
    assert list(findings.files([], [], [])) == []


def test_copies_within_a_class_count_twice_and_across_classes_contradict() -> None:
    labels = {"a": "x", "b": "x", "c": "x", "d": "x", "e": "y"}

    found = list(findings.copies([("a", "b", "c"), ("d", "e")], labels))

    assert short(found) == [
        ("error", "conflict.copies", "1 picture stored under several classes"),
        ("warning", "copies.exact", "2 exact copies of 1 picture"),
    ]
    assert found[0].examples == ("d = e",)
    assert list(findings.copies([], {})) == []


def test_conflicts_are_errors_only_between_near_copies() -> None:
    found = list(findings.conflicts([pair(0.99), pair(0.98), pair(0.95)]))

    assert short(found) == [
        ("error", "conflict.labels", "2 pairs of near copies with different labels"),
        ("warning", "conflict.look-alikes", "1 pair of near-duplicates with different labels"),
    ]
    assert found[1].examples == ("a.png ↔ b.png (0.950)",)
    assert list(findings.conflicts([])) == []


def test_near_copies() -> None:
    (found,) = list(findings.near_copies(88, 3, 100))

    assert (found.severity, found.title) == ("note", "88% of the slices have a near copy")
    assert "3 of them one of another class" in found.detail
    assert list(findings.near_copies(0, 0, 100)) == []


def test_mixed_groups_largest_first() -> None:
    (found,) = list(findings.mixed_groups([0, 0, 1, 1, 1, 2], ["x", "y", "y", "x", "y", "x"]))

    assert found.examples == ("group 1: 2 y, 1 x", "group 0: 1 x, 1 y")
    assert list(findings.mixed_groups([0, 1], ["x", "y"])) == []


def test_classes() -> None:
    counts = [ClassCount(label="benign", slices=20, groups=18), ClassCount(label="malignant", slices=60, groups=14)]

    found = list(findings.classes(counts))

    assert short(found) == [
        ("warning", "classes.imbalance", "malignant has 3.0 times the slices of benign"),
        ("warning", "classes.few-groups", "few near-duplicate groups: malignant 14"),
    ]
    assert "75.0%" in found[0].detail
    assert list(findings.classes([ClassCount(label=label, slices=40, groups=15) for label in "ab"])) == []


@pytest.mark.parametrize(
    ("slices", "severity", "says"),
    [
        ((0, 0, 0, 0), None, ""),
        ((0, 0, 0, 4), "note", "4 of 10 test slices are similar to one"),
        ((0, 1, 2, 4), "error", "2 of 10 test slices have a near-duplicate in training or validation"),
    ],
)
def test_crossing(slices: tuple[int, ...], severity: str | None, says: str) -> None:
    levels = (0.98, 0.95, 0.90, 0.85)

    crossings = [Crossing(level=level, slices=count, n=10) for level, count in zip(levels, slices, strict=True)]
    found = list(findings.crossing(crossings, ""))

    assert [item.severity for item in found] == ([severity] if severity else [])
    assert all(says in item.title for item in found)


def test_no_split() -> None:
    assert short(findings.crossing([], "the class 'a' has 1 group")) == [
        ("error", "split.impossible", "the class 'a' has 1 group")
    ]


def test_shortcuts() -> None:
    odd = Oddity(usual="512×512", slices=13, groups=3, label="malignant", of_label=12, base=0.54)
    tried = [
        Shortcut(name="size", about="picture size", of_file=True, before=trial(0.3), oddity=odd),
        Shortcut(name="format", about="file format", of_file=True, before=None),
        Shortcut(name="border", about="border grey", of_file=False, before=trial(0.002), after=trial(0.2)),
        Shortcut(name="grey", about="grey levels", of_file=False, before=trial(0.02), after=trial(0.2)),
        Shortcut(name="thumbnail", about="8×8 thumbnail", of_file=False, before=trial(0.2), after=trial(0.01)),
    ]

    found = list(findings.shortcuts(tried))

    assert short(found) == [
        ("warning", "shortcut.size", "picture size: 12 of 13 slices that are not 512×512 are malignant"),
        ("warning", "shortcut.border", "the class can be told from the border grey"),
        ("warning", "shortcut.thumbnail", "the class can be told from the 8×8 thumbnail"),
    ]
    assert "0.600 (chance 0.330, rarely above 0.450, p 0.002) as read" in found[1].detail
    assert "p 0.200) as prepared" in found[1].detail
    assert "3 near-duplicate groups; of all slices 54% are malignant" in found[0].detail


def test_leak() -> None:
    def memory(random: float) -> NearestNeighbour:
        return NearestNeighbour(
            random_accuracy=random, random_balanced=1, grouped_accuracy=0.5, grouped_balanced=0.5, n=9, groups=3
        )

    assert [item.title for item in findings.leak(memory(0.994))] == [
        "a random split would reward memory: 99.4% against 50.0%"
    ]
    assert list(findings.leak(memory(0.55))) == []
    assert list(findings.leak(None)) == []
