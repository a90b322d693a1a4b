"""Cross-validation: a run a fold, with every stage inside the fold, and the verdicts of all folds together.

Each fold's run is like any other: it is trained on its own part of the data, its teachers too, and is gone on with
or passed over like any other. What is pooled are verdicts: every slice is judged by the one model that never met it.
"""

from collections.abc import Sequence

import msgspec

from lungcli.core import names, registry, runs
from lungcli.core import recipe as recipes
from lungcli.core.errors import UsageError
from lungcli.core.recipe import Recipe
from lungcli.core.runs import Kind, Run
from lungcli.evaluation import acceptance, evaluate
from lungcli.evaluation.acceptance import Decision
from lungcli.metrics import classification, intervals, predictions, significance
from lungcli.metrics.intervals import Estimate, Spread
from lungcli.metrics.predictions import Evaluation, Figures
from lungcli.metrics.significance import Significance
from lungcli.modelfile import model_file, model_paths
from lungcli.pipeline import jobs, stages


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """`stage` minus `reference` in balanced accuracy, paired over all slices, with tests of it."""

    stage: str
    reference: str
    difference: Estimate
    significance: Significance


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """One stage: figures over all slices, and each figure's mean and spread over the folds."""

    stage: str
    figures: Figures
    over_folds: dict[str, Spread]


class Pooled(msgspec.Struct, frozen=True, kw_only=True):
    """All folds of a cross-validation. `decision` is the gate's on all slices, None where nothing is to ship."""

    runs: tuple[str, ...]
    synthetic: bool
    stages: tuple[Stage, ...]
    differences: tuple[Difference, ...]
    decision: Decision | None


def start(kind: Kind, folds: Sequence[Recipe], name: str = "") -> list[Run]:
    """Make a run for each fold, or find those that an earlier call began: NAME-fold1, NAME-fold2, …

    A teacher may be the NAME of another cross-validation: each fold then takes over that of its own fold. Raises
    UsageError as `compress.start` does, before any run is made.
    """
    own = [msgspec.structs.replace(recipe, teacher=_teachers(recipe)) for recipe in folds]
    for recipe in own:
        jobs.settled(kind, recipe)
    return [jobs.start(kind, recipe, name and f"{name}-fold{recipe.fold}")[0] for recipe in own]


def pool(folds: Sequence[Run]) -> Pooled:
    """Put the finished runs of all folds together.

    Raises UsageError when they are not all folds of one cross-validation, UnreadableInputError for one not finished.
    """
    synthetic = _require_all_folds(folds)
    made = model_paths.stages(folds[0])
    judged = {stage: [evaluate.load(run.stage(stage) / stages.EVALUATION) for run in folds] for stage in made}
    whole = {stage: predictions.pooled(verdicts) for stage, verdicts in judged.items()}
    teachers = model_paths.teacher_stages(folds[0].recipe)
    taught = predictions.ensemble([whole[stage] for stage in teachers]) if teachers else None
    pairs = [] if taught is None else [(stage, whole[stage], _reference(teachers), taught) for stage in made]
    if "base" in whole:
        pairs.append(("student", whole["student"], "base", whole["base"]))
    return Pooled(
        runs=tuple(run.name for run in folds),
        synthetic=synthetic,
        stages=tuple(
            Stage(stage=stage, figures=whole[stage].figures(), over_folds=predictions.over_folds(judged[stage]))
            for stage in made
        ),
        differences=tuple(
            _difference(stage, ours, reference, theirs)
            for stage, ours, reference, theirs in pairs
            if stage != reference
        ),
        decision=(
            acceptance.decide(whole["int8"], taught, folds[0].recipe.max_drop)
            if "int8" in whole and taught is not None
            else None
        ),
    )


def _reference(teachers: Sequence[str]) -> str:
    return teachers[0] if len(teachers) == 1 else "mean of teachers"


def _difference(stage: str, ours: Evaluation, reference: str, theirs: Evaluation) -> Difference:
    return Difference(
        stage=stage,
        reference=reference,
        difference=intervals.paired_difference(classification.balanced_accuracy, ours.matrices(), theirs.matrices()),
        significance=significance.between(ours, theirs),
    )


def _teachers(recipe: Recipe) -> recipes.Teachers:
    """Name the runs of this fold where a teacher is another cross-validation."""
    nets, known = {names.spelling(net) for net in registry.NETS}, runs.known()
    found = []
    for teacher in recipes.as_tuple(recipe.teacher):
        run, slash, stage = teacher.partition("/")
        own = f"{run}-fold{recipe.fold}"
        another = names.spelling(teacher) not in nets and run not in known and own in known
        found.append(f"{own}{slash}{stage}" if another else teacher)
    return recipes.pack_teachers(found)


def _require_all_folds(folds: Sequence[Run]) -> bool:
    """Refuse runs that are not all folds of one cross-validation; say whether its data is synthetic."""
    cards = [model_file.read_card(run.stage(model_paths.stages(run)[-1]) / model_paths.MODEL) for run in folds]
    first = cards[0]
    families = {
        (run.info.kind, card.data.digest, msgspec.structs.replace(card.split, digest="", fold=0), _but_fold(run.recipe))
        for run, card in zip(folds, cards, strict=True)
    }
    which = sorted(card.split.fold for card in cards)
    if len(families) > 1 or not first.split.folds or which != list(range(1, first.split.folds + 1)):
        raise UsageError(
            f"{', '.join(run.name for run in folds)} are not all folds of one cross-validation",
            "run all folds of one split: lungcli compress --folds 5",
        )
    return first.data.synthetic


def _but_fold(recipe: Recipe) -> Recipe:
    return msgspec.structs.replace(recipe, folds=0, fold=0)
