"""A net starts from the weights of another run, unless that run has seen what it is chosen or tested on."""

import shutil

import msgspec
import pytest
import torch

from lungcli.core import paths, runs
from lungcli.core.errors import LungcliError, UsageError
from lungcli.core.recipe import Recipe
from lungcli.core.runs import Run
from lungcli.datasets import training_slices
from lungcli.modelfile import model_file, model_paths
from lungcli.modelfile.model_card import Pruning, SplitCard
from lungcli.pipeline import cross_validation, jobs, stages, transfer
from lungcli.training import checkpoint, loop, nets
from tests.modelfile import graphs

RECIPE = Recipe(data="phantom", model="ownmodel", size=64, epochs=1, learning_rate=1e-7, ema=0.0, start="a", threads=1)
PRUNED = Pruning(share=0.5, parameters_before=2, parameters=1, multiply_adds_before=2, multiply_adds=1)


def source(card: dict[str, object] | None = None, name: str = "a", stage: str = "train") -> None:
    """A run whose net starts others: its weights and, of the same split as `RECIPE`, its model file."""
    split = stages.load_with_split(RECIPE)[1]
    run = runs.create(name, "train" if stage == "train" else "compress", RECIPE)
    torch.manual_seed(7)
    checkpoint.save_weights(run.stage(stage) / loop.BEST, nets.build("ownmodel", 3, 64))
    described = {"model": "ownmodel", "split": SplitCard(protocol="grouped", seed=0, digest=split.digest)} | (
        card or {}
    )
    graphs.model_file(run.stage(stage) / model_paths.MODEL, **described)


def elsewhere(*seen: int) -> dict[str, object]:
    """Of a card: another split, of these slices of the phantom."""
    data, _ = stages.load_with_split(RECIPE)
    return {
        "split": SplitCard(protocol="grouped", seed=1, digest="another"),
        "training_slices": training_slices.record(data, seen),
    }


def weights(run: Run) -> dict[str, torch.Tensor]:
    net = nets.build("ownmodel", 3, 64)
    checkpoint.load_weights(run.stage("train") / loop.BEST, net)
    return net.state_dict()


@pytest.mark.usefixtures("phantom")
@pytest.mark.parametrize("stage", ["train", "student"])
def test_the_stage_that_a_net_starts_from_is_spelled_out(stage: str) -> None:
    source(stage=stage)
    assert transfer.resolve(RECIPE).start == f"a/{stage}"
    assert transfer.resolve(msgspec.structs.replace(RECIPE, start="")).start == ""


@pytest.mark.usefixtures("phantom")
def test_a_net_starts_there_and_needs_that_run_no_more() -> None:
    data, split = stages.load_with_split(RECIPE)
    source({"training_slices": training_slices.record(data, split.train[:1])})
    run, _ = jobs.start("train", RECIPE, "b")
    began = {name: value.clone() for name, value in weights(runs.load("a")).items()}
    events = jobs.execute(run, stages.load_run_data(RECIPE))
    next(events)
    next(events)
    shutil.rmtree(runs.load("a").folder)
    list(events)

    ended = weights(run)
    moved = [float((ended[name] - value).abs().max()) for name, value in began.items() if "weight" in name]
    assert 0 < max(moved) < 1e-5


@pytest.mark.usefixtures("phantom")
def test_what_the_first_run_has_seen_the_second_has() -> None:
    data, split = stages.load_with_split(RECIPE)
    source({"training_slices": training_slices.record(data, split.test)})
    run, _ = jobs.start("train", RECIPE, "b")
    list(jobs.execute(run, stages.load_run_data(RECIPE)))
    card = model_file.read_card(run.stage("train") / model_paths.MODEL)
    assert training_slices.unseen(card.training_slices, data) == ()


@pytest.mark.usefixtures("phantom")
def test_a_run_of_other_data_is_started_from_and_its_head_is_new() -> None:
    source({"classes": ("cat", "dog", "malignant")} | elsewhere())
    run, _ = jobs.start("train", RECIPE, "b")
    began = {name: value.clone() for name, value in weights(runs.load("a")).items()}
    list(jobs.execute(run, stages.load_run_data(RECIPE)))
    changed = {
        name.rpartition(".")[0]
        for name, value in weights(run).items()
        if "weight" in name and float((value - began[name]).abs().max()) > 1e-5
    }
    assert len(changed) == 1


@pytest.mark.usefixtures("phantom")
def test_a_pruned_student_is_not_said_to_start_there() -> None:
    recipe = msgspec.structs.replace(RECIPE, prune=0.5)
    run = runs.create("c", "compress", recipe)
    assert "from the weights of a" in stages.training_in_words(run, "base")
    assert "from the weights of a" not in stages.training_in_words(run, "student")


@pytest.mark.usefixtures("phantom")
def test_each_fold_starts_from_the_run_of_its_fold() -> None:
    folds = [msgspec.structs.replace(RECIPE, folds=3, fold=fold) for fold in (1, 2, 3)]
    for recipe in folds:
        digest = stages.load_with_split(recipe)[1].digest
        source({"split": SplitCard(protocol="grouped", seed=0, digest=digest)}, f"a-fold{recipe.fold}")
    begun = cross_validation.start("train", folds, "b")
    assert [run.recipe.start for run in begun] == [f"a-fold{fold}/train" for fold in (1, 2, 3)]


@pytest.mark.usefixtures("phantom")
@pytest.mark.parametrize("part", ["val", "test"])
def test_weights_that_have_seen_what_decides_are_refused(part: str) -> None:
    _, split = stages.load_with_split(RECIPE)
    source(elsewhere(split.val[0] if part == "val" else split.test[0]))
    with pytest.raises(UsageError, match=r"'a/train' was trained on \d+ of the \d+ validation and test slices"):
        jobs.start("train", RECIPE, "b")


@pytest.mark.usefixtures("phantom")
def test_weights_that_have_seen_training_slices_alone_are_taken() -> None:
    _, split = stages.load_with_split(RECIPE)
    source(elsewhere(*split.train))
    assert transfer.resolve(RECIPE).start == "a/train"


@pytest.mark.usefixtures("phantom")
def test_a_final_fit_starts_as_the_run_that_it_repeats() -> None:
    source()
    assert transfer.resolve(msgspec.structs.replace(RECIPE, final="tested")).start == "a/train"


@pytest.mark.usefixtures("phantom")
@pytest.mark.parametrize(
    ("changes", "start", "message"),
    [
        ({}, "mine", "'mine' is a model file alone"),
        ({}, "b", "unknown model file or run 'b'"),
        ({}, "a/student", "unknown stage of a 'student'"),
        ({"model": "resnet18"}, "a", "'a/train' is of resnet18, and its weights do not fit ownmodel"),
        ({"pruning": PRUNED}, "a", "'a/train' was pruned"),
        (
            {"split": SplitCard(protocol="grouped", seed=1, digest="another"), "training_slices": None},
            "a",
            "'a/train' is of an earlier version",
        ),
    ],
)
def test_what_nothing_can_start_from_is_refused(changes: dict[str, object], start: str, message: str) -> None:
    source(changes)
    paths.models_home().mkdir()
    graphs.model_file(paths.models_home() / "mine.onnx")
    with pytest.raises(LungcliError, match=message):
        transfer.resolve(msgspec.structs.replace(RECIPE, start=start))
