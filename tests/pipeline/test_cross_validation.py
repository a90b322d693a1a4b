"""Cross-validation: every slice classified once, by a model not trained on it, and pooled with its own kind only."""

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
from lungcli.evaluation import evaluate
from lungcli.metrics.predictions import Evaluation
from lungcli.modelfile import model_file, model_paths
from lungcli.modelfile.model_card import SplitCard
from lungcli.pipeline import cross_validation, jobs, pooling, stages
from lungcli.pipeline.stages import RunData
from lungcli.quantize import search
from tests.metrics.test_predictions import fold
from tests.modelfile import graphs

SETTINGS: dict[str, object] = {"data": "d", "model": "tiny", "folds": 2, "max_int8_drop": 0.1}


def finished(number: int, evaluations: dict[str, Evaluation], **changes: object) -> Run:
    """A finished compression of a fold: model file and evaluation of each stage."""
    settings = {**SETTINGS, "fold": number, "teacher": ["resnet18"] * ("teacher-2" in evaluations) + ["resnet18"]}
    run = runs.create(f"cv-fold{number}", "compress", recipes.make(**{**settings, **changes}))
    split = SplitCard(protocol="grouped", seed=0, digest=f"fold {number}", folds=2, fold=number)
    for stage, evaluation in evaluations.items():
        evaluate.save(evaluation, run.stage(stage) / stages.EVALUATION)
        graphs.model_file(run.stage(stage) / model_paths.MODEL, split=split)
    return run


def compressed(number: int, int8: str, teacher: str = "bbmmnn") -> Run:
    predicted = {"teacher": teacher, "base": "bbbbbb", "student": "bbmmnn", "int8": int8}
    return finished(number, {stage: fold(number, letters) for stage, letters in predicted.items()})


def test_metrics_are_over_all_slices_and_the_gate_over_all_folds() -> None:
    """Neither fold decides: one loses .167 and the other nothing, both together .083."""
    pooled = pooling.pool([compressed(1, "bnmmnn"), compressed(2, "bbmmnn")])

    assert pooled.runs == ("cv-fold1", "cv-fold2")
    assert [stage.stage for stage in pooled.stages] == ["teacher", "base", "student", "int8"]
    assert {(stage.figures.n, stage.figures.groups) for stage in pooled.stages} == {(12, 6)}
    int8 = pooled.stages[3]
    assert int8.figures.estimates["balanced_accuracy"].value == pytest.approx((3 / 4 + 1 + 1) / 3)
    assert int8.over_folds["balanced_accuracy"].mean.value == pytest.approx((5 / 6 + 1) / 2)
    _, quantization = pooled.decisions
    assert quantization.difference.value == pytest.approx(-1 / 12)
    assert quantization.met


def test_differences_are_to_the_teacher_and_of_the_student_to_the_base() -> None:
    pooled = pooling.pool([compressed(1, "bnmmnn"), compressed(2, "bbmmnn")])

    pairs = {(row.stage, row.reference): row for row in pooled.differences}
    assert list(pairs) == [("base", "teacher"), ("student", "teacher"), ("int8", "teacher"), ("student", "base")]
    assert pairs["int8", "teacher"].significance.lost == 1
    assert pairs["student", "base"].difference.value == pytest.approx(2 / 3)
    assert pairs["student", "base"].significance.gained == 8


def test_several_teachers_are_one_reference() -> None:
    predicted = {"teacher": "bbmmnn", "teacher-2": "bbbbnn", "base": "bbmmnn", "student": "bbmmnn", "int8": "bbmmnn"}
    pooled = pooling.pool(
        [finished(number, {stage: fold(number, row) for stage, row in predicted.items()}) for number in (1, 2)]
    )

    assert {row.reference for row in pooled.differences} == {"mean of teachers", "base"}
    assert pooled.differences[0].stage == "teacher"


def test_a_missing_fold_and_one_of_another_recipe_are_refused() -> None:
    first = compressed(1, "bbmmnn")
    with pytest.raises(UsageError, match=r"not all folds of one cross-validation: cv-fold1$"):
        pooling.pool([first])
    evaluations = {stage: fold(2, "bbmmnn") for stage in ("teacher", "base", "student", "int8")}
    with pytest.raises(UsageError, match="not all folds of one"):
        pooling.pool([first, finished(2, evaluations, epochs=3)])


def small(**changes: object) -> tuple[Recipe, ...]:
    """Recipes for all folds of a phantom set: one epoch of the smallest net."""
    settings = {"data": "phantom", "model": "ownmodel", "teacher": "ownmodel", "size": 64, "epochs": 1, "batch": 16}
    fixed = {"folds": 3, "device": "cpu", "threads": 1, "precision": "float32", "pretrained": False}
    return recipes.make_folds(**{**settings, **fixed, **changes})


def digests(run: Run) -> dict[str, str]:
    """Digest of the weights of every stage, and of the graph where there are none."""
    by_stage = {}
    for stage in model_paths.stages(run):
        weights = run.stage(stage) / "best.safetensors"
        graph = model_file.graph_digest(run.stage(stage) / model_paths.MODEL)
        by_stage[stage] = hashlib.sha256(weights.read_bytes()).hexdigest() if weights.exists() else graph
    return by_stage


def without_test(run_data: RunData) -> RunData:
    """The data with nothing left of its test slices: their pixels are noise, their files are gone."""
    pixels = np.array(run_data.pixels)
    test = list(run_data.split.test)
    pixels[test] = np.random.default_rng(1).integers(0, 256, pixels[test].shape)
    for index in test:
        (manifest.folder(run_data.manifest.name) / run_data.manifest.slices[index].path).unlink()
    return RunData(manifest=run_data.manifest, split=run_data.split, pixels=pixels)


@pytest.mark.long
@pytest.mark.usefixtures("phantom")
def test_no_stage_of_a_fold_learns_anything_from_its_test_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Teacher, base, student and int8 are bit for bit the same whatever the slices of the test part show."""
    # Measured ranges, corrected biases and ranked layers, each once.
    strategies = tuple(
        row for row in search.STRATEGIES["int8"] if row.name in ("minmax per channel", "biases corrected")
    )
    monkeypatch.setitem(search.STRATEGIES, "int8", (*strategies, search.STRATEGIES["int8"][8]))
    recipe = small()[1]
    ours = jobs.start("compress", recipe, "ours")[0]
    blind = runs.create("blind", "compress", ours.recipe, split=ours.info.split)
    run_data = stages.load_run_data(ours.recipe)

    list(jobs.execute(ours, run_data))
    list(jobs.execute(blind, without_test(run_data)))

    assert digests(blind) == digests(ours)
    cards = [model_file.read_card(run.stage("int8") / model_paths.MODEL) for run in (ours, blind)]
    # Dates and figures of the test part differ from one run to the next.
    same = {name: getattr(cards[1], name) for name in ("created", "figures", "separability")}
    assert msgspec.structs.replace(cards[0], **same) == cards[1]
    predicted = [evaluate.load(run.stage("teacher") / stages.EVALUATION).probabilities for run in (ours, blind)]
    assert predicted[0] != predicted[1]


@pytest.mark.usefixtures("phantom")
def test_every_slice_is_tested_by_one_fold_and_trained_on_by_none_that_tests_it() -> None:
    folds = small()
    started = cross_validation.start("compress", folds, "cv")

    divided = [stages.load_with_split(run.recipe)[1] for run in started]
    assert [run.name for run in started] == ["cv-fold1", "cv-fold2", "cv-fold3"]
    assert sorted(i for split in divided for i in split.test) == list(range(45))
    for split in divided:
        assert set(split.test).isdisjoint({*split.train, *split.val})
    assert [run.info.split for run in started] == [split.digest for split in divided]
    assert cross_validation.start("compress", folds, "cv") == started


def trained(name: str, recipe: Recipe) -> Run:
    """A run of that recipe with a model file, as a teacher of its own split."""
    run = jobs.start("train", recipe, name)[0]
    divided: splits.Split = stages.load_with_split(recipe)[1]
    card = SplitCard(protocol="grouped", seed=0, digest=divided.digest, folds=3, fold=recipe.fold)
    run.stage("train").mkdir()
    graphs.model_file(run.stage("train") / model_paths.MODEL, split=card, model="ownmodel", size=64)
    return run


@pytest.mark.usefixtures("phantom")
def test_a_teacher_of_another_fold_is_refused_before_any_run_is_made() -> None:
    trained("first", small(teacher="")[0])

    with pytest.raises(UsageError, match="the teacher 'first' was trained on another split"):
        cross_validation.start("distill", small(teacher="first"), "cv")
    assert list(runs.known()) == ["first"]


@pytest.mark.usefixtures("phantom")
def test_another_cross_validation_is_the_teacher_fold_by_fold() -> None:
    for recipe in small(teacher=""):
        trained(f"cv-fold{recipe.fold}", recipe)

    started = cross_validation.start("distill", small(teacher="cv"), "distilled")

    assert [run.info.teacher_run for run in started] == ["cv-fold1", "cv-fold2", "cv-fold3"]
    assert [run.name for run in started] == ["distilled-fold1", "distilled-fold2", "distilled-fold3"]
