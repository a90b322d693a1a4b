"""Starting the runs that a command's options or a recipe describe, and showing their results."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import msgspec

from lungcli.cli import console, cross_validation, execution, progress, tables
from lungcli.core import package_data
from lungcli.core.errors import UsageError
from lungcli.core.recipe import Drawn, Recipe, make_folds
from lungcli.core.runs import Kind, Run
from lungcli.metrics.predictions import MALIGNANT
from lungcli.modelfile import model_paths
from lungcli.views import acceptance

if TYPE_CHECKING:
    from lungcli.cli.options import Settings
    from lungcli.evaluation.compare import Comparison
    from lungcli.modelfile.model_card import ModelCard

SECONDS = 2.0
"""How long each model is timed once it is made."""


def with_one_data_set(settings: "Settings") -> "Settings":
    """Return the settings with the one data set that they name; several become one that combines them."""
    named = settings.values["data"]
    if len(named) < 2:
        return replace(settings, values={**settings.values, "data": "".join(named)})
    from lungcli.datasets import combine

    with progress.preparing(f"comparing all slices of {', '.join(named)}") as advance:
        data = combine.combined_name(named, advance)
    console.info(f"{', '.join(named)} are combined as {data!r}")
    return replace(settings, values={**settings.values, "data": data})


def start_run(kind: Kind, settings: "Settings", name: str, log_to: Path | None = None) -> None:
    """Start the run, or one run per fold, that the command's options describe, or resume unfinished ones."""
    from lungcli.pipeline import jobs

    recipes = make_folds(**with_split_file(settings.given))
    if len(recipes) > 1:
        cross_validation.run_folds(kind, recipes, name, log_to)
        return
    run, resumed = jobs.start(kind, recipes[0], name)
    if resumed:
        console.info(f"resuming the run {run.name!r}; use another --name to start a new one")
    run_and_report(run, log_to)


def run_recipe(recipe: str, settings: "Settings", name: str, log_to: Path | None = None) -> None:
    """Execute the runs of a bundled recipe, or of a recipe file, in order; of several, finished ones are skipped."""
    from lungcli.pipeline import jobs

    file, typed = package_data.load(recipe), settings.chosen
    if "protocol" in typed:
        if not (data := typed.get("data") or file.data):
            raise UsageError("--split names a split of a data set, and no data set is given", "add --data NAME")
        typed = with_split_file({**typed, "data": data})
    jobs_of_recipe = file.recipes(typed)
    if name and len(jobs_of_recipe) > 1:
        raise UsageError(
            f"the recipe {recipe!r} makes {len(jobs_of_recipe)} runs, which cannot all be called {name!r}",
            "leave --name out",
        )
    for kind, recipes in jobs_of_recipe:
        first, *others = recipes if "lesions" in typed else _without_foreign_lesions(recipes)
        if others:
            cross_validation.run_folds(kind, (first, *others), name, log_to)
            continue
        run, resumed = jobs.start(kind, first, name)
        if resumed and run.info.state == "done" and len(jobs_of_recipe) > 1:
            console.info(f"the run {run.name!r} is finished already")
            continue
        run_and_report(run, log_to)


def _without_foreign_lesions(recipes: tuple[Recipe, ...]) -> tuple[Recipe, ...]:
    """Return recipes of a file without lesions where their data set shows nothing that has any, and say so."""
    from lungcli.datasets import manifest

    if not recipes[0].lesions:
        return recipes
    data = manifest.load(recipes[0].data)
    if MALIGNANT in data.classes and not data.source.any_picture:
        return recipes
    why = "may show other than lungs" if MALIGNANT in data.classes else f"has no class {MALIGNANT}"
    console.info(f"no lesions are transplanted: {data.name!r} {why}")
    return tuple(msgspec.structs.replace(recipe, lesions="", patches=0.0) for recipe in recipes)


def start_final(tested: str, name: str, log_to: Path | None = None) -> None:
    """Start, or resume, the final fit of the run, or of the folds, called `tested`."""
    from lungcli.pipeline import final_fit, jobs

    kind, recipe = final_fit.recipe_of(tested)
    run, _ = jobs.start(kind, recipe, name or f"{tested}-final")
    run_and_report(run, log_to)


def with_split_file(settings: dict[str, object]) -> dict[str, object]:
    """Replace the name of a split file by its settings, and count the folds of institutions left out.

    Raises UsageError where `settings` contradict them.
    """
    from lungcli.datasets import split_files

    spec = str(settings.get("protocol", ""))
    if not spec or spec in get_args(Drawn):
        return settings
    split_settings = split_files.recipe_fields(str(settings["data"]), spec)
    for field, option in (("split_seed", "--split-seed"), ("folds", "--folds")):
        if field in split_settings and settings.get(field, split_settings[field]) != split_settings[field]:
            raise UsageError(
                f"the split {spec} has {option} {split_settings[field]}, not {settings[field]}",
                f"leave {option} out",
            )
    return settings | split_settings


def run_and_report(run: Run, log_to: Path | None = None) -> None:
    """Execute `run`, and show its results. Raises as `execute` does, and GateNotMetError."""
    from lungcli.evaluation import compare
    from lungcli.modelfile import model_file
    from lungcli.pipeline import jobs

    console.disclaim()
    execution.execute(run, log_to=log_to)
    model_files = [run.stage(stage) / model_paths.MODEL for stage in model_paths.stages(run)]
    console.info("measuring latency")
    baseline = None if run.recipe.final else model_files[0]
    comparison = compare.compare(model_files, baseline=baseline, seconds=SECONDS)
    tables.show_comparison(comparison)
    if run.info.kind == "compress":
        _report_int8(comparison, model_file.read_card(model_files[-1]))
    console.info(f"model file: {model_files[-1]}")
    tables.require_accepted(jobs.decide(run))
    _show_next_step(run, model_file.read_card(model_files[-1]))


def _show_next_step(run: Run, card: "ModelCard") -> None:
    if not card.positive_class:
        console.info("no class malignant: name the one that sensitivity is of with --positive-class")
    if reasons := acceptance.reservations(card):
        console.warn(f"{run.name} {'; '.join(reasons)}")
        console.info(f"next: train it longer or on more slices, as in --epochs {3 * run.recipe.epochs}")
    else:
        console.info(f"next: lungcli predict --model '{run.name}' scan.png")


def _report_int8(comparison: "Comparison", card: "ModelCard") -> None:
    from lungcli.pipeline import quantize

    tables.show_quantization_search(card)
    student, int8 = (row.latency for row in comparison.rows[-2:])
    if student and int8:
        console.info(quantize.speed_in_words(student.p50, int8.p50, card.precision))
    if not quantize.passes(card):
        console.warn(
            f"no quantization strategy passes on the validation part: int8 uses the best, {card.strategy}; "
            "the float student is kept too"
        )
