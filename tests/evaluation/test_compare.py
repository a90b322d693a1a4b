"""Comparisons: paired on one test part, refused with the reason on any other."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from lungcli.core import paths
from lungcli.core.errors import UsageError
from lungcli.evaluation import benchmark as bench
from lungcli.evaluation import compare as compare_module
from lungcli.evaluation import evaluate
from lungcli.evaluation.benchmark import Measurement
from lungcli.evaluation.compare import FlipCount, LabelWithConfidence, compare, find_flips, reason_not_comparable
from lungcli.modelfile.model_card import SplitCard
from lungcli.modelfile.model_file import Model
from tests.metrics.test_predictions import evaluation
from tests.modelfile import graphs

FIRST = SplitCard(protocol="grouped", seed=0, digest="s", folds=5, fold=1)


def finished(name: str, predicted: str, **changes: object) -> Path:
    """A model file of a run and its predictions of six slices."""
    path = paths.runs_home() / name / "train" / "model.onnx"
    path.parent.mkdir(parents=True)
    evaluate.save(evaluation(predicted), path.parent / "evaluation.json")
    return graphs.model_file(path, **changes)


def test_on_one_test_part_there_is_a_paired_difference() -> None:
    found = compare([finished("a", "bbmmnn"), finished("b", "bnmmnn")], seconds=0)

    first, second = found.rows
    assert (first.difference, first.not_compared) == (None, "")
    assert second.difference is not None
    assert second.difference.value == pytest.approx(-1 / 6)
    assert second.not_compared == ""
    assert first.significance is None
    assert second.significance is not None
    assert (second.significance.gained, second.significance.lost, second.significance.mcnemar) == (0, 1, 0.5)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"split": SplitCard(protocol="grouped", seed=0, digest="t", folds=5, fold=2)},
            "it was evaluated on fold 2 of 5 of the grouped split with seed 0, "
            "the baseline on fold 1 of 5 of the grouped split with seed 0",
        ),
        (
            {"split": SplitCard(protocol="random", seed=3, digest="t")},
            "it was evaluated on the random split with seed 3, the baseline on fold 1 of 5 of the grouped split with "
            "seed 0",
        ),
        (
            {
                "split": msgspec.structs.replace(FIRST, digest="t"),
                "data": msgspec.structs.replace(graphs.card().data, name="mine", digest="e"),
            },
            "it was evaluated on fold 1 of 5 of the grouped split with seed 0 of 'mine', the baseline on fold 1 of 5 "
            "of the grouped split with seed 0 of 'phantom'",
        ),
        (
            {
                "split": SplitCard(protocol="grouped", seed=0, digest="t", final=True),
                "data": msgspec.structs.replace(graphs.card().data, name="mine", digest="e"),
            },
            "it was evaluated on the grouped split with seed 0 of 'mine', its test part trained on too, the baseline "
            "on fold 1 of 5 of the grouped split with seed 0 of 'phantom'",
        ),
    ],
    ids=["fold", "protocol", "data", "final fit"],
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

    assert reason_not_comparable(ours, ours) == ""
    assert reason_not_comparable(ours, theirs).endswith("seed 0 (s), the baseline on another (another)")


def test_a_file_without_an_evaluation_is_listed_without_a_difference(tmp_path: Path) -> None:
    moved = graphs.model_file(tmp_path / "moved.onnx")

    found = compare([finished("a", "bbmmnn"), moved], seconds=0)

    assert found.rows[1].difference is None
    assert found.rows[1].not_compared == "one of the two has not been evaluated on its test part"


def test_a_pinned_baseline_is_the_first_row_once() -> None:
    a, b, c = finished("a", "bbmmnn"), finished("b", "bnmmnn"), finished("c", "bbmmnm")

    for asked in ([a, b, c], [a, c]):
        found = compare(asked, b, seconds=0)

        assert found.baseline == "b/train"
        assert [row.name for row in found.rows] == ["b/train", "a/train", "c/train"]
        assert [row.difference is None for row in found.rows] == [True, False, False]


def test_flips_follow_a_slice_through_all_models() -> None:
    teacher, student, int8 = finished("t", "bnmmnn"), finished("s", "bbmmnm"), finished("i", "nmmmnm")

    found = find_flips([teacher, student, int8])

    assert (found.models, found.n) == (("t/train", "s/train", "i/train"), 6)
    assert [(row.slice, row.label) for row in found.slices] == [
        ("slices/0.png", "benign"),
        ("slices/1.png", "benign"),
        ("slices/5.png", "normal"),
    ]
    assert [prediction.label for prediction in found.slices[1].predictions] == ["normal", "benign", "malignant"]
    assert found.slices[0].predictions[0] == LabelWithConfidence(label="benign", confidence=0.8)
    assert found.counts == (
        FlipCount(mended=1, broken=1, both_wrong=0),
        FlipCount(mended=0, broken=2, both_wrong=1),
    )


def test_models_that_agree_flip_nothing_and_one_alone_cannot() -> None:
    a, b = finished("a", "bbmmnn"), finished("b", "bbmmnn")

    assert find_flips([a], b).slices == ()
    with pytest.raises(UsageError, match="so it takes two"):
        find_flips([a], a)


def test_no_flips_without_an_evaluation(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has not been evaluated on its test part"):
        find_flips([finished("a", "bbmmnn"), graphs.model_file(tmp_path / "moved.onnx")])


def test_a_baseline_without_an_evaluation_is_not_compared(tmp_path: Path) -> None:
    moved, kept = graphs.model_file(tmp_path / "moved.onnx"), finished("a", "bbmmnn")

    found = compare([kept, moved], moved, seconds=0)

    assert [row.not_compared for row in found.rows] == ["", "one of the two has not been evaluated on its test part"]
    assert [(row.difference, row.significance) for row in found.rows] == [(None, None)] * 2


def test_evaluations_of_other_slices_give_no_difference() -> None:
    a, b = finished("a", "bbmmnn"), finished("b", "bbmmnn")
    evaluate.save(evaluation("bbmmnn", digest="other"), b.parent / "evaluation.json")

    row = compare([a, b], seconds=0).rows[1]

    assert (row.difference, row.not_compared) == (None, "the two were evaluated on different slices")


def test_a_row_says_what_the_card_and_the_file_say() -> None:
    a = finished("a", "bnmmnn", parameters=1234, teacher="resnet18", precision="int8")

    row = compare([a], seconds=0).rows[0]

    assert (row.name, row.model, row.stage, row.precision) == ("a/train", "tiny", "student", "int8")
    assert (row.teacher, row.data, row.synthetic, row.parameters) == ("resnet18", "phantom", True, 1234)
    assert (row.bytes, row.latency) == (a.stat().st_size, None)
    assert row.figures == evaluation("bnmmnn").figures()


def test_all_models_are_timed_together_for_as_long_as_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, float, int]] = []

    def benchmark(loaded: Sequence[Model], *, seconds: float, threads: int) -> Sequence[Measurement]:
        asked.append((len(loaded), seconds, threads))
        return bench.benchmark(loaded, seconds=0.01, threads=1)

    kept: list[Sequence[Path]] = []

    def keep(files: Sequence[Path], measurements: Sequence[bench.Measurement]) -> None:
        assert len(files) == len(measurements)
        kept.append(files)

    monkeypatch.setattr(
        compare_module, "benchmark", SimpleNamespace(benchmark=benchmark, machine=bench.machine, keep=keep)
    )
    both = [finished("a", "bbmmnn"), finished("b", "bbmmnn")]

    found = compare(both)
    compare(both, None, 0.5, 1)

    assert asked == [(2, 2.0, 0), (2, 0.5, 1)]
    assert kept == [both], "with other threads than usual a latency is not that which is shown later"
    assert all(row.latency is not None and row.latency.p50 > 0 for row in found.rows)


def test_nothing_to_compare() -> None:
    with pytest.raises(UsageError, match="there is no model to compare"):
        compare([], seconds=0)


def test_the_evaluation_of_a_trial_is_the_one_beside_its_model() -> None:
    path = finished("a", "bbmmnn")
    assert compare_module.stored_validation(path) is None
    evaluate.save(evaluation("bbmmnm", part="val"), path.parent / "validation.json")

    assert compare_module.stored_validation(path) == evaluation("bbmmnm", part="val")
    assert compare_module.stored_evaluation(path) == evaluation("bbmmnn")
    moved = path.rename(path.with_name("other.onnx"))
    assert compare_module.stored_evaluation(moved) is None
