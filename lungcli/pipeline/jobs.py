"""Jobs: which stages a run goes through, in order, and how it is started and resumed."""

from collections.abc import Collection, Generator

import msgspec

from lungcli.core import names, registry, runs
from lungcli.core import recipe as recipes
from lungcli.core.errors import UsageError
from lungcli.core.events import Event, RunDone, RunStarted, StageDone, StageStarted, now
from lungcli.core.recipe import Recipe, Teachers
from lungcli.core.runs import Kind, Run
from lungcli.evaluation import acceptance, evaluate
from lungcli.modelfile import model_file, model_paths
from lungcli.pipeline import export_check, final_fit, prune, quantize, stages, teachers, transfer
from lungcli.pipeline.stages import RunData

EVALUATE = "evaluate"
"""The last stage of a run: every model is evaluated on the test part."""


def start(kind: Kind, recipe: Recipe, name: str = "") -> tuple[Run, bool]:
    """Make the run of a job, or find the one that an earlier call with the same recipe began: (run, whether it exists).

    Each teacher of the recipe is a net to train, or a run that has trained one. Raises UsageError when the recipe
    names something unknown, or when `name` belongs to a run of another recipe.
    """
    recipe, teacher_run = resolve(kind, recipe)
    key = (kind, recipe, teacher_run)
    digest = stages.load_with_split(recipe)[1].digest
    for run in runs.readable()[0]:
        is_same = (run.info.kind, run.recipe, run.info.teacher_run) == key and run.info.split in ("", digest)
        if name in ("", run.name) and is_same:
            return run, True
    fold = [f"fold{recipe.fold}"] if recipe.folds else []
    chosen = name or runs.fresh_name("-".join((kind, recipe.model, recipe.data, *fold)))
    return runs.create(chosen, kind, recipe, teacher_run, split=digest), False


def resolve(kind: Kind, recipe: Recipe) -> tuple[Recipe, Teachers]:
    """Return the recipe with what this machine decides, and the runs that its teachers come from. Raises UsageError."""
    recipe = stages.resolve_device(recipe)
    stages.require_metric(recipe)
    prune.require_prunable(kind, recipe)
    recipe = transfer.resolve(recipe)
    recipe, origins = (recipe, "") if kind == "train" else _with_teachers(recipe)
    _require_capable(kind, recipe, origins)
    return recipe, origins


def execute(run: Run, run_data: RunData, without: Collection[str] = ()) -> Generator[Event, None, None]:
    """Do, or resume, all stages of `run` but those `without`, recording each event. See `runs.record`.

    Raises UsageError when the split is no longer that which the run began with.
    """
    if run.info.split not in ("", run_data.split.digest):
        raise UsageError(
            f"the run {run.name!r} began on another split than {run.recipe.data!r} has now: its data has changed",
            "start a new run with another --name",
        )
    return runs.record(run, _stage_events(run, run_data, without))


def decide(run: Run) -> tuple[acceptance.Decision, ...]:
    """Return the checks of a finished `compress` run on its test part; none for other kinds, and for a final fit."""
    if run.info.kind != "compress" or run.recipe.final:
        return ()

    *teachers, student, int8 = (
        evaluate.load(run.stage(stage) / stages.EVALUATION)
        for stage in (*model_paths.teacher_stages(run.recipe), "student", "int8")
    )
    return acceptance.gate(teachers, student, int8, run.recipe)


def _stage_events(run: Run, run_data: RunData, without: Collection[str]) -> Generator[Event, None, None]:
    """Do each stage that has no model file yet, and yield its events."""
    from lungcli.training import trainer

    model_stages = tuple(stage for stage in model_paths.stages(run) if stage not in without)
    evaluates = EVALUATE not in without
    yield RunStarted(
        time=now(), stages=(*model_stages, EVALUATE) if evaluates else model_stages, resumed=run.info.state != "new"
    )
    transfer.take_over(run)
    export_check.require_exportable(run, len(run_data.manifest.classes))
    for stage in model_stages:
        if (run.stage(stage) / model_paths.MODEL).exists():
            # Killed just after the file was written, the stage has left its checkpoint.
            trainer.remove_checkpoints(run.stage(stage))
            continue
        if stage == "int8":
            yield StageStarted(time=now(), stage=stage, about="quantize the student to int8, and prove it")
            about_result = quantize.proof_in_words((yield from quantize.quantize(run, run_data)))
        elif stage == "pruned":
            about = f"cut {run.recipe.prune:.0%} of the base student's channels"
            yield StageStarted(time=now(), stage=stage, about=about)
            about_result = prune.prune(run, run_data)
        elif origin := teachers.reused_teacher(run, stage):
            yield StageStarted(time=now(), stage=stage, about=f"take over the teacher of {origin}")
            about_result = teachers.reuse_teacher(run, stage, run_data)
        else:
            about = stages.training_in_words(run, stage)
            yield StageStarted(time=now(), stage=stage, about=about, epochs=run.recipe.epochs)
            yield from stages.train(run, stage, run_data)
            about_result = stages.export(run, stage, run_data)
        yield StageDone(time=now(), stage=stage, about=about_result)
    if evaluates and (unevaluated := stages.not_evaluated(run)):
        final = run.recipe.final
        slices = f"figures of {final}" if final else f"{len(run_data.split.test)} test slices"
        about = f"take over the {slices}" if final else f"evaluate {', '.join(unevaluated)} on {slices}"
        yield StageStarted(time=now(), stage=EVALUATE, about=about)
        if final:
            final_fit.take_over_figures(run, unevaluated)
        else:
            stages.evaluate_stages(run, unevaluated, run_data)
        yield StageDone(time=now(), stage=EVALUATE, about=slices)
    decisions = decide(run) if evaluates else ()
    failed = tuple(decision.name for decision in decisions if not decision.met)
    if decisions:
        stages.record_failed_checks(run, failed)
    yield RunDone(time=now(), gate_met=not failed if decisions else None, failed_checks=failed)


def _require_capable(kind: Kind, recipe: Recipe, origins: Teachers) -> None:
    """Raise UsageError where `recipe` asks of a net what its row in the registry excludes."""
    student = registry.net(recipe.model)
    teachers = [registry.NETS[name] for name in recipe.teachers if name in registry.NETS]
    feature_method = registry.method(recipe.method).on == "features"
    if feature_method and len(teachers) < len(recipe.teachers):
        raise UsageError(
            f"--method {recipe.method} compares feature maps, and a model file alone gives none",
            "choose another, such as kd",
        )
    by_origin = zip(recipe.teachers, recipes.as_tuple(origins), strict=False)
    trained = [student, *(registry.net(name) for name, origin in by_origin if not origin)]
    if recipe.pretrained and (without_weights := [net.name for net in trained if not net.pretrained]):
        raise UsageError(f"there are no ImageNet weights for {', '.join(without_weights)}", "leave --pretrained out")
    if recipe.mixstyle and (flat := [net.name for net in trained if not net.feature_maps]):
        raise UsageError(
            f"`mixstyle` blends feature maps, and {flat[0]} has none",
            "leave it out of the recipe, or choose another net",
        )
    if kind == "compress" and student.quantizable == "no":
        raise UsageError(f"{student.name} cannot be quantized to int8", "choose another student: lungcli models list")
    without_maps = [net.name for net in (student, *teachers) if not net.feature_maps]
    if teachers and without_maps and feature_method:
        raise UsageError(
            f"--method {recipe.method} compares feature maps, and {without_maps[0]} has none",
            "choose another, such as kd",
        )


def _with_teachers(recipe: Recipe) -> tuple[Recipe, Teachers]:
    """Return the recipe with the nets of its teachers, and the run that each is taken from (empty: to train)."""
    pairs: list[tuple[str, str]] = []
    named = [name.removeprefix(recipes.ADOPTED) for name in recipes.as_tuple(recipe.teacher)]
    # What a student of a model file sees of a slice is what its teacher sees.
    if cards := [model_file.read_card(path) for path in map(model_paths.file_alone, named) if path]:
        recipe = msgspec.structs.replace(recipe, resize=cards[0].recipe.resize)
    for name in named:
        pairs += _teachers(recipe, name)
    origins = [origin for _, origin in pairs if origin]
    if len({model_paths.teacher_file(origin) for origin in origins}) < len(origins):
        raise UsageError(
            f"a teacher is named twice: {', '.join(origins)}", "name each once; a net may be named again, a run not"
        )
    recipe = msgspec.structs.replace(recipe, teacher=recipes.pack_teachers([net for net, _ in pairs]))
    return recipe, recipes.pack_teachers([origin for _, origin in pairs])


def _teachers(recipe: Recipe, name: str) -> list[tuple[str, str]]:
    """Return pairs of a net and the run that trained it (empty: to train) for `name`; several for an ensemble's run."""
    nets = {names.spelling(net): net for net in registry.NETS}
    if (spelt := names.spelling(name)) in nets:
        return [(nets[spelt], "")]

    alone = model_paths.file_alone(name)
    if not alone and name.partition("/")[0] not in runs.known():
        offered = [*registry.NETS, *model_paths.adopted(), *model_paths.finished_runs()]
        hint = "adopt it first: lungcli models adopt FILE --name NAME; " if name.endswith(".onnx") else ""
        raise UsageError(f"unknown teacher {name!r}", hint + names.suggestion(name, offered))
    data, split = stages.load_with_split(recipe)
    pairs = []
    for spec in model_paths.teachers(name):
        card = model_file.read_card(model_paths.teacher_file(spec))
        teachers.check_teacher_compatible(card, data, split, recipe, spec)
        net = spec if alone else card.model
        pairs.append((f"{recipes.ADOPTED}{spec}" if card.adopted else net, spec))
    return pairs
