"""Trials that take no time, and who does them: `python -m tests.search.trying STUDY STORAGE MOST SECONDS`."""

import sys
import time
from collections.abc import Generator

import numpy as np

from lungcli.core import runs
from lungcli.core.events import EpochDone, Event, RunDone, RunStarted, now
from lungcli.core.recipe import Recipe
from lungcli.core.runs import Run
from lungcli.datasets.phantom import dataset
from lungcli.metrics.intervals import Estimate
from lungcli.pipeline import stages
from lungcli.pipeline.stages import RunData
from lungcli.search import loop, space, studies, trials
from lungcli.search.space import AxisValues, StudyPlan, TrialOutcome
from lungcli.search.trials import TrialMetrics

SETTINGS = {"data": "phantom", "teacher": ["ownmodel"], "epochs": 4, "size": 64, "device": "cpu", "threads": 1}


def plan(**changes: object) -> StudyPlan:
    """A plan over six learning rates, in a home that has the phantoms."""
    dataset.make_dataset(slices=45, side=64)
    return planned(**changes)


def planned(**changes: object) -> StudyPlan:
    """That plan, where the phantoms are there already."""
    axes = {"model": ("ownmodel",), "bits": (32,), "learning_rate": (1e-3, 2e-3, 3e-3, 4e-3, 5e-3, 6e-3)}
    settings: dict[str, object] = {"axes": axes, "settings": SETTINGS, "split": "", **changes}
    first = StudyPlan(**settings)  # type: ignore[arg-type]
    recipe = space.recipe_of(first, space.corners(first.axes)[0])[1]
    return StudyPlan(**{**settings, "split": stages.load_with_split(recipe)[1].digest})  # type: ignore[arg-type]


def epoch(number: int, right: float) -> EpochDone:
    """An epoch of a student, of four."""
    return EpochDone(
        time=now(),
        stage="student",
        epoch=number,
        epochs=4,
        loss=1.0,
        validation_loss=1.0,
        balanced_accuracy=right,
        sensitivity=None,
        learning_rate=0.1,
        images_per_second=1.0,
        best=False,
    )


def figures(recipe: Recipe) -> TrialMetrics:
    """The higher the rate, the righter, larger and slower."""
    share = recipe.learning_rate * 100
    right = Estimate(value=share, low=share / 2, high=min(1.0, share * 1.5))
    return TrialMetrics(bytes=round(1e6 * share), p50=10 * share, balanced_accuracy=right, n=12, groups=5)


def shorten(seconds: float = 0.0) -> None:
    """Put nothing but waiting in the place of training and judging."""

    def start_run(trial: object, plan: StudyPlan, drawn: AxisValues, callbacks: object) -> Run:
        kind, recipe = space.recipe_of(plan, drawn)
        name = trials.noted_run(trial) or f"run-{trial.number}"  # type: ignore[arg-type,attr-defined]
        run = runs.load(name) if name in runs.known() else runs.create(name, kind, recipe)
        trials.note_run(trial, run.name)  # type: ignore[arg-type]
        return run

    def trial_events(run: Run, data: RunData) -> Generator[Event, None, None]:
        def happening() -> Generator[Event, None, None]:
            yield RunStarted(time=now(), stages=("student",))
            for number in range(1, 5):
                time.sleep(seconds / 4)
                yield epoch(number, run.recipe.learning_rate * 100)
            yield RunDone(time=now())

        return runs.record(run, happening())

    def evaluate_run(run: Run, data: RunData) -> TrialMetrics:
        return figures(run.recipe)

    def load_run_data(recipe: Recipe, advance: object = None) -> RunData:
        return RunData(manifest=None, split=None, pixels=np.empty(0, np.uint8))  # type: ignore[arg-type]

    loop._start_run = start_run
    loop.trial_events = trial_events
    loop.evaluate_run = evaluate_run
    stages.load_run_data = load_run_data


def ignore(text: str) -> None:
    """Be told something."""


def exhaust(run: Run, found: RunData, events: Generator[Event, None, None]) -> None:
    """Let the work be done."""
    for _ in events:
        pass


def watch(told: list[TrialOutcome]) -> loop.SearchCallbacks:
    """Exhaust events, and keep outcomes."""
    return loop.SearchCallbacks(follow=exhaust, tell=told.append, say=ignore)


def main(name: str, storage: str, most: str, seconds: str) -> None:
    """Share in a study, with heartbeats every second, and print what was done."""
    studies.BEAT, studies.GRACE = 1, 6
    shorten(float(seconds))
    told = planned()
    study = studies.create_or_open(name, storage, told)
    print("begun", flush=True)
    done: list[TrialOutcome] = []
    with studies.storage_errors(storage):
        loop.run_study(study, told, int(most), 0, watch(done))
    print("done", *(f"{each.trial}:{each.run}" for each in done), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
