"""The final fit: everything but the validation part is trained on, and the figures are those of the tested runs."""

import math
from pathlib import Path

import msgspec
import pytest

from lungcli.core import recipe as recipes
from lungcli.core import runs
from lungcli.core.errors import UsageError
from lungcli.core.events import RunDone, now
from lungcli.core.runs import Run
from lungcli.evaluation import evaluate
from lungcli.metrics.operating_point import OperatingPoint, OperatingTarget
from lungcli.metrics.predictions import Evaluation
from lungcli.modelfile import model_file, model_paths
from lungcli.modelfile.model_card import SplitCard
from lungcli.pipeline import evaluate as pipeline
from lungcli.pipeline import final_fit, jobs, stages
from lungcli.views.evaluation import rests_on
from tests.metrics.test_predictions import evaluation, fold
from tests.modelfile import graphs

TARGET = OperatingTarget(kind="specificity", value=0.95)


def finished_run(
    name: str, predicted: Evaluation, teacher_run: recipes.Teachers = "", split: str = "", **settings: object
) -> Run:
    """A run that has trained a net and evaluated it."""
    recipe = recipes.make(data="phantom", model="mobilenetv2", epochs=1, **settings)
    run = runs.create(name, "train", recipe, teacher_run, split=split)
    evaluate.save(predicted, run.stage("train") / stages.EVALUATION)
    card = SplitCard(protocol="grouped", seed=0, digest=name, folds=recipe.folds, fold=recipe.fold)
    graphs.model_file(run.stage("train") / model_paths.MODEL, split=card)
    finish(run)
    return runs.load(name)


def finish(run: Run) -> None:
    """Mark a run as done."""
    list(runs.record(run, (RunDone(time=now()) for _ in "d")))


@pytest.mark.usefixtures("phantom")
def test_the_test_part_is_trained_on_and_the_validation_part_stays() -> None:
    run = finished_run("small", evaluation("bnmmnn"), seed=3)
    kind, recipe = final_fit.recipe_of("small")

    assert kind == "train"
    assert recipe == msgspec.structs.replace(run.recipe, final="small")
    before, after = (stages.load_with_split(each)[1] for each in (run.recipe, recipe))
    assert set(after.train) == {*before.train, *before.test}
    assert (after.val, after.test) == (before.val, ())
    assert after.digest != before.digest
    card = stages.split_card(recipe, after)
    assert card.in_words() == "the grouped split with seed 0, its test part trained on too"


@pytest.mark.usefixtures("phantom")
def test_folds_become_one_grouped_split() -> None:
    for number, predicted in ((1, "bnmmnn"), (2, "bbmmnm"), (3, "bbmmnn")):
        finished_run(f"cv-fold{number}", fold(number, predicted), folds=3, fold=number, split_seed=5)
    _, recipe = final_fit.recipe_of("cv")

    assert (recipe.final, recipe.protocol, recipe.folds, recipe.fold, recipe.split_seed) == ("cv", "grouped", 0, 0, 5)
    run, resumed = jobs.start("train", recipe, "whole")
    assert not resumed
    run.stage("train").mkdir()
    graphs.model_file(run.stage("train") / model_paths.MODEL)
    final_fit.take_over_figures(run, ["train"])
    figures = model_file.read_card(run.stage("train") / model_paths.MODEL).figures
    assert figures is not None
    assert (figures.n, figures.groups, figures.of_run) == (18, 9, "cv")
    assert figures.estimates["accuracy"].value == pytest.approx(16 / 18)


@pytest.mark.usefixtures("phantom")
def test_institutions_left_out_decide_what_is_suspicious_and_referred() -> None:
    for number, predicted in ((1, "bnmmnn"), (2, "bbmmnn"), (3, "bbmbnn")):
        left_out = msgspec.structs.replace(
            fold(number, predicted), protocol="institution", institutions=(f"hospital {number}",) * 6
        )
        finished_run(f"cv-fold{number}", left_out, folds=3, fold=number, protocol="institution")
    _, recipe = final_fit.recipe_of("cv")
    run, _ = jobs.start("train", recipe, "whole")
    run.stage("train").mkdir()
    path = graphs.model_file(run.stage("train") / model_paths.MODEL, temperature=1.0)
    final_fit.take_over_figures(run, ["train"])

    card = model_file.read_card(path)
    assert card.chosen_on == "slices of institutions left out"
    # Logits differ by 2 ln 8 in the folds' models, whose temperature is 2; 16 right of 18 ask for ln 16.
    assert card.temperature == pytest.approx(2 * math.log(8) / math.log(16))
    assert card.calibration is not None
    assert card.calibration.n == 18
    assert card.operating_point is not None
    assert (card.operating_point.n, card.operating_point.specificity) == (18, 1)
    assert card.operating_point.sensitivity == pytest.approx(5 / 6)
    assert card.referral is not None
    assert (card.referral.n, sum(band.n for band in card.reliability)) == (18, 18)


@pytest.mark.usefixtures("phantom")
def test_what_institutions_left_out_decided_stays_until_another_target_is_given(tmp_path: Path) -> None:
    recipe = recipes.make(data="phantom", model="mobilenetv2", size=32)
    run_data = stages.load_run_data(recipe)
    decided = OperatingPoint(threshold=0.9, target=TARGET, sensitivity=0.5, specificity=0.95, n=18)
    path = graphs.model_file(
        tmp_path / "whole.onnx",
        recipe=recipe,
        size=32,
        classes=run_data.manifest.classes,
        split=SplitCard(protocol="grouped", seed=0, digest=run_data.split.digest, final=True),
        operating_point=decided,
        chosen_on="slices of institutions left out",
    )
    model = model_file.load(path)
    assert stages.calibrated_card(model, run_data) == model.card
    assert stages.calibrated_card(model, run_data, operating_target=TARGET).chosen_on == "validation slices"
    with pytest.raises(UsageError, match="was trained on another split"):
        stages.calibrated_card(model, stages.load_run_data(msgspec.structs.replace(recipe, split_seed=1)))


def test_some_folds_alone_have_no_final_fit() -> None:
    for number in (1, 2):
        finished_run(f"cv-fold{number}", fold(number, "bnmmnn"), folds=3, fold=number)
    for name, folds in (("cv", "cv-fold1, cv-fold2"), ("cv-fold1", "cv-fold1")):
        with pytest.raises(UsageError, match=rf"not all folds of one cross-validation: {folds}$"):
            final_fit.recipe_of(name)


@pytest.mark.usefixtures("phantom")
def test_figures_of_data_that_has_changed_since_are_not_taken_over() -> None:
    recipe = finished_run("first", evaluation("bnmmnn")).recipe
    finished_run("same", evaluation("bnmmnn"), split=stages.load_with_split(recipe)[1].digest)
    finished_run("before", evaluation("bnmmnn"), split="of the data as it was")
    assert final_fit.recipe_of("same")[1].final == "same"
    with pytest.raises(UsageError, match="'phantom' has changed since 'before' was tested"):
        final_fit.recipe_of("before")


def test_figures_and_their_source_are_those_of_the_tested_run() -> None:
    source = finished_run("small", evaluation("bnmmnn"))
    final = runs.create("whole", "train", msgspec.structs.replace(source.recipe, final="small"))
    final.stage("train").mkdir()
    graphs.model_file(final.stage("train") / model_paths.MODEL)
    assert stages.not_evaluated(final) == ["train"]

    final_fit.take_over_figures(final, ["train"])

    card = model_file.read_card(final.stage("train") / model_paths.MODEL)
    assert card.figures == msgspec.structs.replace(evaluation("bnmmnn").figures(), of_run="small")
    assert rests_on(*card.figures.basis).endswith(
        "test part, grouped split, measured on small, of the same recipe without these slices"
    )
    assert stages.not_evaluated(final) == []
    assert jobs.decide(final) == ()


def test_what_is_not_finished_or_final_itself_has_no_final_fit() -> None:
    source = finished_run("small", evaluation("bnmmnn"))
    runs.create("begun", "train", source.recipe)
    finish(runs.create("whole", "train", msgspec.structs.replace(source.recipe, final="small")))
    for name, problem in {
        "begun": "the run 'begun' is not finished",
        "whole": "'whole' is a final fit itself",
        "nowhere": "unknown run 'nowhere'",
    }.items():
        with pytest.raises(UsageError, match=problem):
            final_fit.recipe_of(name)


def test_teachers_are_trained_anew_but_for_models_from_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_paths, "file_alone", lambda name: Path("m.onnx") if name == "mine" else None)
    finished_run("a", evaluation("bnmmnn"), ("other/teacher", "mine"), teacher=["resnet18", "adopted:mine"])
    assert final_fit.recipe_of("a")[1].teachers == ("resnet18", "mine")


@pytest.mark.usefixtures("phantom")
def test_a_final_fit_is_not_evaluated_on_what_it_was_trained_on(tmp_path: Path) -> None:
    source = finished_run("small", evaluation("bnmmnn"))
    recipe = msgspec.structs.replace(source.recipe, final="small", size=64)
    data, split = stages.load_with_split(recipe)
    model = graphs.model_file(
        tmp_path / "whole.onnx",
        recipe=recipe,
        classes=data.classes,
        data=msgspec.structs.replace(graphs.card().data, name=data.name, digest=data.digest),
        split=SplitCard(protocol="grouped", seed=0, digest=split.digest, final=True),
    )
    with pytest.raises(UsageError, match="trained on the test part of 'phantom' as well"):
        pipeline.evaluate_on(model_file.load(model), "phantom", random=False)
    assert pipeline.evaluation_of(model) is None
    assert pipeline.shared_test_part([model_file.read_card(model)]) is None
