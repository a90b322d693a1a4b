"""Trials: drawn for a study, done once, gone on with when they were cut off, and read back.

A process that works on a study holds a lock file of its own in `HOME/searches/workers`. A trial whose worker's lock is
free was cut off: on the same machine that is seen at once. Elsewhere it is told by Optuna's heartbeats, where the
storage has them (databases do, journal files don't).
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
from typing import TYPE_CHECKING

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

# Draws in a row that repeat earlier ones, after which nothing new is to be expected.
MOST_REPEATS = 50
# Drawing takes milliseconds; who takes longer was cut off.
_SECONDS_TO_DRAW = 5.0
# What a trial keeps beside its values.
_WORKER, _HOST, _CPU, _RUN, _PROBLEM, _IDLE, _FIGURES = "worker", "host", "cpu", "run", "problem", "idle", "figures"
_STATES: dict[str, State] = {
    "COMPLETE": "complete",
    "PRUNED": "pruned",
    "RUNNING": "running",
    "WAITING": "waiting",
    "FAIL": "failed",
}


class TrialMetrics(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured in a trial: see `TrialOutcome`."""

    bytes: int
    p50: float
    balanced_accuracy: Estimate
    n: int
    groups: int


@contextlib.contextmanager
def worker_lock() -> Iterator[str]:
    """Hold the lock of a worker while it works on trials; yields what it is called."""
    name = uuid.uuid4().hex
    lock = _lock(name)
    with paths.os_errors_as(lock):
        lock.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(lock):
        yield name
    lock.unlink(missing_ok=True)


def sampler(study: "Study", plan: StudyPlan, trials: int) -> "BaseSampler":
    """Return what draws the next trial: from the plan's seed and the trials so far, so that a study can go on.

    All combinations in random order where `trials` are enough for them, else the tree-structured Parzen estimator
    (Bergstra et al., NeurIPS 2011; for several objectives Ozaki et al., JAIR 73, 2022).
    """
    samplers = studies.import_optuna().samplers
    seed = (plan.seed * 1_000_003 + len(study.get_trials(deepcopy=False))) % 2**32
    enough = plan.combinations and plan.combinations <= trials
    chosen: BaseSampler = samplers.BruteForceSampler(seed=seed) if enough else samplers.TPESampler(seed=seed)
    return chosen


def has_remaining(study: "Study", plan: StudyPlan, trials: int) -> bool:
    """Say whether there is a trial to do: one that waits, or one more until there are `trials` or no others."""
    known = study.get_trials(deepcopy=False)
    counted = [trial for trial in known if _counts(trial)]
    if any(trial.state.name == "WAITING" for trial in counted):
        return True
    tried = {repr(sorted(trial.params.items())) for trial in counted}
    if plan.combinations and len(tried) >= plan.combinations:
        return False
    if len(known) >= MOST_REPEATS and not any(_counts(trial) for trial in known[-MOST_REPEATS:]):
        return False
    return len(counted) < trials


def draw_values(trial: "Trial", plan: StudyPlan, trials: int) -> dict[str, Value] | None:
    """Return a value for each axis; None where it is one trial too many, or does what another has done or does.

    Of two trials with the same values the one with the lower number is done.
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
    """Do one trial, with Optuna's heartbeats where the storage has them; return it, or None where it did nothing.

    When it is interrupted, its values wait to be gone on with. Raises what `objective` raises, but for what prunes.
    """
    begun: list[int] = []

    def noted(trial: "Trial") -> float | tuple[float, ...]:
        begun.append(trial.number)
        # To Optuna a trial without a value has failed.
        return objective(trial) or math.nan

    try:
        study.optimize(noted, n_trials=1)
    except ValueError:
        # The machine slept, and another process has taken the trial over meanwhile.
        if not begun or study.trials[begun[0]].state.name != "FAIL":
            raise
    except (InterruptedRunError, KeyboardInterrupt):
        if begun:
            _queue(study, study.trials[begun[0]], most=None)
        raise
    done = study.trials[begun[0]] if begun else None
    return done if done and _counts(done) else None


def requeue_interrupted(study: "Study") -> None:
    """Mark trials whose worker was killed as failed, and queue their values, to go on with the runs they began."""
    optuna = studies.import_optuna()
    # What tries all combinations would stop a loop here that is not running.
    study.sampler = optuna.samplers.RandomSampler()
    optuna.storages.fail_stale_trials(study)
    running = optuna.trial.TrialState.RUNNING
    for trial in study.get_trials(deepcopy=False, states=[running]):
        worker = trial.user_attrs.get(_WORKER)
        if worker is None:
            # Killed before it could say by whom it is done.
            if trial.datetime_start and _seconds_since(trial.datetime_start) > studies.GRACE and _fail(study, trial):
                _queue(study, trial, studies.MOST_RETRIES)
        elif _lock(worker).exists():
            with contextlib.suppress(filelock.Timeout), filelock.FileLock(_lock(worker), timeout=0):
                if _fail(study, trial):
                    _queue(study, trial, studies.MOST_RETRIES)
                _lock(worker).unlink(missing_ok=True)


def outcomes(study: "Study", plan: StudyPlan) -> tuple[TrialOutcome, ...]:
    """Return how every trial stands, in order; those that were cut off and tried again are left out."""
    return tuple(outcome(trial, plan) for trial in study.get_trials(deepcopy=False) if _counts(trial))


def outcome(trial: "FrozenTrial", plan: StudyPlan) -> TrialOutcome:
    """Return how a trial stands."""
    attrs = trial.user_attrs
    found = TrialOutcome(
        trial=trial.number,
        state=_STATES[trial.state.name],
        run=attrs.get(_RUN, ""),
        host=attrs.get(_HOST, ""),
        cpu=attrs.get(_CPU, ""),
        drawn=dict(trial.params),
        problem=attrs.get(_PROBLEM, ""),
    )
    if _FIGURES not in attrs:
        return found
    figures = msgspec.convert(attrs[_FIGURES], TrialMetrics)
    within = all(value <= 0 for value in _excess(figures, plan).values())
    return msgspec.structs.replace(found, **msgspec.structs.asdict(figures), within_limits=within)


def note_worker(trial: "Trial", worker: str) -> None:
    """Say in the study who works on a trial, and on what."""
    trial.set_user_attr(_WORKER, worker)
    trial.set_user_attr(_HOST, platform.node())
    trial.set_user_attr(_CPU, cpu.name())


def note_run(trial: "Trial", run: str) -> None:
    """Say in the study which run a trial is."""
    trial.set_user_attr(_RUN, run)


def noted_run(trial: "Trial") -> str:
    """Name the run of the trial that this one goes on with; empty where there is none."""
    return str(trial.user_attrs.get(_RUN, ""))


def note_problem(trial: "Trial", problem: str) -> None:
    """Say in the study why a trial failed, or was given up."""
    trial.set_user_attr(_PROBLEM, problem)


def note_metrics(trial: "Trial", figures: TrialMetrics, plan: StudyPlan) -> tuple[float, ...]:
    """Keep the figures of a trial, and return the study's objectives. Raises UsageError without balanced accuracy."""
    right = figures.balanced_accuracy.value
    if right is None:
        raise UsageError("the validation part lacks a class, so there is no balanced accuracy", "take another split")
    trial.set_user_attr(_FIGURES, msgspec.to_builtins(figures))
    for name, value in _excess(figures, plan).items():
        trial.set_constraint(name, value)
    return (right,) if plan.limited else (float(figures.bytes), figures.p50, right)


def _excess(figures: TrialMetrics, plan: StudyPlan) -> dict[str, float]:
    """How far a trial is beyond each limit, as a share of it; 0 and below is within."""
    limits = {"bytes": (figures.bytes, plan.max_bytes), "p50": (figures.p50, plan.max_p50)}
    return {name: value / limit - 1 for name, (value, limit) in limits.items() if limit}


def _earlier(trial: "Trial", axes: set[str]) -> "list[FrozenTrial]":
    """Trials with lower numbers, once those that run have drawn all their values."""
    deadline = time.monotonic() + _SECONDS_TO_DRAW
    while True:
        earlier = [other for other in trial.study.get_trials(deepcopy=False) if other.number < trial.number]
        drawing = any(other.state.name == "RUNNING" and axes - other.params.keys() for other in earlier)
        if not drawing or time.monotonic() > deadline:
            return earlier
        time.sleep(0.02)


def _counts(trial: "FrozenTrial") -> bool:
    """Whether a trial counts: not one that did nothing, or that was cut off (and tried again)."""
    if _IDLE in trial.user_attrs:
        return False
    return trial.state.name != "FAIL" or _PROBLEM in trial.user_attrs


def _fail(study: "Study", trial: "FrozenTrial") -> bool:
    """Mark a running trial as failed; say whether nobody else had."""
    optuna = studies.import_optuna()
    try:
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
    except (ValueError, optuna.exceptions.UpdateFinishedTrialError):
        return False
    return True


def _queue(study: "Study", trial: "FrozenTrial", most: int | None) -> None:
    """Queue the values of a trial again, with what is known of its run, at most so many times (None: always)."""
    if not trial.params:
        return
    again = studies.import_optuna().storages.RetryHeartbeatStaleTrialCallback(
        max_retry=most, inherit_intermediate_values=True
    )
    waiting = copy.deepcopy(trial)
    waiting.user_attrs = {name: value for name, value in trial.user_attrs.items() if name != _WORKER}
    again(study, waiting)


def _seconds_since(moment: datetime.datetime) -> float:
    """Seconds since a local time without a zone, as Optuna keeps them."""
    return (datetime.datetime.now() - moment).total_seconds()  # noqa: DTZ005


def _lock(worker: str) -> Path:
    return studies.home() / "workers" / f"{worker}.lock"
