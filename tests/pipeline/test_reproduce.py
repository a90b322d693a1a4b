"""Reproducing a run: identical weights are the same, and what differs is named."""

import msgspec
import pytest

from lungcli.core import recipe as recipes
from lungcli.core import runs
from lungcli.core.errors import UsageError
from lungcli.core.runs import Run
from lungcli.datasets import manifest
from lungcli.evaluation import evaluate
from lungcli.modelfile import model_paths
from lungcli.pipeline import reproduce, stages
from tests.metrics.test_predictions import evaluation
from tests.modelfile import graphs

RECIPE = recipes.make(data="phantom", model="tiny")


def finished(name: str, predicted: str = "bbmmnn", weights: bytes = b"w", cpu: str = "A", torch: str = "2.9") -> Run:
    """A training with one stage, done."""
    run = runs.create(name, "train", RECIPE)
    folder = run.stage("train")
    folder.mkdir()
    graphs.model_file(folder / model_paths.MODEL, versions={"torch": torch, "onnxruntime": "1"})
    (folder / "best.safetensors").write_bytes(weights)
    evaluate.save(evaluation(predicted), folder / stages.EVALUATION)
    return msgspec.structs.replace(run, info=msgspec.structs.replace(run.info, state="done", cpu=cpu))


def test_identical_stages_are_the_same_bit_for_bit() -> None:
    reproduction = reproduce.compare(finished("a"), finished("a-again"))

    (stage,) = reproduction.stages
    assert (reproduction.run, reproduction.again, reproduction.same) == ("a", "a-again", True)
    assert (stage.weights, stage.graph, stage.flips, stage.largest_change) == (True, True, 0, 0.0)
    assert reproduction.environment == {}


def test_differences_are_named_with_those_of_the_environment() -> None:
    again = finished("a-again", "bnmmnn", b"v", "B", torch="3.0")

    reproduction = reproduce.compare(finished("a"), again)

    (stage,) = reproduction.stages
    assert not reproduction.same
    assert (stage.weights, stage.graph, stage.flips, stage.n) == (False, True, 1, 6)
    assert stage.largest_change == pytest.approx(0.7)
    assert reproduction.environment == {"torch": ("2.9", "3.0"), "processor": ("A", "B")}


def test_other_weights_are_a_difference_even_with_the_same_predictions() -> None:
    assert not reproduce.compare(finished("a"), finished("a-again", weights=b"v")).same


def test_an_unfinished_run_cannot_be_reproduced() -> None:
    with pytest.raises(UsageError, match="is not finished") as caught:
        reproduce.start(runs.create("a", "train", RECIPE))
    assert "lungcli runs resume 'a'" in caught.value.hint


def done(name: str, split: str) -> Run:
    run = runs.create(name, "train", RECIPE, split=split)
    return msgspec.structs.replace(run, info=msgspec.structs.replace(run.info, state="done"))


@pytest.mark.usefixtures("phantom")
def test_the_repetition_has_the_recipe_and_is_found_again() -> None:
    run = done("a", stages.load_with_split(RECIPE)[1].digest)

    again = reproduce.start(run)

    assert (again.name, again.recipe, again.info.split) == ("a-again", RECIPE, run.info.split)
    assert reproduce.start(run) == again


@pytest.mark.usefixtures("phantom")
def test_another_run_of_that_name_is_no_repetition() -> None:
    runs.create("a-again", "train", recipes.make(data="phantom", model="other"))
    with pytest.raises(UsageError, match="the run 'a-again' does not repeat 'a'"):
        reproduce.start(done("a", ""))


@pytest.mark.usefixtures("phantom")
def test_changed_data_is_reported_before_anything_is_trained() -> None:
    with pytest.raises(UsageError, match="'phantom' has changed since"):
        reproduce.start(done("a", "another digest"))
    assert list(runs.known()) == ["a"]
    assert manifest.load("phantom").slices


def test_a_trial_is_repeated_without_what_it_went_without() -> None:
    """No trial meets the test part, not even when it is repeated."""
    run = finished("a")
    assert reproduce.skipped_stages(run) == ()
    (run.stage("train") / stages.EVALUATION).unlink()
    assert reproduce.skipped_stages(run) == ("evaluate",)
    (run.stage("train") / model_paths.MODEL).unlink()
    assert reproduce.skipped_stages(run) == ("train", "evaluate")


def test_a_trial_is_compared_on_its_validation_part(monkeypatch: pytest.MonkeyPatch) -> None:
    runs_ = [finished("a"), finished("a-again")]
    for run in runs_:
        (run.stage("train") / stages.EVALUATION).unlink()
    predicted = {"a": evaluation("bbmmnn", part="val"), "a-again": evaluation("bnmmnn", part="val")}
    monkeypatch.setattr(reproduce, "_validation", lambda run, _: predicted[run.name])

    (stage,) = reproduce.compare(*runs_).stages

    assert (stage.flips, stage.n, stage.before.part) == (1, 6, "val")
