"""Jobs: which stages a run goes through, in order, and how it is started and gone on with."""

from collections.abc import Collection, Generator

import msgspec

from lungcli.core import names, registry, runs
from lungcli.core import recipe as recipes
from lungcli.core.errors import UsageError
from lungcli.core.events import Event, RunDone, RunStarted, StageDone, StageStarted, now
from lungcli.core.recipe import Recipe, Teachers
from lungcli.core.runs import Kind, Run
from lungcli.evaluation import acceptance
from lungcli.metrics import predictions
from lungcli.modelfile import model_paths
from lungcli.pipeline import export_check, prune, quantize, stages
from lungcli.pipeline.stages import RunData

EVALUATE = "evaluate"
"""The last stage of a run: every model judges the test part."""


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


def work(run: Run, found: RunData, without: Collection[str] = ()) -> Generator[Event, None, None]:
    """Do, or go on with, all stages of `run` but those `without`, recording each event. See `runs.record`.

    Raises UsageError when the data is no longer divided as when the run began.
    """
    if run.info.split not in ("", found.split.digest):
        raise UsageError(
            f"the run {run.name!r} began on another split than {run.recipe.data!r} has now: its data has changed",
            "start a new run with another --name",
        )
    return runs.record(run, _happening(run, found, without))


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


def _happening(run: Run, found: RunData, without: Collection[str]) -> Generator[Event, None, None]:
    """Do each stage that has not kept its model yet, and tell of it."""
    from lungcli.training import trainer

    made = tuple(stage for stage in model_paths.stages(run) if stage not in without)
    evaluates = EVALUATE not in without
    yield RunStarted(time=now(), stages=(*made, EVALUATE) if evaluates else made, resumed=run.info.state != "new")
    export_check.require_exportable(run, len(found.manifest.classes))
    for stage in made:
        if (run.stage(stage) / model_paths.MODEL).exists():
            # Killed just after the file was written, it has left more.
            trainer.remove_checkpoints(run.stage(stage))
            continue
        if stage == "int8":
            yield StageStarted(time=now(), stage=stage, about="quantize the student to int8, and prove it")
            done = quantize.proof_in_words((yield from quantize.quantize(run, found)))
        elif stage == "pruned":
            about = f"cut {run.recipe.prune:.0%} of the base student's channels"
            yield StageStarted(time=now(), stage=stage, about=about)
            done = prune.prune(run, found)
        elif origin := stages.reused_teacher(run, stage):
            yield StageStarted(time=now(), stage=stage, about=f"take over the teacher of {origin}")
            done = stages.reuse_teacher(run, stage, found)
        else:
            about = stages.training_in_words(run, stage)
            yield StageStarted(time=now(), stage=stage, about=about, epochs=run.recipe.epochs)
            yield from stages.learn(run, stage, found)
            done = stages.export(run, stage, found)
        yield StageDone(time=now(), stage=stage, about=done)
    if evaluates and (waiting := stages.not_evaluated(run)):
        slices = f"{len(found.split.test)} test slices"
        yield StageStarted(time=now(), stage=EVALUATE, about=f"judge {slices} with {', '.join(waiting)}")
        stages.evaluate(run, waiting, found)
        yield StageDone(time=now(), stage=EVALUATE, about=slices)
    decision = decide(run) if evaluates else None
    yield RunDone(time=now(), gate_met=None if decision is None else decision.met)


def _require_able(kind: Kind, recipe: Recipe, origins: Teachers) -> None:
    """Raise UsageError where a net's row in the registry says that it can't do what `recipe` asks of it."""
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
