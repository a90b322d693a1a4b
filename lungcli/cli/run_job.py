"""Starting the runs that a command's options or a recipe describe, and showing what came of them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, get_args

import typer

from lungcli.cli import console, cross_validation, execution
from lungcli.core import recipe as recipes
from lungcli.core import registry, runs
from lungcli.core.errors import UsageError
from lungcli.core.recipe import Protocol, Recipe
from lungcli.core.runs import Kind, Run
from lungcli.modelfile import model_paths

if TYPE_CHECKING:
    from lungcli.evaluation.compare import Comparison
    from lungcli.modelfile.model_card import ModelCard


def begin(kind: Kind, context: typer.Context, name: str) -> None:
    """Start the run, or the folds, that the command's options describe, or go on with those that were cut off."""
    from lungcli.pipeline import jobs

    recipe, *others = _recipes(context)
    if others:
        cross_validation.go(kind, (recipe, *others), name)
        return
    run, found = jobs.start(kind, recipe, name)
    if found:
        console.say(f"going on with the run {run.name!r}; give another --name to start afresh")
    go(run)


def follow(recipe: str, context: typer.Context, name: str) -> None:
    """Do the runs of a bundled recipe, or of a recipe file, in order; of several, those done are passed over."""
    from lungcli.core import package_data
    from lungcli.pipeline import jobs

    typed = {field: value for field, value in _given(context).items() if is_typed(field, context)}
    if "protocol" in typed and "data" not in typed:
        raise UsageError("a split belongs to a data set, and none is named", "name it as well: --data NAME")
    found = package_data.load(recipe).recipes(_divided(typed, context))
    if name and len(found) > 1:
        raise UsageError(f"the recipe {recipe!r} makes {len(found)} runs, and they can't all be called {name!r}")
    for kind, (settings, *others) in found:
        if others:
            cross_validation.go(kind, (settings, *others), name)
            continue
        run, there = jobs.start(kind, settings, name)
        if there and run.info.state == "done" and len(found) > 1:
            console.say(f"the run {run.name!r} is done already")
            continue
        go(run)


def _given(context: typer.Context) -> dict[str, object]:
    """Return the recipe's fields among the command's options."""
    return {field: value for field, value in context.params.items() if field not in ("name", "recipe", "devices")}


def is_typed(field: str, context: typer.Context) -> bool:
    """Say whether the user typed the option of that field."""
    source = context.get_parameter_source(field)
    return source is not None and source.name != "DEFAULT"


def _settings(context: typer.Context) -> dict[str, object]:
    """Return the recipe's fields among the command's options, without those that the method settles unless typed."""
    given = _given(context)
    preset = registry.method(str(given["method"])).preset if "method" in given else {}
    for field in preset.keys() & given.keys():
        if not is_typed(field, context):
            del given[field]
    return given


def _recipes(context: typer.Context) -> Sequence[Recipe]:
    """Make the recipe of the options, or one a fold where all are meant.

    Where `--split` is no protocol, a split file says protocol, seed and folds.
    """
    return recipes.make_folds(**_divided(_settings(context), context))


def _divided(given: dict[str, object], context: typer.Context) -> dict[str, object]:
    from lungcli.datasets import split_files

    spec = str(given.get("protocol", ""))
    if not spec or spec in get_args(Protocol):
        return given
    told = split_files.settings(str(given["data"]), spec)
    for field, option in (("split_seed", "--split-seed"), ("folds", "--folds")):
        if is_typed(field, context) and given[field] != told[field]:
            raise UsageError(f"the split {spec} has {option} {told[field]}, not {given[field]}", f"leave {option} out")
    return given | told


def go(run: Run) -> None:
    """Work on `run` to its end, and show what came of it. Raises as `execute` does, and GateNotMetError."""
    from lungcli.cli import tables
    from lungcli.evaluation import compare
    from lungcli.modelfile import model_file
    from lungcli.pipeline import jobs

    console.disclaim()
    execution.execute(run)
    made = [run.stage(stage) / model_paths.MODEL for stage in model_paths.stages(run)]
    console.say("timing the models")
    comparison = compare.compare(made, baseline=made[0])
    tables.show_comparison(comparison)
    if run.info.kind == "compress":
        _say_of_int8(comparison, model_file.read_card(made[-1]))
    console.say(f"model file: {made[-1]}")
    console.say(f"next: lungcli predict --model '{run.name}' scan.png")
    if decision := jobs.decide(run):
        tables.require_gate(decision, "teacher" if len(run.recipe.teachers) == 1 else "mean of teachers")


def _say_of_int8(comparison: "Comparison", card: "ModelCard") -> None:
    """Show the ladder of the int8 file, and say whether it is worth having beside the float student."""
    from lungcli.cli import tables
    from lungcli.pipeline import quantize

    tables.show_ladder(card)
    student, int8 = (row.latency for row in comparison.rows[-2:])
    if student and int8:
        console.say(quantize.speed_in_words(student.p50, int8.p50, card.precision))
    if not quantize.holds(card):
        console.warn(
            f"no rung of the quantization ladder holds: int8 is {card.rung}, the best; the float student is kept too"
        )


def resume(name: str) -> None:
    """Go on with the run called `name`."""
    go(runs.load(name))
