"""The search: trials of a study, each a run that is judged on the validation part and never on the test part.

A trial's run goes through the stages of its kind but for two: the student without a teacher, which nobody chooses, and
the evaluation of the test part. Who goes on with such a run (`lungcli runs resume`) adds both.
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
from lungcli.core.recipe import Recipe
from lungcli.core.runs import Run
from lungcli.evaluation import benchmark, compare, evaluate
from lungcli.modelfile import model_file, model_paths
from lungcli.pipeline import jobs, stages
from lungcli.pipeline.stages import RunData
from lungcli.search import space, studies, trials
from lungcli.search.space import Drawn, Outcome, Plan
from lungcli.search.trials import Figures

if TYPE_CHECKING:
    from optuna import Study, Trial

# Failures in a row that are the machine's rather than the trials'.
MOST_FAILURES = 3
# Seconds to time a model, long enough for the median.
_SECONDS = 1.0
_SKIPPED = ("base", jobs.EVALUATE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """Whom to tell: `follow` gets the run, its material and its events, and has to exhaust them; `tell` gets outcomes,
    `say` a sentence.

    `follow` may raise InterruptedRunError between two events, to end the search.
    """

    follow: Callable[[Run, RunData, Generator[Event, None, None]], None]
    tell: Callable[[Outcome], None]
    say: Callable[[str], None]


def checked(plan: Plan) -> Plan:
    """Return `plan` if a trial of every value can be begun. Raises UsageError, before any study is made."""
    for drawn in space.corners(plan.axes):
        jobs.resolve(*space.recipe_of(plan, drawn))
    if plan.settings.get("protocol", "grouped") != "grouped":
        raise UsageError(
            "a search chooses by the validation part, and a random split has slices of the same bodies there",
            "leave --split out: look-alikes then stay on one side",
        )
    return plan


def go(study: "Study", plan: Plan, most: int, seconds: float, watch: Watch) -> None:
    """Do trials until the study has `most`, all processes together, or (unless 0) for so many seconds.

    Raises InterruptedRunError when `watch` does, the last LungcliError after several trials in a row have failed, and
    UsageError when this machine's data is divided otherwise than the study's.
    """
    if stages.load_with_split(_any_recipe(plan))[1].digest != plan.split:
        raise UsageError(
            f"the data set {plan.settings['data']!r} here is not the one the study is about: its split differs",
            "import the same data on every machine",
        )
    began, failed = time.monotonic(), 0
    with trials.working() as worker:
        while not seconds or time.monotonic() - began < seconds:
            trials.queue_cut_off(study)
            if not trials.left(study, plan, most):
                return
            study.sampler = trials.sampler(study, plan, most)
            done = trials.once(study, functools.partial(_try, plan=plan, most=most, worker=worker, watch=watch))
            if done is None:
                continue
            outcome = trials.outcome(done, plan)
            watch.tell(outcome)
            failed = failed + 1 if outcome.state == "failed" else 0
            if failed == MOST_FAILURES:
                raise LungcliError(
                    f"{failed} trials in a row failed, the last because {outcome.problem}",
                    "mend that, and type the same command again: the search goes on",
                )


def _try(trial: "Trial", *, plan: Plan, most: int, worker: str, watch: Watch) -> tuple[float, ...] | None:
    """Do a trial and return the study's objectives; None where there is nothing to do, or where it fails."""
    trials.note_worker(trial, worker)
    drawn = trials.draw(trial, plan, most)
    if drawn is None:
        return None
    if why := _hopeless(trial, drawn, plan):
        _give_up(trial, why)
    try:
        run = _begin(trial, plan, drawn, watch)
        found = stages.load_run_data(run.recipe)
        watch.follow(run, found, _reported(work(run, found), trial, plan))
        return trials.note_figures(trial, judged(run, found), plan)
    except InterruptedRunError:
        raise
    except LungcliError as error:
        trials.note_problem(trial, error.message)
        return None


def _begin(trial: "Trial", plan: Plan, drawn: Drawn, watch: Watch) -> Run:
    """Make the run of a trial, or find the one that it goes on with; its teachers are trained first."""
    study = trial.study.study_name
    kind, recipe = space.recipe_of(plan, drawn)
    taught = recipes.pack_teachers([_teacher(plan, drawn, name, study, watch) for name in recipe.teachers])
    name = trials.noted_run(trial) or runs.fresh_name(f"{study}-{trial.number:04}")
    run, _ = jobs.start(kind, msgspec.structs.replace(recipe, teacher=taught), name)
    trials.note_run(trial, run.name)
    run_trash.tag(run.folder, (study,))
    return run


def work(run: Run, found: RunData) -> Generator[Event, None, None]:
    """Do, or go on with, what a trial needs of `run`, recording each event. See `compress.work` for what it raises."""
    for stage in model_paths.stages(run):
        if origin := stages.reused_teacher(run, stage):
            _link(origin, run, stage)
    return jobs.execute(run, found, without=_SKIPPED)


def judged(run: Run, found: RunData) -> Figures:
    """Judge the validation part with the model that a trial ends with, keep the verdicts, and time it."""
    folder = run.stage(model_paths.stages(run)[-1])
    model = model_file.load(folder / model_paths.MODEL)
    verdicts = evaluate.evaluate(model, found.pixels, found.split.val, found.manifest, found.split, part="val")
    evaluate.save(verdicts, folder / compare.VALIDATION)
    figures = verdicts.figures()
    # Two models timed at once would slow each other.
    with _alone("timing", lambda: None):
        timed = benchmark.benchmark([model], seconds=_SECONDS)[0]
    return Figures(
        bytes=timed.bytes,
        p50=timed.p50,
        balanced_accuracy=figures.estimates["balanced_accuracy"],
        n=figures.n,
        groups=figures.groups,
    )


def _link(origin: str, run: Run, stage: str) -> None:
    """Let the run have its teacher's files without copies of them, where the file system can.

    No file is ever changed in place, so neither run can spoil the other's.
    """
    from lungcli.training import loop

    source, folder = model_paths.weights_folder(origin), run.stage(stage)
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        for name in (loop.BEST, model_paths.MODEL):
            (folder / name).hardlink_to(source / name)


def _reported(events: Generator[Event, None, None], trial: "Trial", plan: Plan) -> Generator[Event, None, None]:
    """Pass events on; with limits, report the student's epochs and give the trial up where it is far behind.

    Optuna has no way to prune a trial for several objectives.
    """
    with contextlib.closing(events):
        for event in events:
            yield event
            if plan.limited and isinstance(event, EpochDone) and event.stage == "student":
                trial.report(event.balanced_accuracy, event.epoch)
                if event.epoch < event.epochs and trial.should_prune():
                    _give_up(trial, f"behind the median of other trials after epoch {event.epoch} of {event.epochs}")


def _give_up(trial: "Trial", why: str) -> NoReturn:
    trials.note_problem(trial, why)
    raise studies.engine().TrialPruned(why)


def _hopeless(trial: "Trial", drawn: Drawn, plan: Plan) -> str:
    """Say why a trial cannot be within the limits, before it is begun; empty where it may."""
    if not plan.limited:
        return ""

    def file_of(values: Drawn) -> tuple[object, ...]:
        return tuple(values.get(name) for name in ("model", "size", "bits"))

    for other in trials.outcomes(trial.study, plan):
        if other.state == "complete" and not other.within_limits and file_of(other.drawn) == file_of(drawn):
            return f"the same net was beyond the limits in trial {other.trial}"
    return ""


def _teacher(plan: Plan, drawn: Drawn, name: str, study: str, watch: Watch) -> str:
    """Name a run with the teacher that is meant: itself, or one that trains that net, done here where it is not yet.

    One process of a machine trains it, the others wait for it.
    """
    if names.spelling(name) not in {names.spelling(net) for net in registry.NETS}:
        return name
    with _alone("teacher", lambda: watch.say("another process of this machine trains a teacher: waiting for it")):
        run, there = jobs.start("train", space.teacher_recipe(plan, drawn, name))
        if not there:
            run_trash.tag(run.folder, (study,))
        if not (run.stage("train") / model_paths.MODEL).exists():
            found = stages.load_run_data(run.recipe)
            watch.follow(run, found, work(run, found))
    return run.name


@contextlib.contextmanager
def _alone(what: str, waiting: Callable[[], None]) -> Generator[None, None, None]:
    """Do something that only one process of this machine does at a time; call `waiting` where another one does."""
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


def _any_recipe(plan: Plan) -> Recipe:
    return space.recipe_of(plan, space.corners(plan.axes)[0])[1]
