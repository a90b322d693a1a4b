"""What a job decides from what its stages left behind."""

import datetime
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest

from lungcli.core import recipe as recipes
from lungcli.core import runs
from lungcli.core.errors import UsageError
from lungcli.core.events import RunDone, RunStarted, StageDone, StageStarted, now
from lungcli.core.runs import Run
from lungcli.evaluation import evaluate
from lungcli.metrics.predictions import Evaluation
from lungcli.modelfile import model_paths
from lungcli.pipeline import export_check, jobs, stages

RIGHT, WRONG, SURELY_RIGHT = (0.4, 0.6), (0.6, 0.4), (0.1, 0.9)


def evaluation(*malignant: tuple[float, float]) -> Evaluation:
    """Predictions of as many malignant slices, and of benign ones that are all correct."""
    count = len(malignant)
    return Evaluation(
        classes=("benign", "malignant"),
        part="test",
        protocol="grouped",
        split_digest="s",
        slices=tuple(f"{index}.png" for index in range(2 * count)),
        labels=(0,) * count + (1,) * count,
        groups=tuple(range(2 * count)),
        probabilities=((0.9, 0.1),) * count + malignant,
    )


@pytest.mark.parametrize(
    ("teachers", "difference"),
    [
        ({"teacher": evaluation(WRONG, WRONG)}, 0.25),
        ({"teacher": evaluation(WRONG, WRONG), "teacher-2": evaluation(SURELY_RIGHT, WRONG)}, 0.0),
    ],
    ids=["one teacher", "the mean of two"],
)
def test_the_gate_compares_the_student_with_the_mean_of_its_teachers(
    teachers: dict[str, Evaluation], difference: float
) -> None:
    """Two teachers together are right where one is surer of it than the other of its error."""
    recipe = recipes.make(data="d", model="m", teacher=["resnet18"] * len(teachers))
    run = runs.create("r", "compress", recipe)
    student, int8 = evaluation(RIGHT, WRONG), evaluation(RIGHT, RIGHT)
    for stage, predictions in {**teachers, "student": student, "int8": int8}.items():
        evaluate.save(predictions, run.stage(stage) / stages.EVALUATION)
    distillation, quantization = jobs.decide(run)
    assert distillation.difference.value == pytest.approx(difference)
    assert quantization.difference.value == pytest.approx(0.25)


def test_only_compressions_have_a_gate() -> None:
    assert jobs.decide(runs.create("r", "train", recipes.make(data="d", model="m"))) == ()


def test_a_stage_is_done_once_and_its_event_follows_its_work(monkeypatch: pytest.MonkeyPatch) -> None:
    run = runs.create("r", "train", recipes.make(data="d", model="m", epochs=3))
    finished: list[datetime.datetime] = []

    def export(run: Run, stage: str, run_data: object) -> str:
        run.stage(stage).mkdir()
        (run.stage(stage) / model_paths.MODEL).touch()
        finished.append(now())
        return "a net"

    def evaluate_all(run: Run, stages: list[str], run_data: object) -> None:
        finished.append(now())

    monkeypatch.setattr(export_check, "require_exportable", mock.Mock())
    monkeypatch.setattr(stages, "training_in_words", mock.Mock(return_value="train a net"))
    monkeypatch.setattr(stages, "train", mock.Mock(return_value=()))
    monkeypatch.setattr(stages, "export", export)
    monkeypatch.setattr(stages, "not_evaluated", mock.Mock(return_value=["train"]))
    monkeypatch.setattr(stages, "evaluate_stages", evaluate_all)
    run_data: Any = SimpleNamespace(
        manifest=SimpleNamespace(classes=("a", "b")), split=SimpleNamespace(digest="s", test=(1, 2))
    )

    begun, training, trained, ended = jobs.execute(run, run_data, without=(jobs.EVALUATE,))
    assert isinstance(begun, RunStarted)
    assert begun.stages == ("train",)
    assert isinstance(training, StageStarted)
    assert (training.stage, training.about, training.epochs) == ("train", "train a net", 3)
    assert isinstance(trained, StageDone)
    assert trained.about == "a net"
    assert isinstance(ended, RunDone)
    begun, evaluating, evaluated, _ = jobs.execute(run, run_data)
    assert isinstance(begun, RunStarted)
    assert begun.stages == ("train", "evaluate")
    assert isinstance(evaluating, StageStarted)
    assert evaluating.about == "evaluate train on 2 test slices"
    assert isinstance(evaluated, StageDone)
    assert [trained.time >= finished[0] >= training.time, evaluated.time >= finished[1] >= evaluating.time] == [
        True,
        True,
    ]


@pytest.mark.usefixtures("phantom")
def test_styles_of_a_net_without_feature_maps_are_refused_before_anything_is_trained() -> None:
    recipe = recipes.make(data="phantom", model="vit-b-16", size=32, mixstyle=0.5)
    with pytest.raises(UsageError, match="`mixstyle` blends feature maps, and vit-b-16 has none"):
        jobs.start("train", recipe)
