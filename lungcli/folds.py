"""Cross-validation: a run a fold, with every stage inside the fold, and the verdicts of all folds together.

Each fold's run is like any other: it is trained on its own part of the data, its teachers too, and is gone on with
or passed over like any other. What is pooled are verdicts: every slice is judged by the one model that never met it.
"""

from collections.abc import Sequence

import msgspec

from lungcli import compress, stages
from lungcli.core import catalog, evaluation, intervals, metrics, models, names, runs, significance
from lungcli.core import recipe as recipes
from lungcli.core.errors import UsageError
from lungcli.core.evaluation import Evaluation, Figures
from lungcli.core.intervals import Estimate, Spread
from lungcli.core.recipe import Recipe
from lungcli.core.runs import Kind, Run
from lungcli.core.significance import Significance
from lungcli.inference import evaluate, gate, modelfile
from lungcli.inference.gate import Decision


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
        compress.settled(kind, recipe)
    return [compress.start(kind, recipe, name and f"{name}-fold{recipe.fold}")[0] for recipe in own]


def pool(folds: Sequence[Run]) -> Pooled:
    """Put the finished runs of all folds together.

    Raises UsageError when they are not all folds of one cross-validation, UnreadableInputError for one not finished.
    """
    synthetic = _require_all_folds(folds)
    made = models.stages(folds[0])
    judged = {stage: [evaluate.load(run.stage(stage) / stages.EVALUATION) for run in folds] for stage in made}
    whole = {stage: evaluation.pooled(verdicts) for stage, verdicts in judged.items()}
    teachers = models.teacher_stages(folds[0].recipe)
    taught = evaluation.ensemble([whole[stage] for stage in teachers]) if teachers else None
    pairs = [] if taught is None else [(stage, whole[stage], _reference(teachers), taught) for stage in made]
    if "base" in whole:
        pairs.append(("student", whole["student"], "base", whole["base"]))
    return Pooled(
        runs=tuple(run.name for run in folds),
        synthetic=synthetic,
        stages=tuple(
            Stage(stage=stage, figures=whole[stage].figures(), over_folds=evaluation.over_folds(judged[stage]))
            for stage in made
        ),
        differences=tuple(
            _difference(stage, ours, reference, theirs)
            for stage, ours, reference, theirs in pairs
            if stage != reference
        ),
        decision=(
            gate.decide(whole["int8"], taught, folds[0].recipe.max_drop)
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
        difference=intervals.paired_difference(metrics.balanced_accuracy, ours.matrices(), theirs.matrices()),
        significance=significance.between(ours, theirs),
    )


def _teachers(recipe: Recipe) -> recipes.Teachers:
    """Name the runs of this fold where a teacher is another cross-validation."""
    nets, known = {names.spelling(net) for net in catalog.NETS}, runs.known()
    found = []
    for teacher in recipes.each(recipe.teacher):
        run, slash, stage = teacher.partition("/")
        own = f"{run}-fold{recipe.fold}"
        another = names.spelling(teacher) not in nets and run not in known and own in known
        found.append(f"{own}{slash}{stage}" if another else teacher)
    return recipes.together(found)


def _require_all_folds(folds: Sequence[Run]) -> bool:
    """Refuse runs that are not all folds of one cross-validation; say whether its data is synthetic."""
    cards = [modelfile.read_card(run.stage(models.stages(run)[-1]) / models.MODEL) for run in folds]
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
