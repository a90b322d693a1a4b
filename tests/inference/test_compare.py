"""Comparisons: paired on one test part, refused with the reason on any other."""

from pathlib import Path

import msgspec
import pytest

from lungcli.core import paths
from lungcli.core.errors import UsageError
from lungcli.core.modelcard import SplitCard
from lungcli.inference import evaluate
from lungcli.inference.compare import compare, why_not
from tests.core.test_evaluation import evaluation
from tests.inference import graphs

FIRST = SplitCard(protocol="grouped", seed=0, digest="s", folds=5, fold=1)


def finished(name: str, verdicts: str, **changes: object) -> Path:
    """A model file of a run and its verdicts on six slices."""
    path = paths.runs_home() / name / "train" / "model.onnx"
    path.parent.mkdir(parents=True)
    evaluate.save(evaluation(verdicts), path.parent / "evaluation.json")
    return graphs.model_file(path, **changes)


def test_on_one_test_part_there_is_a_paired_difference() -> None:
    found = compare([finished("a", "bbmmnn"), finished("b", "bnmmnn")], seconds=0)

    first, second = found.rows
    assert (first.difference, first.not_compared) == (None, "")
    assert second.difference is not None
    assert second.difference.value == pytest.approx(-1 / 6)
    assert second.not_compared == ""


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"split": SplitCard(protocol="grouped", seed=0, digest="t", folds=5, fold=2)},
            "it was judged on fold 2 of 5 of the grouped split with seed 0, "
            "the baseline on fold 1 of 5 of the grouped split with seed 0",
        ),
        (
            {"split": SplitCard(protocol="random", seed=3, digest="t")},
            "it was judged on the random split with seed 3, the baseline on fold 1 of 5 of the grouped split with "
            "seed 0",
        ),
        (
            {
                "split": msgspec.structs.replace(FIRST, digest="t"),
                "data": msgspec.structs.replace(graphs.card().data, name="mine", digest="e"),
            },
            "it was judged on fold 1 of 5 of the grouped split with seed 0 of 'mine', the baseline on fold 1 of 5 of "
            "the grouped split with seed 0 of 'phantom'",
        ),
    ],
    ids=["fold", "protocol", "data"],
)
def test_another_test_part_is_refused_with_the_reason(changes: dict[str, object], reason: str) -> None:
    paths_ = [finished("a", "bbmmnn", split=FIRST), finished("b", "bbmmnn", **changes)]

    with pytest.raises(UsageError) as caught:
        compare(paths_, seconds=0)
    listed = compare(paths_, seconds=0, listing=True)

    assert caught.value.message == f"b/train can't be compared with a/train: {reason}"
    assert "lungcli benchmark" in caught.value.hint
    assert [row.not_compared for row in listed.rows] == ["", reason]
    assert listed.rows[1].difference is None


def test_a_baseline_of_another_test_part_is_refused() -> None:
    with pytest.raises(UsageError, match="a/train can't be compared with b/train"):
        compare(
            [finished("a", "bbmmnn")],
            finished("b", "bbmmnn", split=SplitCard(protocol="random", seed=0, digest="t")),
            seconds=0,
        )


def test_splits_that_only_their_digests_tell_apart() -> None:
    ours, theirs = graphs.card(), graphs.card(split=SplitCard(protocol="grouped", seed=0, digest="another"))

    assert why_not(ours, ours) == ""
    assert why_not(ours, theirs).endswith("seed 0 (s), the baseline on another (another)")


def test_a_file_without_verdicts_is_listed_without_a_difference(tmp_path: Path) -> None:
    moved = graphs.model_file(tmp_path / "moved.onnx")

    found = compare([finished("a", "bbmmnn"), moved], seconds=0)

    assert found.rows[1].difference is None
    assert found.rows[1].not_compared == "verdicts lie beside a run's model file, and one of the two has none"
