"""The pooled predictions of all folds of a cross-validation.

Every slice is classified by the one model that was not trained on it.
"""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from lungcli.core import runs
from lungcli.core.errors import UsageError
from lungcli.core.runs import Run
from lungcli.evaluation import acceptance, evaluate
from lungcli.evaluation.acceptance import Decision
from lungcli.metrics import classification, institutions, intervals, predictions, significance
from lungcli.metrics.institutions import InstitutionFigures
from lungcli.metrics.intervals import Estimate, Spread
from lungcli.metrics.predictions import Evaluation, Figures
from lungcli.metrics.significance import Significance
from lungcli.modelfile import model_file, model_paths
from lungcli.pipeline import stages


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """`stage` minus `reference` in balanced accuracy, paired over all slices, with tests of it."""

    stage: str
    reference: str
    difference: Estimate
    significance: Significance


class PooledStage(msgspec.Struct, frozen=True, kw_only=True):
    """One stage: figures over all slices, each figure's mean and spread over the folds, and figures by institution.

    `institutions` are the worst first; none where the data set has but one.
    """

    stage: str
    figures: Figures
    over_folds: dict[str, Spread]
    institutions: tuple[InstitutionFigures, ...] = ()


class Pooled(msgspec.Struct, frozen=True, kw_only=True):
    """All folds of a cross-validation. `decisions` are the gate's on all slices, none where nothing is compressed."""

    runs: tuple[str, ...]
    synthetic: bool
    stages: tuple[PooledStage, ...]
    differences: tuple[Difference, ...]
    decisions: tuple[Decision, ...]


def folds_of(name: str) -> tuple[Run, ...]:
    """Return the runs NAME-fold1, NAME-fold2, … of a cross-validation; none where `name` is that of no such."""
    known = runs.known()
    if name in known or f"{name}-fold1" not in known:
        return ()
    return tuple(runs.read(known[f"{name}-fold{number}"]) for number in range(1, _count(name, known) + 1))


def _count(name: str, known: Mapping[str, Path]) -> int:
    return next(number for number in itertools.count(1) if f"{name}-fold{number + 1}" not in known)


def pool(folds: Sequence[Run]) -> Pooled:
    """Pool the finished runs of all folds.

    Raises UsageError when they are not all folds of one cross-validation, UnreadableInputError for one not finished.
    """
    synthetic = require_all_folds(folds)
    stage_names = model_paths.stages(folds[0])
    by_fold = {stage: [evaluate.load(run.stage(stage) / stages.EVALUATION) for run in folds] for stage in stage_names}
    pooled = {stage: predictions.pool_folds(evaluations) for stage, evaluations in by_fold.items()}
    teachers = model_paths.teacher_stages(folds[0].recipe)
    teacher = predictions.ensemble([pooled[stage] for stage in teachers]) if teachers else None
    reference = teachers[0] if len(teachers) == 1 else "mean of teachers"
    pairs = [] if teacher is None else [(stage, pooled[stage], reference, teacher) for stage in stage_names]
    if "base" in pooled:
        pairs.append(("student", pooled["student"], "base", pooled["base"]))
    return Pooled(
        runs=tuple(run.name for run in folds),
        synthetic=synthetic,
        stages=tuple(
            PooledStage(
                stage=stage,
                figures=pooled[stage].figures(),
                over_folds=predictions.spread_over_folds(by_fold[stage]),
                institutions=institutions.by_institution(pooled[stage]),
            )
            for stage in stage_names
        ),
        differences=tuple(
            _difference(stage, ours, reference, theirs)
            for stage, ours, reference, theirs in pairs
            if stage != reference
        ),
        decisions=(
            acceptance.gate([pooled[stage] for stage in teachers], pooled["student"], pooled["int8"], folds[0].recipe)
            if "int8" in pooled
            else ()
        ),
    )


def _difference(stage: str, ours: Evaluation, reference: str, theirs: Evaluation) -> Difference:
    return Difference(
        stage=stage,
        reference=reference,
        difference=intervals.paired_difference(classification.balanced_accuracy, ours.matrices(), theirs.matrices()),
        significance=significance.between(ours, theirs),
    )


def require_all_folds(folds: Sequence[Run]) -> bool:
    """Raise UsageError for runs that are not all folds of one cross-validation; return whether it is synthetic."""
    cards = [model_file.read_card(run.stage(model_paths.stages(run)[-1]) / model_paths.MODEL) for run in folds]
    first = cards[0]
    families = {
        (
            run.info.kind,
            card.data.digest,
            msgspec.structs.replace(card.split, digest="", fold=0),
            msgspec.structs.replace(run.recipe, folds=0, fold=0),
        )
        for run, card in zip(folds, cards, strict=True)
    }
    fold_numbers = sorted(card.split.fold for card in cards)
    if len(families) > 1 or not first.split.folds or fold_numbers != list(range(1, first.split.folds + 1)):
        raise UsageError(
            f"not all folds of one cross-validation: {', '.join(run.name for run in folds)}",
            "run all folds of one split: lungcli compress --folds 5",
        )
    return first.data.synthetic
