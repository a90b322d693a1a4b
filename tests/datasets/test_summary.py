"""A data set in numbers."""

from lungcli.datasets import summary
from tests.imaging.pictures import described


def test_counts_by_hand() -> None:
    found = described([("benign", 2), ("malignant", 3), ("malignant", 1)])
    counted = summary.summarize(found)
    assert counted.slices == 6
    assert counted.classes == {"benign": 2, "malignant": 4}
    assert (counted.groups, counted.largest_group, counted.mixed_groups, counted.exact_copies) == (3, 3, 0, 0)
    assert summary.groups_by_class(found) == {"benign": 1, "malignant": 2}
