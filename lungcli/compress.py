"""Jobs: which stages a run goes through, in order, and how it is started and gone on with."""

from collections.abc import Generator

import msgspec

from lungcli import stages
from lungcli.core import catalog, models, names, runs
from lungcli.core.errors import UsageError
from lungcli.core.events import Event, RunDone, RunStarted, now
from lungcli.core.recipe import Recipe
from lungcli.core.runs import Kind, Run
from lungcli.inference import gate
from lungcli.stages import Material


def start(kind: Kind, recipe: Recipe, name: str = "") -> tuple[Run, bool]:
    """Make the run of a job, or find the one that an earlier call with the same recipe began: (run, whether found).

    `recipe.teacher` is a net to train, or a run that has trained one. Raises UsageError when the recipe names
    something unknown, or when `name` belongs to a run of another recipe.
    """
    recipe = stages.resolved(recipe)
    teacher_run = ""
    if kind != "train":
        recipe, teacher_run = _with_teacher(recipe)
    wanted = (kind, recipe, teacher_run)
    for run in runs.readable()[0]:
        if name in ("", run.name) and (run.info.kind, run.recipe, run.info.teacher_run) == wanted:
            return run, True
    chosen = name or runs.fresh_name("-".join((kind, recipe.model, recipe.data)))
    return runs.create(chosen, kind, recipe, teacher_run), False


def work(run: Run, found: Material) -> Generator[Event, None, None]:
    """Do, or go on with, all stages of `run`, recording each event. See `runs.record` for what it raises."""
    return runs.record(run, _happening(run, found))


def decide(run: Run) -> gate.Decision | None:
    """Compare the shipped model of a finished `compress` run with its teacher; None for other kinds of run."""
    if run.info.kind != "compress":
        return None
    from lungcli.inference import evaluate

    ours = evaluate.load(run.stage("int8") / stages.EVALUATION)
    teacher = evaluate.load(run.stage("teacher") / stages.EVALUATION)
    return gate.decide(ours, teacher, run.recipe.max_drop)


def _happening(run: Run, found: Material) -> Generator[Event, None, None]:
    made = models.STAGES[run.info.kind]
    yield RunStarted(time=now(), stages=(*made, "evaluate"), resumed=run.info.state != "new")
    for stage in made:
        if stage == "int8":
            yield from stages.quantize(run, found)
        elif stage == "teacher" and run.info.teacher_run:
            yield from stages.adopt_teacher(run, found)
        else:
            yield from stages.learn(run, stage, found)
    yield from stages.evaluate(run, made, found)
    decision = decide(run)
    yield RunDone(time=now(), gate_met=None if decision is None else decision.met)


def _with_teacher(recipe: Recipe) -> tuple[Recipe, str]:
    """Tell a teacher to train from one that a run has trained; return the recipe with its net, and the run."""
    nets = {names.spelling(name): name for name in catalog.NETS}
    if (spelt := names.spelling(recipe.teacher)) in nets:
        return msgspec.structs.replace(recipe, teacher=nets[spelt]), ""
    from lungcli.inference import modelfile

    if recipe.teacher.partition("/")[0] not in runs.known():
        known = [*catalog.NETS, *runs.known()]
        raise UsageError(f"unknown teacher {recipe.teacher!r}", names.suggestion(recipe.teacher, known))
    card = modelfile.read_card(models.weights_folder(recipe.teacher) / models.MODEL)
    _, split = stages.divided(recipe)
    stages.require_same_split(card, split, recipe.size, recipe.teacher)
    return msgspec.structs.replace(recipe, teacher=card.model), recipe.teacher
