"""Cross-validation from the command line: a run for each fold, and a table of all at the end."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lungcli.cli import console, execution
from lungcli.core.errors import InterruptedRunError
from lungcli.core.recipe import Recipe
from lungcli.core.runs import Kind, Run
from lungcli.modelfile import model_paths

if TYPE_CHECKING:
    from lungcli.pipeline.pooling import Difference, Pooled, PooledStage

OTHERS = {"accuracy": "accuracy", "macro_f1": "macro-F1", "kappa": "kappa"}


def run_folds(kind: Kind, recipes: Sequence[Recipe], name: str, log_to: Path | None = None) -> None:
    """Execute or resume the runs of all folds, and show their pooled results.

    Raises InterruptedRunError after Ctrl-C, and GateNotMetError where the pooled int8 models lose too much.
    """
    from lungcli.pipeline import cross_validation, pooling

    console.disclaim()
    fold_runs = cross_validation.start(kind, recipes, name)
    done = sum(run.info.state == "done" for run in fold_runs)
    console.info(
        f"{len(fold_runs)} folds, one run each: {fold_runs[0].name} to {fold_runs[-1].name}; {done} finished already"
    )
    left_out = _left_out(fold_runs[0].recipe)
    for run in fold_runs:
        if run.info.state != "done":
            _run_fold(run, log_to)
        _report_fold(run, left_out)
    pooled = pooling.pool(fold_runs)
    show(pooled)
    from lungcli.cli import tables

    tables.require_accepted(pooled.decisions)


def show(pooled: "Pooled") -> None:
    """Print the stages side by side, their differences, and footnotes."""
    from lungcli.cli import tables

    console.out().print(f"all {len(pooled.runs)} folds", style="bold")
    tables.show_side_by_side([stage.stage for stage in pooled.stages], _lines(pooled))
    for stage in pooled.stages:
        if stage.institutions:
            tables.show_institutions(stage.institutions, stage.stage)
    for line in _footnotes(pooled):
        console.info(line, style="dim")


def _run_fold(run: Run, log_to: Path | None) -> None:
    try:
        execution.execute(run, log_to=log_to)
    except InterruptedRunError as error:
        hint = "run the same command again: finished folds are skipped"
        raise InterruptedRunError(error.message, hint) from error


def _left_out(recipe: Recipe) -> tuple[str, ...]:
    """Return the institution that each fold leaves out; none under other protocols."""
    from lungcli.datasets import manifest, source_splits

    return source_splits.institutions(manifest.load(recipe.data)) if recipe.protocol == "institution" else ()


def _report_fold(run: Run, left_out: Sequence[str]) -> None:
    """Print the result of a fold in a line."""
    from lungcli.modelfile import model_file
    from lungcli.views.units import number

    parts = []
    for stage in model_paths.stages(run):
        figures = model_file.read_card(run.stage(stage) / model_paths.MODEL).figures
        value = figures.estimates["balanced_accuracy"].value if figures else None
        parts.append(f"{stage} {number(value)}")
    without = f", without {left_out[run.recipe.fold - 1]}" if left_out else ""
    console.info(
        f"fold {run.recipe.fold} of {run.recipe.folds}{without}: balanced accuracy {', '.join(parts)}", style="bold"
    )


def _lines(pooled: "Pooled") -> list[tuple[str, list[str]]]:
    """Titles and cells, an interval under its figure."""
    from lungcli.evaluation.acceptance import METRIC
    from lungcli.views.units import number

    label = pooled.stages[0].figures.positive_class
    of_positive = tuple(f"{label}_{name}" for name in ("sensitivity", "specificity"))
    return [
        *_figures(pooled, {name: name.replace("_", " ") for name in (METRIC, *of_positive)}, (METRIC, of_positive[0])),
        *_differences(pooled),
        *_figures(pooled, OTHERS),
        ("ECE", [number(stage.figures.ece) for stage in pooled.stages]),
    ]


def _figures(pooled: "Pooled", titles: dict[str, str], over_folds: Sequence[str] = ()) -> list[tuple[str, list[str]]]:
    from lungcli.cli.tables import interval_below
    from lungcli.views.figures import spread_over_folds, with_interval

    lines = []
    for name in (name for name in titles if name in pooled.stages[0].figures.estimates):
        lines.append(
            (
                console.plain(titles[name]),
                [interval_below(with_interval(stage.figures.estimates[name])) for stage in pooled.stages],
            )
        )
        if name in over_folds:
            lines.append(
                ("over folds", [interval_below(spread_over_folds(stage.over_folds[name])) for stage in pooled.stages])
            )
    return lines


def _differences(pooled: "Pooled") -> list[tuple[str, list[str]]]:
    from lungcli.cli.tables import interval_below
    from lungcli.views.figures import difference, p_value

    lines = []
    for reference in dict.fromkeys(item.reference for item in pooled.differences):
        differences = [_difference_of(pooled, stage, reference) for stage in pooled.stages]
        tests = [item.significance if item else None for item in differences]
        lines += [
            (f"to {reference}", [interval_below(difference(item.difference)) if item else "–" for item in differences]),
            ("p bootstrap", [p_value(test.bootstrap) if test else "–" for test in tests]),
            ("p McNemar", [p_value(test.mcnemar) if test else "–" for test in tests]),
        ]
    return lines


def _difference_of(pooled: "Pooled", stage: "PooledStage", reference: str) -> "Difference | None":
    pairs = {(item.stage, item.reference): item for item in pooled.differences}
    return pairs.get((stage.stage, reference))


def _footnotes(pooled: "Pooled") -> list[str]:
    from lungcli.views.comparison_table import P_VALUES
    from lungcli.views.evaluation import RANDOM_SPLIT, SYNTHETIC, rests_on

    figures = pooled.stages[0].figures
    lines = [
        f"evaluated on {rests_on(figures.n, figures.groups, protocol=figures.protocol)}, each slice once, by the "
        "models of the fold that tests it; 95 % intervals by bootstrap over groups",
        "over folds: mean ± standard deviation, interval by bootstrap over folds, too narrow because folds are few and "
        "share training slices",
    ]
    if figures.protocol == "institution":
        lines.append(
            "each institution was tested by the models that were trained and chosen without it; validation slices are "
            "of the others"
        )
    if figures.protocol == "random":
        lines.append(RANDOM_SPLIT)
    if pooled.differences:
        lines += ["differences are in balanced accuracy, paired over all slices; n.s.: not significant", P_VALUES]
    if pooled.synthetic:
        lines.append(SYNTHETIC)
    return lines
