"""The search loop: the trials of a study, each a run evaluated on the validation part and never on the test part.

The run of a trial skips two stages of its kind: the base student and the evaluation on the test part. Resuming such a
run (`lungcli runs resume`) adds both.
"""

import contextlib
import functools
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

import filelock
import msgspec

from lungcli.core import names, paths, registry, run_trash, runs
from lungcli.core import recipe as recipes
from lungcli.core.errors import InterruptedRunError, LungcliError, UsageError
from lungcli.core.events import EpochDone, Event
from lungcli.core.runs import Run
from lungcli.evaluation import benchmark, compare, evaluate
from lungcli.modelfile import model_file, model_paths
from lungcli.pipeline import jobs, stages, teachers
from lungcli.pipeline.stages import RunData
from lungcli.search import space, studies, trials
from lungcli.search.space import AxisValues, StudyPlan, TrialOutcome
from lungcli.search.trials import TrialMetrics

if TYPE_CHECKING:
    from optuna import Study, Trial

# So many failed trials in a row are a problem of the machine.
MOST_FAILURES = 3
# Seconds to time a model, enough for the median.
_SECONDS = 1.0
_SKIPPED = ("base", jobs.EVALUATE)


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchCallbacks:
    """Callbacks: `follow` gets the run, its data and its events, which it must exhaust, `tell` outcomes, `say` a text.

    `follow` may raise InterruptedRunError between two events, to end the search.
    """

    follow: Callable[[Run, RunData, Generator[Event, None, None]], None]
    tell: Callable[[TrialOutcome], None]
    say: Callable[[str], None]


def checked_plan(plan: StudyPlan) -> StudyPlan:
    """Return `plan` if a trial with each of its values can start. Raises UsageError, before a study is created."""
    for drawn in space.corners(plan.axes):
        jobs.resolve(*space.recipe_of(plan, drawn))
    if plan.settings.get("protocol", "grouped") != "grouped":
        raise UsageError(
            "a search selects models on the validation part, into which a random split leaks training patients",
            "leave --split out: near-duplicates then stay in one part",
        )
    return plan


def run_study(study: "Study", plan: StudyPlan, most: int, seconds: float, callbacks: SearchCallbacks) -> None:
    """Run trials until the study has `most` from all processes together, or (unless 0) for so many `seconds`.

    Raises InterruptedRunError when `callbacks` does, LungcliError after several failed trials in a row, and UsageError
    when the data on this machine has another split than the study's.
    """
    _, recipe = space.recipe_of(plan, space.corners(plan.axes)[0])
    if stages.load_with_split(recipe)[1].digest != plan.split:
        raise UsageError(
            f"the data set {plan.settings['data']!r} here is not the one the study is about: its split differs",
            "import the same data on every machine",
        )
    start, failures = time.monotonic(), 0
    with trials.worker_lock() as worker:
        while not seconds or time.monotonic() - start < seconds:
            trials.requeue_interrupted(study)
            if not trials.has_remaining(study, plan, most):
                return
            study.sampler = trials.sampler(study, plan, most)
            run_trial = functools.partial(_run_trial, plan=plan, most=most, worker=worker, callbacks=callbacks)
            trial = trials.run_one(study, run_trial)
            if trial is None:
                continue
            outcome = trials.outcome(trial, plan)
            callbacks.tell(outcome)
            failures = failures + 1 if outcome.state == "failed" else 0
            if failures == MOST_FAILURES:
                raise LungcliError(
                    f"{failures} trials in a row failed, the last because {outcome.problem}",
                    "fix that, and run the same command again: the search resumes",
                )


def _run_trial(
    trial: "Trial", *, plan: StudyPlan, most: int, worker: str, callbacks: SearchCallbacks
) -> tuple[float, ...] | None:
    """Run a trial and return its objective values; None where there is nothing to do, or where it fails."""
    trials.note_worker(trial, worker)
    drawn = trials.draw_values(trial, plan, most)
    if drawn is None:
        return None
    if reason := _known_beyond_limits(trial, drawn, plan):
        _prune(trial, reason)
    try:
        run = _start_run(trial, plan, drawn, callbacks)
        data = stages.load_run_data(run.recipe)
        callbacks.follow(run, data, _reported(trial_events(run, data), trial, plan))
        return trials.note_metrics(trial, evaluate_run(run, data), plan)
    except InterruptedRunError:
        raise
    except LungcliError as error:
        trials.note_problem(trial, error.message)
        return None


def _start_run(trial: "Trial", plan: StudyPlan, drawn: AxisValues, callbacks: SearchCallbacks) -> Run:
    """Create the run of a trial, or open the one that it resumes; its teachers are trained first."""
    study = trial.study.study_name
    kind, recipe = space.recipe_of(plan, drawn)
    teachers = recipes.pack_teachers([_teacher(plan, drawn, name, study, callbacks) for name in recipe.teachers])
    name = trials.noted_run(trial) or runs.fresh_name(f"{study}-{trial.number:04}")
    run, _ = jobs.start(kind, msgspec.structs.replace(recipe, teacher=teachers), name)
    trials.note_run(trial, run.name)
    run_trash.tag(run.folder, (study,))
    return run


def trial_events(run: Run, data: RunData) -> Generator[Event, None, None]:
    """Execute or resume the stages of `run` that a trial needs, recording each event. Raises as `jobs.work` does."""
    for stage in model_paths.stages(run):
        if origin := teachers.reused_teacher(run, stage):
            _link(origin, run, stage)
    return jobs.execute(run, data, without=_SKIPPED)


def evaluate_run(run: Run, data: RunData) -> TrialMetrics:
    """Evaluate the final model of a trial on the validation part, save the evaluation, and time the model."""
    folder = run.stage(model_paths.stages(run)[-1])
    model = model_file.load(folder / model_paths.MODEL)
    evaluation = data.evaluate(model, "val")
    evaluate.save(evaluation, folder / compare.VALIDATION)
    figures = evaluation.figures()
    # Two models timed at once would slow each other down.
    with _exclusive("timing", lambda: None):
        timed = benchmark.benchmark([model], seconds=_SECONDS)[0]
    return TrialMetrics(
        bytes=timed.bytes,
        p50=timed.p50,
        balanced_accuracy=figures.estimates["balanced_accuracy"],
        n=figures.n,
        groups=figures.groups,
    )


def _link(origin: str, run: Run, stage: str) -> None:
    """Hard-link the teacher's files into the run instead of copying them, where the file system can.

    The bundled one is left to the run, which gives it a card of its own.

    Files are never changed in place, so neither run can damage the other's.
    """
    from lungcli.training import loop

    if origin == model_paths.BUNDLED:
        return
    source, folder = model_paths.teacher_file(origin), run.stage(stage)
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        if not model_paths.file_alone(origin):
            (folder / loop.BEST).hardlink_to(source.with_name(loop.BEST))
        if (weights := model_paths.weights_beside(source)).is_file():
            model_paths.weights_beside(folder / model_paths.MODEL).hardlink_to(weights)
        (folder / model_paths.MODEL).hardlink_to(source)


def _reported(events: Generator[Event, None, None], trial: "Trial", plan: StudyPlan) -> Generator[Event, None, None]:
    """Pass events on; with limits, report the student's epochs to the pruner, and prune the trial if it says so.

    Optuna cannot prune trials of several objectives.
    """
    with contextlib.closing(events):
        for event in events:
            yield event
            if plan.limited and isinstance(event, EpochDone) and event.stage == "student":
                trial.report(event.balanced_accuracy, event.epoch)
                if event.epoch < event.epochs and trial.should_prune():
                    _prune(trial, f"behind the median of other trials after epoch {event.epoch} of {event.epochs}")


def _prune(trial: "Trial", reason: str) -> NoReturn:
    trials.note_problem(trial, reason)
    raise studies.import_optuna().TrialPruned(reason)


def _known_beyond_limits(trial: "Trial", drawn: AxisValues, plan: StudyPlan) -> str:
    """Return why a trial cannot be within the limits, before it starts; empty where it may be."""
    if not plan.limited:
        return ""

    def file_of(values: AxisValues) -> tuple[object, ...]:
        return tuple(values.get(name) for name in ("model", "size", "bits"))

    for other in trials.outcomes(trial.study, plan):
        if other.state == "complete" and not other.within_limits and file_of(other.drawn) == file_of(drawn):
            return f"the same net was beyond the limits in trial {other.trial}"
    return ""


def _teacher(plan: StudyPlan, drawn: AxisValues, name: str, study: str, callbacks: SearchCallbacks) -> str:
    """Return the run of the teacher `name`: that run itself, or one that trains this net, here if there is none yet.

    One process of a machine trains it, the others wait.
    """
    if names.spelling(name) not in {names.spelling(net) for net in registry.NETS}:
        return name
    with _exclusive("teacher", lambda: callbacks.say("waiting for a teacher that another process trains")):
        run, existed = jobs.start("train", space.teacher_recipe(plan, drawn, name))
        if not existed:
            run_trash.tag(run.folder, (study,))
        if not (run.stage("train") / model_paths.MODEL).exists():
            data = stages.load_run_data(run.recipe)
            callbacks.follow(run, data, trial_events(run, data))
    return run.name


@contextlib.contextmanager
def _exclusive(what: str, waiting: Callable[[], None]) -> Generator[None, None, None]:
    """Hold a lock of this machine; call `waiting` first where another process holds it."""
    path = studies.home() / f"{what}.lock"
    with paths.os_errors_as(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(path)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        waiting()
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
