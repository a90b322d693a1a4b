"""Cross-validation: every slice judged once, by models that never met it, and pooled only with its own kind."""

import hashlib

import msgspec
import numpy as np
import pytest

from lungcli.core import recipe as recipes
from lungcli.core import runs
from lungcli.core.errors import UsageError
from lungcli.core.recipe import Recipe
from lungcli.core.runs import Run
from lungcli.datasets import manifest, splits
from lungcli.datasets.phantom import dataset
from lungcli.evaluation import evaluate
from lungcli.metrics.predictions import Evaluation
from lungcli.modelfile import model_file, model_paths
from lungcli.modelfile.model_card import SplitCard
from lungcli.pipeline import cross_validation, jobs, stages
from lungcli.pipeline.stages import RunData
from tests.metrics.test_predictions import fold
from tests.modelfile import graphs

SETTINGS: dict[str, object] = {"data": "d", "model": "tiny", "folds": 2, "max_drop": 0.1}


def finished(number: int, verdicts: dict[str, Evaluation], **changes: object) -> Run:
    """A finished compression of a fold: model files and verdicts of each stage."""
    settings = {**SETTINGS, "fold": number, "teacher": ["resnet18"] * ("teacher-2" in verdicts) + ["resnet18"]}
    run = runs.create(f"cv-fold{number}", "compress", recipes.make(**{**settings, **changes}))
    split = SplitCard(protocol="grouped", seed=0, digest=f"fold {number}", folds=2, fold=number)
    for stage, judged in verdicts.items():
        evaluate.save(judged, run.stage(stage) / stages.EVALUATION)
        graphs.model_file(run.stage(stage) / model_paths.MODEL, split=split)
    return run


def compressed(number: int, int8: str, teacher: str = "bbmmnn") -> Run:
    told = {"teacher": teacher, "base": "bbbbbb", "student": "bbmmnn", "int8": int8}
    return finished(number, {stage: fold(number, verdicts) for stage, verdicts in told.items()})


def test_figures_rest_on_all_slices_and_the_gate_on_all_folds() -> None:
    """Neither fold decides: one loses .167 and the other nothing, both together .083."""
    found = cross_validation.pool([compressed(1, "bnmmnn"), compressed(2, "bbmmnn")])

    assert found.runs == ("cv-fold1", "cv-fold2")
    assert [stage.stage for stage in found.stages] == ["teacher", "base", "student", "int8"]
    assert {(stage.figures.n, stage.figures.groups) for stage in found.stages} == {(12, 6)}
    int8 = found.stages[3]
    assert int8.figures.estimates["balanced_accuracy"].value == pytest.approx((3 / 4 + 1 + 1) / 3)
    assert int8.over_folds["balanced_accuracy"].mean.value == pytest.approx((5 / 6 + 1) / 2)
    assert found.decision is not None
    assert found.decision.difference.value == pytest.approx(-1 / 12)
    assert found.decision.met


def test_differences_are_to_the_teacher_and_of_the_student_to_its_like_without_one() -> None:
    found = cross_validation.pool([compressed(1, "bnmmnn"), compressed(2, "bbmmnn")])

    pairs = {(each.stage, each.reference): each for each in found.differences}
    assert list(pairs) == [("base", "teacher"), ("student", "teacher"), ("int8", "teacher"), ("student", "base")]
    assert pairs["int8", "teacher"].significance.lost == 1
    assert pairs["student", "base"].difference.value == pytest.approx(2 / 3)
    assert pairs["student", "base"].significance.gained == 8


def test_several_teachers_are_one_reference() -> None:
    told = {"teacher": "bbmmnn", "teacher-2": "bbbbnn", "base": "bbmmnn", "student": "bbmmnn", "int8": "bbmmnn"}
    found = cross_validation.pool([finished(i, {stage: fold(i, said) for stage, said in told.items()}) for i in (1, 2)])

    assert {each.reference for each in found.differences} == {"mean of teachers", "base"}
    assert found.differences[0].stage == "teacher"


def test_a_missing_fold_is_told_and_so_is_one_of_another_recipe() -> None:
    first = compressed(1, "bbmmnn")
    with pytest.raises(UsageError, match="cv-fold1 are not all folds of one cross-validation"):
        cross_validation.pool([first])
    told = {stage: fold(2, "bbmmnn") for stage in ("teacher", "base", "student", "int8")}
    with pytest.raises(UsageError, match="not all folds of one"):
        cross_validation.pool([first, finished(2, told, epochs=3)])


def small(**changes: object) -> tuple[Recipe, ...]:
    """Recipes for all folds of a phantom set: one epoch of the smallest net."""
    settings = {"data": "phantom", "model": "ownmodel", "teacher": "ownmodel", "size": 64, "epochs": 1, "batch": 16}
    fixed = {"folds": 3, "device": "cpu", "threads": 1, "precision": "float32", "pretrained": False}
    return recipes.make_folds(**{**settings, **fixed, **changes})


def made(run: Run) -> dict[str, str]:
    """Digest of the weights of every stage, and of the graph where there are none."""
    found = {}
    for stage in model_paths.stages(run):
        weights = run.stage(stage) / "best.safetensors"
        graph = model_file.graph_digest(run.stage(stage) / model_paths.MODEL)
        found[stage] = hashlib.sha256(weights.read_bytes()).hexdigest() if weights.exists() else graph
    return found


def without_test(found: RunData) -> RunData:
    """The material with nothing left of its test slices: their pixels are noise, their files are gone."""
    pixels = np.array(found.pixels)
    test = list(found.split.test)
    pixels[test] = np.random.default_rng(1).integers(0, 256, pixels[test].shape)
    for index in test:
        (manifest.folder(found.manifest.name) / found.manifest.slices[index].path).unlink()
    return RunData(manifest=found.manifest, split=found.split, pixels=pixels)


def test_no_stage_of_a_fold_learns_anything_from_its_test_slices() -> None:
    """Teacher, base, student and int8 are bit for bit the same whatever the slices of the test part show."""
    dataset.make(slices=45, side=64)
    recipe = small()[1]
    ours = jobs.start("compress", recipe, "ours")[0]
    blind = runs.create("blind", "compress", ours.recipe, split=ours.info.split)
    found = stages.load_run_data(ours.recipe)

    list(jobs.execute(ours, found))
    list(jobs.execute(blind, without_test(found)))

    assert made(blind) == made(ours)
    cards = [model_file.read_card(run.stage("int8") / model_paths.MODEL) for run in (ours, blind)]
    # Dates, figures of the test part and timings of trials differ from one run to the next.
    trials = [[msgspec.structs.replace(trial, p50=0.0) for trial in card.trials] for card in cards]
    assert trials[0] == trials[1]
    same = {name: getattr(cards[1], name) for name in ("created", "figures", "trials")}
    assert msgspec.structs.replace(cards[0], **same) == cards[1]
    judged = [evaluate.load(run.stage("teacher") / stages.EVALUATION).probabilities for run in (ours, blind)]
    assert judged[0] != judged[1]


def test_every_slice_is_tested_by_one_fold_and_trained_on_by_none_that_tests_it() -> None:
    dataset.make(slices=45, side=64)
    recipes_ = small()
    made_ = cross_validation.start("compress", recipes_, "cv")

    divided = [stages.load_with_split(run.recipe)[1] for run in made_]
    assert [run.name for run in made_] == ["cv-fold1", "cv-fold2", "cv-fold3"]
    assert sorted(i for split in divided for i in split.test) == list(range(45))
    for split in divided:
        assert set(split.test).isdisjoint({*split.train, *split.val})
    assert [run.info.split for run in made_] == [split.digest for split in divided]
    assert cross_validation.start("compress", recipes_, "cv") == made_


def taught(name: str, recipe: Recipe) -> Run:
    """A run of that recipe with a model file, as a teacher of its own split."""
    run = jobs.start("train", recipe, name)[0]
    divided: splits.Split = stages.load_with_split(recipe)[1]
    card = SplitCard(protocol="grouped", seed=0, digest=divided.digest, folds=3, fold=recipe.fold)
    run.stage("train").mkdir()
    graphs.model_file(run.stage("train") / model_paths.MODEL, split=card, model="ownmodel", size=64)
    return run


def test_a_teacher_of_another_fold_is_refused_before_any_run_is_made() -> None:
    dataset.make(slices=45, side=64)
    taught("first", small(teacher="")[0])

    with pytest.raises(UsageError, match="the teacher 'first' was trained on another split"):
        cross_validation.start("distill", small(teacher="first"), "cv")
    assert list(runs.known()) == ["first"]


def test_another_cross_validation_teaches_fold_by_fold() -> None:
    dataset.make(slices=45, side=64)
    for recipe in small(teacher=""):
        taught(f"cv-fold{recipe.fold}", recipe)

    found = cross_validation.start("distill", small(teacher="cv"), "taught")

    assert [run.info.teacher_run for run in found] == ["cv-fold1", "cv-fold2", "cv-fold3"]
    assert [run.name for run in found] == ["taught-fold1", "taught-fold2", "taught-fold3"]
