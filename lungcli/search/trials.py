"""Trials: drawn for a study, run once, resumed when they were interrupted, and read back.

A process that works on a study (a worker) holds a lock file in `HOME/searches/workers`. A trial whose worker's lock is
free was interrupted, which the same machine notices at once. Other machines notice by Optuna's heartbeats, where the
storage has them (databases do, journal files do not).
"""

import contextlib
import copy
import datetime
import math
import platform
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock
import msgspec

from lungcli.core import cpu, paths
from lungcli.core.commands import AXES
from lungcli.core.errors import InterruptedRunError, UsageError
from lungcli.metrics.intervals import Estimate
from lungcli.search import studies
from lungcli.search.space import Range, State, StudyPlan, TrialOutcome, Value

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial

# After this many repeated draws in a row, no new one is expected.
MOST_REPEATS = 50
# Drawing takes milliseconds; a process that takes longer was killed.
_SECONDS_TO_DRAW = 5.0
# User attributes of a trial.
_WORKER, _HOST, _CPU, _RUN, _PROBLEM, _IDLE, _FIGURES = "worker", "host", "cpu", "run", "problem", "idle", "figures"
_STATES: dict[str, State] = {
    "COMPLETE": "complete",
    "PRUNED": "pruned",
    "RUNNING": "running",
    "WAITING": "waiting",
    "FAIL": "failed",
}


class TrialMetrics(msgspec.Struct, frozen=True, kw_only=True):
    """The metrics of a trial: see `TrialOutcome`."""

    bytes: int
    p50: float
    balanced_accuracy: Estimate
    n: int
    groups: int


@contextlib.contextmanager
def worker_lock() -> Iterator[str]:
    """Hold the lock of a worker while it works on trials; yields its name."""
    name = uuid.uuid4().hex
    lock = _lock(name)
    with paths.os_errors_as(lock):
        lock.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(lock):
        yield name
    lock.unlink(missing_ok=True)


def sampler(study: "Study", plan: StudyPlan, trials: int) -> "BaseSampler":
    """Return the sampler of the next trial, seeded by the plan and the number of trials, so that a study can resume.

    All combinations in random order where `trials` is enough for them, else the tree-structured Parzen estimator
    (Bergstra et al., NeurIPS 2011; for several objectives Ozaki et al., JAIR 73, 2022).
    """
    samplers = studies.import_optuna().samplers
    seed = (plan.seed * 1_000_003 + len(study.get_trials(deepcopy=False))) % 2**32
    enough = plan.combinations and plan.combinations <= trials

    class EveryCombination(samplers.BruteForceSampler):  # type: ignore[misc,name-defined]
        def _populate_tree(self, tree: Any, trials: "list[FrozenTrial]", params: Any) -> None:
            # Of a trial that was killed before it drew anything, it would take the whole search for done.
            super()._populate_tree(tree, [trial for trial in trials if trial.distributions], params)

    next_sampler: BaseSampler = EveryCombination(seed=seed) if enough else samplers.TPESampler(seed=seed)
    return next_sampler


def has_remaining(study: "Study", plan: StudyPlan, trials: int) -> bool:
    """Whether a trial is left: a waiting one, or a new one until there are `trials` or no more combinations."""
    all_trials = study.get_trials(deepcopy=False)
    counting = [trial for trial in all_trials if _counts(trial)]
    if any(trial.state.name == "WAITING" for trial in counting):
        return True
    tried = {repr(sorted(trial.params.items())) for trial in counting}
    if plan.combinations and len(tried) >= plan.combinations:
        return False
    if len(all_trials) >= MOST_REPEATS and not any(_counts(trial) for trial in all_trials[-MOST_REPEATS:]):
        return False
    return len(counting) < trials


def draw_values(trial: "Trial", plan: StudyPlan, trials: int) -> dict[str, Value] | None:
    """Return a value for each axis; None for one trial too many, or one with the values of an earlier trial.

    Of two trials with the same values, the one with the lower number is run.
    """
    drawn: dict[str, Value] = {}
    for name in AXES:
        axis = plan.axes.get(name)
        if isinstance(axis, Range):
            drawn[name] = trial.suggest_float(name, axis.low, axis.high, log=axis.log)
        elif axis:
            value = trial.suggest_categorical(name, axis)
            drawn[name] = msgspec.convert(value, Value)
    earlier = [other for other in _earlier(trial, set(drawn)) if _counts(other)]
    same = [other.number for other in earlier if other.params == trial.params]
    if same or len(earlier) >= trials:
        trial.set_user_attr(_IDLE, f"as trial {same[0]}" if same else "one too many")
        return None
    return drawn


def run_one(study: "Study", objective: "Callable[[Trial], tuple[float, ...] | None]") -> "FrozenTrial | None":
    """Run one trial, with Optuna's heartbeats where the storage has them; return it, or None where it did nothing.

    When it is interrupted, its values are queued again. Raises what `objective` raises, except for pruning.
    """
    started: list[int] = []

    def noting_objective(trial: "Trial") -> float | tuple[float, ...]:
        started.append(trial.number)
        # Optuna counts a trial without a value as failed.
        return objective(trial) or math.nan

    try:
        study.optimize(noting_objective, n_trials=1)
    except ValueError:
        # The machine was suspended, and another process has taken the trial over.
        if not started or study.trials[started[0]].state.name != "FAIL":
            raise
    except (InterruptedRunError, KeyboardInterrupt):
        if started:
            _queue(study, study.trials[started[0]], most=None)
        raise
    trial = study.trials[started[0]] if started else None
    return trial if trial and _counts(trial) else None


def requeue_interrupted(study: "Study") -> None:
    """Mark trials whose worker was killed as failed, and queue their values, so that their runs are resumed."""
    optuna = studies.import_optuna()
    # The brute-force sampler would stop a study that is not running here.
    study.sampler = optuna.samplers.RandomSampler()
    optuna.storages.fail_stale_trials(study)
    running = optuna.trial.TrialState.RUNNING
    for trial in study.get_trials(deepcopy=False, states=[running]):
        worker = trial.user_attrs.get(_WORKER)
        if worker is None:
            # Killed before it noted its worker.
            # Optuna stores local times without a zone.
            now, began = datetime.datetime.now(), trial.datetime_start  # noqa: DTZ005
            if began and (now - began).total_seconds() > studies.GRACE and _fail(study, trial):
                _queue(study, trial, studies.MOST_RETRIES)
        elif _lock(worker).exists():
            with contextlib.suppress(filelock.Timeout), filelock.FileLock(_lock(worker), timeout=0):
                if _fail(study, trial):
                    _queue(study, trial, studies.MOST_RETRIES)
                _lock(worker).unlink(missing_ok=True)


def outcomes(study: "Study", plan: StudyPlan) -> tuple[TrialOutcome, ...]:
    """Return the outcome of every trial, in order; those that were interrupted and retried are left out."""
    return tuple(outcome(trial, plan) for trial in study.get_trials(deepcopy=False) if _counts(trial))


def outcome(trial: "FrozenTrial", plan: StudyPlan) -> TrialOutcome:
    """Return the outcome of a trial."""
    attrs = trial.user_attrs
    state = TrialOutcome(
        trial=trial.number,
        state=_STATES[trial.state.name],
        run=attrs.get(_RUN, ""),
        host=attrs.get(_HOST, ""),
        cpu=attrs.get(_CPU, ""),
        drawn=dict(trial.params),
        problem=attrs.get(_PROBLEM, ""),
    )
    if _FIGURES not in attrs:
        return state
    figures = msgspec.convert(attrs[_FIGURES], TrialMetrics)
    within_limits = all(value <= 0 for value in _excess(figures, plan).values())
    return msgspec.structs.replace(state, **msgspec.structs.asdict(figures), within_limits=within_limits)


def note_worker(trial: "Trial", worker: str) -> None:
    """Note the worker of a trial and its machine in the study."""
    trial.set_user_attr(_WORKER, worker)
    trial.set_user_attr(_HOST, platform.node())
    trial.set_user_attr(_CPU, cpu.name())


def note_run(trial: "Trial", run: str) -> None:
    """Note the run of a trial in the study."""
    trial.set_user_attr(_RUN, run)


def noted_run(trial: "Trial") -> str:
    """Return the run that a trial resumes; empty where there is none."""
    return str(trial.user_attrs.get(_RUN, ""))


def note_problem(trial: "Trial", problem: str) -> None:
    """Note in the study why a trial failed or was pruned."""
    trial.set_user_attr(_PROBLEM, problem)


def note_metrics(trial: "Trial", metrics: TrialMetrics, plan: StudyPlan) -> tuple[float, ...]:
    """Save the metrics of a trial, and return its objective values. Raises UsageError without balanced accuracy."""
    accuracy = metrics.balanced_accuracy.value
    if accuracy is None:
        raise UsageError("the validation part lacks a class, so there is no balanced accuracy", "take another split")
    trial.set_user_attr(_FIGURES, msgspec.to_builtins(metrics))
    for name, value in _excess(metrics, plan).items():
        trial.set_constraint(name, value)
    return (accuracy,) if plan.limited else (float(metrics.bytes), metrics.p50, accuracy)


def _excess(metrics: TrialMetrics, plan: StudyPlan) -> dict[str, float]:
    """Return how far a trial exceeds each limit, as a share of it; 0 and below is within."""
    limits = {"bytes": (metrics.bytes, plan.max_bytes), "p50": (metrics.p50, plan.max_p50)}
    return {name: value / limit - 1 for name, (value, limit) in limits.items() if limit}


def _earlier(trial: "Trial", axes: set[str]) -> "list[FrozenTrial]":
    """Return the trials with lower numbers, once the running ones have drawn all their values."""
    deadline = time.monotonic() + _SECONDS_TO_DRAW
    while True:
        earlier = [other for other in trial.study.get_trials(deepcopy=False) if other.number < trial.number]
        drawing = any(other.state.name == "RUNNING" and axes - other.params.keys() for other in earlier)
        if not drawing or time.monotonic() > deadline:
            return earlier
        time.sleep(0.02)


def _counts(trial: "FrozenTrial") -> bool:
    """Whether a trial counts: not if it did nothing, or was interrupted (and retried)."""
    if _IDLE in trial.user_attrs:
        return False
    return trial.state.name != "FAIL" or _PROBLEM in trial.user_attrs


def _fail(study: "Study", trial: "FrozenTrial") -> bool:
    """Mark a running trial as failed; return whether no other process had."""
    optuna = studies.import_optuna()
    try:
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
    except (ValueError, optuna.exceptions.UpdateFinishedTrialError):
        return False
    return True


def _queue(study: "Study", trial: "FrozenTrial", most: int | None) -> None:
    """Queue the values and the run of a trial again, at most so many times (None: always)."""
    if not trial.params:
        return
    retry = studies.import_optuna().storages.RetryHeartbeatStaleTrialCallback(
        max_retry=most, inherit_intermediate_values=True
    )
    waiting = copy.deepcopy(trial)
    waiting.user_attrs = {name: value for name, value in trial.user_attrs.items() if name != _WORKER}
    retry(study, waiting)


def _lock(worker: str) -> Path:
    return studies.home() / "workers" / f"{worker}.lock"
