"""Jobs: which stages a run goes through, in order, and how it is started and gone on with."""

from collections.abc import Generator

import msgspec

from lungcli.core import names, registry, runs
from lungcli.core import recipe as recipes
from lungcli.core.errors import UsageError
from lungcli.core.events import Event, RunDone, RunStarted, now
from lungcli.core.recipe import Recipe, Teachers
from lungcli.core.runs import Kind, Run
from lungcli.evaluation import acceptance
from lungcli.metrics import predictions
from lungcli.modelfile import model_paths
from lungcli.pipeline import prune, quantize, stages
from lungcli.pipeline.stages import RunData


def start(kind: Kind, recipe: Recipe, name: str = "") -> tuple[Run, bool]:
    """Make the run of a job, or find the one that an earlier call with the same recipe began: (run, whether found).

    Each teacher of the recipe is a net to train, or a run that has trained one. Raises UsageError when the recipe
    names something unknown, or when `name` belongs to a run of another recipe.
    """
    recipe, teacher_run = settled(kind, recipe)
    wanted = (kind, recipe, teacher_run)
    digest = stages.load_with_split(recipe)[1].digest
    for run in runs.readable()[0]:
        same = (run.info.kind, run.recipe, run.info.teacher_run) == wanted and run.info.split in ("", digest)
        if name in ("", run.name) and same:
            return run, True
    fold = [f"fold{recipe.fold}"] if recipe.folds else []
    chosen = name or runs.fresh_name("-".join((kind, recipe.model, recipe.data, *fold)))
    return runs.create(chosen, kind, recipe, teacher_run, split=digest), False


def settled(kind: Kind, recipe: Recipe) -> tuple[Recipe, Teachers]:
    """Return the recipe as this machine will follow it, and the runs that its teachers come from. Raises UsageError."""
    recipe = stages.resolve_device(recipe)
    prune.require_prunable(kind, recipe)
    recipe, origins = (recipe, "") if kind == "train" else _with_teachers(recipe)
    _require_able(kind, recipe, origins)
    return recipe, origins


def work(run: Run, found: RunData) -> Generator[Event, None, None]:
    """Do, or go on with, all stages of `run`, recording each event. See `runs.record` for what it raises.

    Raises UsageError when the data is no longer divided as when the run began.
    """
    if run.info.split not in ("", found.split.digest):
        raise UsageError(
            f"the run {run.name!r} began on another split than {run.recipe.data!r} has now: its data has changed",
            "start a new run with another --name",
        )
    return runs.record(run, _happening(run, found))


def decide(run: Run) -> acceptance.Decision | None:
    """Compare the shipped model of a finished `compress` run with its teacher, or with the mean of several.

    None for other kinds of run.
    """
    if run.info.kind != "compress":
        return None
    from lungcli.evaluation import evaluate

    ours = evaluate.load(run.stage("int8") / stages.EVALUATION)
    teachers = [evaluate.load(run.stage(stage) / stages.EVALUATION) for stage in model_paths.teacher_stages(run.recipe)]
    return acceptance.decide(ours, predictions.ensemble(teachers), run.recipe.max_drop)


def _happening(run: Run, found: RunData) -> Generator[Event, None, None]:
    made = model_paths.stages(run)
    yield RunStarted(time=now(), stages=(*made, "evaluate"), resumed=run.info.state != "new")
    stages.require_exportable(run, found)
    for stage in made:
        if stage == "int8":
            yield from quantize.quantize(run, found)
        elif stage == "pruned":
            yield from prune.prune(run, found)
        elif stages.reused_teacher(run, stage):
            yield from stages.reuse_teacher(run, stage, found)
        else:
            yield from stages.learn(run, stage, found)
    yield from stages.evaluate(run, made, found)
    decision = decide(run)
    yield RunDone(time=now(), gate_met=None if decision is None else decision.met)


def _require_able(kind: Kind, recipe: Recipe, origins: Teachers) -> None:
    """Raise UsageError where a net's row in the catalog says that it can't do what `recipe` asks of it."""
    student, teachers = registry.net(recipe.model), [registry.net(name) for name in recipe.teachers]
    trained = [student, *(net for net, run in zip(teachers, recipes.as_tuple(origins), strict=False) if not run)]
    if recipe.pretrained and (without := [net.name for net in trained if not net.pretrained]):
        raise UsageError(f"there are no ImageNet weights for {', '.join(without)}", "leave --pretrained out")
    if kind == "compress" and student.quantizable == "no":
        raise UsageError(f"{student.name} cannot be quantized to int8", "choose another student: lungcli models list")
    blind = [net.name for net in (student, *teachers) if not net.maps]
    if teachers and blind and registry.method(recipe.method).on == "features":
        raise UsageError(
            f"--method {recipe.method} compares feature maps, and {blind[0]} has none", "choose another, such as kd"
        )


def _with_teachers(recipe: Recipe) -> tuple[Recipe, Teachers]:
    """Tell teachers to train from those that runs have trained; return the recipe with their nets, and the runs."""
    found: list[tuple[str, str]] = []
    for name in recipes.as_tuple(recipe.teacher):
        found += _teachers(recipe, name)
    origins = [origin for _, origin in found if origin]
    if len({model_paths.weights_folder(origin) for origin in origins}) < len(origins):
        raise UsageError(
            f"a teacher is named twice: {', '.join(origins)}", "name each once; a net may be named again, a run not"
        )
    named = msgspec.structs.replace(recipe, teacher=recipes.pack_teachers([net for net, _ in found]))
    return named, recipes.pack_teachers([origin for _, origin in found])


def _teachers(recipe: Recipe, name: str) -> list[tuple[str, str]]:
    """Pairs of a net and the run that trained it (empty: to train) that `name` means; several for an ensemble's run."""
    nets = {names.spelling(net): net for net in registry.NETS}
    if (spelt := names.spelling(name)) in nets:
        return [(nets[spelt], "")]
    from lungcli.modelfile import model_file

    if name.partition("/")[0] not in runs.known():
        raise UsageError(f"unknown teacher {name!r}", names.suggestion(name, [*registry.NETS, *runs.known()]))
    _, split = stages.load_with_split(recipe)
    found = []
    for spec in model_paths.teachers(name):
        card = model_file.read_card(model_paths.weights_folder(spec) / model_paths.MODEL)
        stages.check_teacher_compatible(card, split, recipe.size, spec)
        found.append((card.model, spec))
    return found
