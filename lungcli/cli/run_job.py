"""Starting the runs that a command's options or a recipe describe, and showing what came of them."""

from typing import TYPE_CHECKING, get_args

from lungcli.cli import console, cross_validation, execution
from lungcli.core import recipe as recipes
from lungcli.core import runs
from lungcli.core.errors import UsageError
from lungcli.core.recipe import Protocol
from lungcli.core.runs import Kind, Run
from lungcli.modelfile import model_paths

if TYPE_CHECKING:
    from lungcli.cli.options import Settings
    from lungcli.evaluation.compare import Comparison
    from lungcli.modelfile.model_card import ModelCard


def start_run(kind: Kind, settings: "Settings", name: str) -> None:
    """Start the run, or one a fold, that the command's options describe, or go on with those that were cut off."""
    from lungcli.pipeline import jobs

    recipe, *others = recipes.make_folds(**_divided(settings.given))
    if others:
        cross_validation.go(kind, (recipe, *others), name)
        return
    run, found = jobs.start(kind, recipe, name)
    if found:
        console.info(f"going on with the run {run.name!r}; give another --name to start afresh")
    run_and_report(run)


def run_recipe(recipe: str, settings: "Settings", name: str) -> None:
    """Do the runs of a bundled recipe, or of a recipe file, in order; of several, those done are passed over."""
    from lungcli.core import package_data
    from lungcli.pipeline import jobs

    typed = settings.chosen
    if "protocol" in typed and "data" not in typed:
        raise UsageError("a split belongs to a data set, and none is named", "name it as well: --data NAME")
    found = package_data.load(recipe).recipes(_divided(typed))
    if name and len(found) > 1:
        raise UsageError(f"the recipe {recipe!r} makes {len(found)} runs, and they can't all be called {name!r}")
    for kind, (first, *others) in found:
        if others:
            cross_validation.go(kind, (first, *others), name)
            continue
        run, there = jobs.start(kind, first, name)
        if there and run.info.state == "done" and len(found) > 1:
            console.info(f"the run {run.name!r} is done already")
            continue
        run_and_report(run)


def _divided(given: dict[str, object]) -> dict[str, object]:
    """Put what a split file says in the place of its name. Raises UsageError where `given` says something else."""
    from lungcli.datasets import split_files

    spec = str(given.get("protocol", ""))
    if not spec or spec in get_args(Protocol):
        return given
    told = split_files.settings(str(given["data"]), spec)
    for field, option in (("split_seed", "--split-seed"), ("folds", "--folds")):
        if given.get(field, told[field]) != told[field]:
            raise UsageError(f"the split {spec} has {option} {told[field]}, not {given[field]}", f"leave {option} out")
    return given | told


def run_and_report(run: Run) -> None:
    """Work on `run` to its end, and show what came of it. Raises as `execute` does, and GateNotMetError."""
    from lungcli.cli import tables
    from lungcli.evaluation import compare
    from lungcli.modelfile import model_file
    from lungcli.pipeline import jobs

    console.disclaim()
    execution.execute(run)
    made = [run.stage(stage) / model_paths.MODEL for stage in model_paths.stages(run)]
    console.info("timing the models")
    comparison = compare.compare(made, baseline=made[0])
    tables.show_comparison(comparison)
    if run.info.kind == "compress":
        _say_of_int8(comparison, model_file.read_card(made[-1]))
    console.info(f"model file: {made[-1]}")
    console.info(f"next: lungcli predict --model '{run.name}' scan.png")
    if decision := jobs.decide(run):
        tables.require_gate(decision, "teacher" if len(run.recipe.teachers) == 1 else "mean of teachers")


def _say_of_int8(comparison: "Comparison", card: "ModelCard") -> None:
    """Show the ladder of the int8 file, and say whether it is worth having beside the float student."""
    from lungcli.cli import tables
    from lungcli.pipeline import quantize

    tables.show_ladder(card)
    student, int8 = (row.latency for row in comparison.rows[-2:])
    if student and int8:
        console.info(quantize.speed_in_words(student.p50, int8.p50, card.precision))
    if not quantize.passes(card):
        console.warn(
            f"no quantization strategy passes: int8 is {card.strategy}, the best; the float student is kept too"
        )


def resume(name: str) -> None:
    """Go on with the run called `name`."""
    run_and_report(runs.load(name))
