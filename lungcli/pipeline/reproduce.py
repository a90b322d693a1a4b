"""Repeating a run from its recipe, and comparing the results."""

import hashlib
from pathlib import Path

import msgspec
import numpy as np

from lungcli.core import runs
from lungcli.core.errors import UsageError
from lungcli.core.runs import Run
from lungcli.evaluation import evaluate
from lungcli.metrics import predictions
from lungcli.metrics.predictions import Evaluation, Figures
from lungcli.modelfile import model_file, model_paths
from lungcli.pipeline import jobs, stages


class StageReproduction(msgspec.Struct, frozen=True, kw_only=True):
    """One stage and its repetition: whether weights (None for a stage without) and graph are identical bit for bit.

    Of `n` test slices, or validation slices of a search's trial, `flips` are classified differently; `largest_change`
    is that of any probability.
    """

    stage: str
    weights: bool | None
    graph: bool
    n: int
    flips: int
    largest_change: float
    before: Figures
    again: Figures

    @property
    def same(self) -> bool:
        """Say whether weights, graph and every probability are the same bit for bit."""
        return self.weights is not False and self.graph and self.largest_change == 0


class Reproduction(msgspec.Struct, frozen=True, kw_only=True):
    """A run and its repetition. `environment` has the versions and processors that differ: (before, again)."""

    run: str
    again: str
    same: bool
    stages: tuple[StageReproduction, ...]
    environment: dict[str, tuple[str, str]] = msgspec.field(name="surroundings")


def start(run: Run) -> Run:
    """Make the run that repeats `run`, called RUN-again, or find the one that an earlier call began.

    Raises UsageError for a run that is not finished, whose data has changed, or whose name for repeating is taken.
    """
    if runs.state(run) != "done":
        raise UsageError(
            f"the run {run.name!r} is not finished, so there is nothing to reproduce",
            f"go on with it: lungcli runs resume '{run.name}'",
        )
    data, split = stages.load_with_split(run.recipe)
    if run.info.split not in ("", split.digest):
        raise UsageError(
            f"the run {run.name!r} can't be reproduced: {data.name!r} has changed since, or is divided otherwise now",
            "a run needs the slices it was trained on, every one",
        )
    name = f"{run.name}-again"
    if name not in runs.known():
        return runs.create(name, run.info.kind, run.recipe, run.info.teacher_run, split=split.digest)
    again = runs.load(name)
    identity = (run.info.kind, run.recipe, run.info.teacher_run, split.digest)
    if (again.info.kind, again.recipe, again.info.teacher_run, again.info.split) != identity:
        raise UsageError(f"the run {name!r} does not repeat {run.name!r}", f"remove it: lungcli runs remove '{name}'")
    return again


def compare(run: Run, again: Run) -> Reproduction:
    """Compare a finished repetition with the run that it repeats."""
    reproductions = tuple(
        _compare_stage(run, again, stage) for stage in model_paths.stages(run) if stage not in skipped_stages(run)
    )
    return Reproduction(
        run=run.name,
        again=again.name,
        same=all(stage.same for stage in reproductions),
        stages=reproductions,
        environment=_environment_differences(run, again),
    )


def _compare_stage(run: Run, again: Run, stage: str) -> StageReproduction:
    from lungcli.training import loop

    ours, theirs = again.stage(stage), run.stage(stage)
    if jobs.EVALUATE in skipped_stages(run):
        evaluation, before = (_validation(item, stage) for item in (again, run))
    else:
        evaluation, before = (evaluate.load(folder / stages.EVALUATION) for folder in (ours, theirs))
    change = np.abs(evaluation.arrays()[1] - before.arrays()[1])
    return StageReproduction(
        stage=stage,
        weights=_same_weights(ours / loop.BEST, theirs / loop.BEST),
        graph=model_file.graph_digest(ours / model_paths.MODEL) == model_file.graph_digest(theirs / model_paths.MODEL),
        n=len(before.labels),
        flips=len(predictions.flips(evaluation, before)),
        largest_change=float(change.max(initial=0.0)),
        before=before.figures(),
        again=evaluation.figures(),
    )


def skipped_stages(run: Run) -> tuple[str, ...]:
    """Return the stages that `run` went without: a search's trial has no base student, and never met the test part."""
    all_stages = model_paths.stages(run)
    missing = tuple(stage for stage in all_stages if not (run.stage(stage) / model_paths.MODEL).exists())
    is_evaluated = any((run.stage(stage) / stages.EVALUATION).exists() for stage in all_stages)
    return missing if is_evaluated else (*missing, jobs.EVALUATE)


def _validation(run: Run, stage: str) -> Evaluation:
    model = model_file.load(run.stage(stage) / model_paths.MODEL)
    return stages.load_run_data(run.recipe).evaluate(model, "val")


def _same_weights(ours: Path, theirs: Path) -> bool | None:
    if not theirs.exists():
        return None
    return ours.exists() and _digest(ours) == _digest(theirs)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _environment_differences(run: Run, again: Run) -> dict[str, tuple[str, str]]:
    """Return versions of libraries and processors that differ; runs of earlier versions don't name their processor."""
    last = model_paths.stages(run)[-1]
    before, now = (model_file.read_card(item.stage(last) / model_paths.MODEL).versions for item in (run, again))
    pairs = {name: (before.get(name, "unknown"), now.get(name, "unknown")) for name in sorted({*before, *now})}
    pairs["processor"] = (run.info.cpu or "unknown", again.info.cpu or "unknown")
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
