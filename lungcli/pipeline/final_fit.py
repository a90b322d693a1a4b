"""The final fit: the recipe of tested runs once more, trained on their test part as well.

Nothing is left to test it on, so its figures are those of the runs, of whose recipe they say what it is worth.
"""

from collections.abc import Iterable, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from lungcli.core import recipe as recipes
from lungcli.core import runs
from lungcli.core.errors import UsageError
from lungcli.core.recipe import Recipe
from lungcli.core.runs import Kind, Run
from lungcli.evaluation import calibrate, evaluate
from lungcli.metrics import calibration, predictions
from lungcli.metrics.predictions import Evaluation
from lungcli.modelfile import model_file, model_paths
from lungcli.modelfile.model_card import ModelCard
from lungcli.pipeline import pooling, stages


def recipe_of(name: str) -> tuple[Kind, Recipe]:
    """Return kind and recipe of the final fit of a finished run, or of the folds of a cross-validation, called `name`.

    Folds become the grouped split with the same seed, of which the validation part stays apart. Raises UsageError for
    runs that are not finished, are not all folds of their split, or are a final fit, and where their data has changed.
    """
    tested = tested_runs(name)
    first = tested[0]
    if unfinished := next((run.name for run in tested if runs.state(run) != "done"), None):
        raise UsageError(
            f"the run {unfinished!r} is not finished, and a final fit takes its figures",
            f"go on with it: lungcli runs resume '{unfinished}'",
        )
    if first.recipe.final:
        raise UsageError(f"{name!r} is a final fit itself", f"name the run that it is of: {first.recipe.final!r}")
    if first.recipe.folds:
        pooling.require_all_folds(tested)
    if first.info.split and first.info.split != stages.load_with_split(first.recipe)[1].digest:
        raise UsageError(
            f"the data set {first.recipe.data!r} has changed since {name!r} was tested, or is divided otherwise now",
            "run that recipe again first, with another --name",
        )
    single = {"folds": 0, "fold": 0, "split": "", "protocol": "grouped"} if first.recipe.folds else {}
    recipe = msgspec.structs.replace(first.recipe, final=name, teacher=_teachers(first), **single)
    return first.info.kind, recipe


def tested_runs(name: str) -> tuple[Run, ...]:
    """Return the run, or all folds, called `name`. Raises UsageError where there is none."""
    return pooling.folds_of(name) or (runs.load(name),)


def take_over_figures(run: Run, stage_names: Iterable[str]) -> None:
    """Write the figures of the tested runs into the cards of stages of their final fit `run`.

    Raises UsageError where one of them is gone, UnreadableInputError for an evaluation that is damaged.
    """
    for stage in stage_names:
        path = run.stage(stage) / model_paths.MODEL
        model_file.recard(path, _with_figures(model_file.read_card(path), run, stage))


def logits_of(evaluations: Sequence[Evaluation], cards: Sequence[ModelCard]) -> NDArray[np.floating]:
    """Return the logits (n, K) of the slices of all folds, without the temperatures of the folds' cards."""
    return np.concatenate(
        [
            calibration.undo_softmax(evaluation.arrays()[1], card.temperature)
            for evaluation, card in zip(evaluations, cards, strict=True)
        ]
    )


def with_decisions(card: ModelCard, pooled: Evaluation, logits: NDArray[np.floating]) -> ModelCard:
    """Return the card with temperature, operating point and referral fitted on slices of institutions left out.

    `logits` (n, K) are those of the `pooled` evaluation of the nets that were trained without each.
    """
    labels, _, groups = pooled.arrays()
    target = calibrate.default_target(pooled.institutions)
    return calibrate.calibrate_card(card, logits, labels, groups, operating_target=target, left_out=pooled.institutions)


def _with_figures(card: ModelCard, run: Run, stage: str) -> ModelCard:
    tested = tested_runs(run.recipe.final)
    cards = [model_file.read_card(fold.stage(stage) / model_paths.MODEL) for fold in tested]
    evaluations = [evaluate.load(fold.stage(stage) / stages.EVALUATION) for fold in tested]
    pooled = predictions.pool_folds(evaluations) if len(evaluations) > 1 else evaluations[0]
    card = evaluate.with_figures(card, pooled)
    if pooled.protocol == "institution":
        # Too many false alarms and too much confidence at other hospitals do not show on validation slices.
        card = with_decisions(card, pooled, logits_of(evaluations, cards))
    figures = card.figures and msgspec.structs.replace(card.figures, of_run=run.recipe.final)
    return msgspec.structs.replace(card, figures=figures, robustness=cards[0].robustness if len(cards) == 1 else ())


def _teachers(run: Run) -> recipes.Teachers:
    """Return the teachers of `run`: nets, which the final fit trains anew, and models from elsewhere as they are."""
    origins = recipes.as_tuple(run.info.teacher_run)
    named = [
        origin if origin and model_paths.file_alone(origin) else net
        for net, origin in zip(run.recipe.teachers, (*origins, *[""] * len(run.recipe.teachers)), strict=False)
    ]
    return recipes.pack_teachers(named)
