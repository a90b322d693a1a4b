"""What is said of the audit of a data set."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lungcli.datasets.audit.audit import Audit
from lungcli.datasets.audit.findings import Finding
from lungcli.datasets.audit.knn_baseline import NearestNeighbour
from lungcli.views import audit as said

FINDING = Finding(
    id="files.changed",
    severity="error",
    title="7 slices changed after the import",
    detail="Import the data set again.",
    examples=tuple(f"{number}\x1b.png" for number in range(7)),
)
LEAK = NearestNeighbour(
    random_accuracy=0.995, random_balanced=0.99, grouped_accuracy=0.585, grouped_balanced=0.51, n=6, groups=3
)


def test_findings_are_counted_by_severity() -> None:
    audit = Audit(
        name="a", digest="d", slices=1, groups=1, classes=(), nearest_neighbour=None, groupings=(), shortcuts=(),
        copies=(), conflicts=(), findings=(FINDING,),
    )  # fmt: skip
    assert said.counts(audit).plain == "findings: 1 error, 0 warnings, 0 notes"


def test_a_finding_shows_its_first_files_and_counts_the_rest() -> None:
    first, detail, *examples, rest = said.finding(FINDING).plain.splitlines()
    assert first == "error    7 slices changed after the import  [files.changed]"
    assert detail.strip() == FINDING.detail
    assert examples == [f"    {number}\\x1b.png" for number in range(5)]
    assert rest == "    and 2 more"


@pytest.mark.parametrize("examples", [(), ("a.png",)])
def test_a_finding_with_few_files_leaves_none_out(examples: tuple[str, ...]) -> None:
    assert "more" not in said.finding(msgspec.structs.replace(FINDING, examples=examples)).plain


@given(st.integers(36, 120))
def test_leakage_is_drawn_to_the_width_and_said_in_points(width: int) -> None:
    text = said.leakage(LEAK, width).plain
    drawn = [line for line in text.splitlines() if "█" in line]
    assert [line.split()[-2:] for line in drawn] == [["99.5%", "99.0%"], ["58.5%", "51.0%"]]
    assert {len(line) for line in drawn} == {min(width, 72)}
    assert "48 points of balanced accuracy: memory of the same bodies" in text
