"""A data set in numbers."""

import msgspec

from lungcli.datasets import manifest, summary
from lungcli.datasets.manifest import Source
from lungcli.datasets.summary import InstitutionSummary
from tests.imaging.pictures import described


def test_counts_by_hand() -> None:
    found = described([("benign", 2), ("malignant", 3), ("malignant", 1)])
    counted = summary.summarize(found)
    assert counted.slices == 6
    assert counted.classes == {"benign": 2, "malignant": 4}
    assert (counted.groups, counted.largest_group, counted.mixed_groups, counted.exact_copies) == (3, 3, 0, 0)
    assert summary.groups_by_class(found) == {"benign": 1, "malignant": 2}


def test_mixed_groups_and_exact_copies_by_hand() -> None:
    first, second, third, *others = described([("benign", 2), ("malignant", 2), ("normal", 2)]).slices
    copy = msgspec.structs.replace(second, sha256=first.sha256)
    mixed = msgspec.structs.replace(third, group=first.group)
    data = manifest.build("ours", (first, copy, mixed, *others), (), Source(about="made up"))

    counted = summary.summarize(data)

    assert (counted.groups, counted.mixed_groups, counted.exact_copies) == (3, 1, 1)


def test_institutions_by_hand_and_those_of_one_class() -> None:
    first, second, *others = described([("benign", 2), ("malignant", 2), ("normal", 1)], "ours").slices
    north = (
        msgspec.structs.replace(first, institution="North", patient="p", mask="masks/a.png"),
        msgspec.structs.replace(second, institution="North", patient="p"),
    )
    data = manifest.build("ours", (*north, *others), (), Source(about="made up"))

    counted = summary.summarize(data)

    assert (counted.patients, counted.masks) == (1, 1)
    assert counted.institutions == (
        InstitutionSummary(name="North", classes={"benign": 2}, groups=1, patients=1),
        InstitutionSummary(name="ours", classes={"malignant": 2, "normal": 1}, groups=2, patients=0),
    )
    assert [item.name for item in summary.one_class(counted.institutions)] == ["North"]


def test_a_single_institution_of_one_class_is_no_shortcut() -> None:
    assert summary.one_class(summary.institutions(described([("benign", 2)]))) == ()
