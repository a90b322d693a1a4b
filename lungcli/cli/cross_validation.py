"""All folds of a cross-validation from the command line: one run after the other, and one table at the end."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lungcli.cli import console, execution
from lungcli.core.errors import InterruptedRunError
from lungcli.core.recipe import Recipe
from lungcli.core.runs import Kind, Run
from lungcli.modelfile import model_paths

if TYPE_CHECKING:
    from lungcli.pipeline.cross_validation import Difference, Pooled, PooledStage

HEADLINES = {
    "balanced_accuracy": "balanced accuracy",
    "malignant_sensitivity": "malignant sensitivity",
    "malignant_specificity": "malignant specificity",
}
OTHERS = {"accuracy": "accuracy", "macro_f1": "macro-F1", "kappa": "kappa"}
OVER_FOLDS = ("balanced_accuracy", "malignant_sensitivity")


def go(kind: Kind, recipes: Sequence[Recipe], name: str) -> None:
    """Do the runs of all folds, or go on with them, and show them together.

    Raises InterruptedRunError after Ctrl-C, and GateNotMetError when the int8 models of all folds lose too much.
    """
    from lungcli.pipeline import cross_validation

    console.disclaim()
    made = cross_validation.start(kind, recipes, name)
    done = sum(run.info.state == "done" for run in made)
    console.info(f"{len(made)} folds, a run each: {made[0].name} to {made[-1].name}; {done} of them done already")
    for run in made:
        if run.info.state != "done":
            _work(run)
        _tell(run)
    pooled = cross_validation.pool(made)
    show(pooled)
    if pooled.decision:
        from lungcli.cli import tables

        tables.require_gate(pooled.decision, pooled.differences[0].reference)


def show(pooled: "Pooled") -> None:
    """Print the stages side by side, their differences, and what a reader must know to read them right."""
    from lungcli.cli import tables

    console.out().print(f"all {len(pooled.runs)} folds", style="bold")
    tables.show_beside([stage.stage for stage in pooled.stages], _lines(pooled))
    for line in _footnotes(pooled):
        console.info(line, style="dim")


def _work(run: Run) -> None:
    try:
        execution.execute(run)
    except InterruptedRunError as error:
        hint = "type the same command again: folds that are done are passed over"
        raise InterruptedRunError(error.message, hint) from error


def _tell(run: Run) -> None:
    """Say in a line what came of a fold."""
    from lungcli.core.formatting import number
    from lungcli.modelfile import model_file

    parts = []
    for stage in model_paths.stages(run):
        figures = model_file.read_card(run.stage(stage) / model_paths.MODEL).figures
        value = figures.estimates["balanced_accuracy"].value if figures else None
        parts.append(f"{stage} {number(value)}")
    console.info(f"fold {run.recipe.fold} of {run.recipe.folds}: balanced accuracy {', '.join(parts)}", style="bold")


def _lines(pooled: "Pooled") -> list[tuple[str, list[str]]]:
    """Titles and cells, an interval under its figure."""
    from lungcli.core.formatting import number

    return [
        *_figures(pooled, HEADLINES),
        *_differences(pooled),
        *_figures(pooled, OTHERS),
        ("ECE", [number(stage.figures.ece) for stage in pooled.stages]),
    ]


def _figures(pooled: "Pooled", named: dict[str, str]) -> list[tuple[str, list[str]]]:
    from lungcli.cli.tables import under
    from lungcli.views.figures import spread, with_interval

    lines = []
    for name in (name for name in named if name in pooled.stages[0].figures.estimates):
        lines.append((named[name], [under(with_interval(stage.figures.estimates[name])) for stage in pooled.stages]))
        if name in OVER_FOLDS:
            lines.append(("over folds", [under(spread(stage.over_folds[name])) for stage in pooled.stages]))
    return lines


def _differences(pooled: "Pooled") -> list[tuple[str, list[str]]]:
    from lungcli.cli.tables import under
    from lungcli.views.figures import difference, p_value

    lines = []
    for reference in dict.fromkeys(found.reference for found in pooled.differences):
        found = [_of(pooled, stage, reference) for stage in pooled.stages]
        tests = [each.significance if each else None for each in found]
        lines += [
            (f"to {reference}", [under(difference(each.difference)) if each else "–" for each in found]),
            ("p bootstrap", [p_value(test.bootstrap) if test else "–" for test in tests]),
            ("p McNemar", [p_value(test.mcnemar) if test else "–" for test in tests]),
        ]
    return lines


def _of(pooled: "Pooled", stage: "PooledStage", reference: str) -> "Difference | None":
    pairs = {(found.stage, found.reference): found for found in pooled.differences}
    return pairs.get((stage.stage, reference))


def _footnotes(pooled: "Pooled") -> list[str]:
    from lungcli.views.comparison_table import P_VALUES

    figures = pooled.stages[0].figures
    lines = [
        f"each of {figures.n} slices of {figures.groups} look-alike groups judged once, by the models of the fold that "
        f"tests it ({figures.protocol} split); 95 % intervals by bootstrap over groups",
        "over folds: mean ± standard deviation, interval by bootstrap over folds; folds are few and share training "
        "slices, so it is narrower than the truth",
    ]
    if figures.protocol == "random":
        lines.append("random split: the same bodies were trained on, so these figures flatter")
    if pooled.differences:
        lines += ["differences are in balanced accuracy, paired over all slices; n.s.: may be chance", P_VALUES]
    if pooled.synthetic:
        lines.append("synthetic data: these figures say nothing about people")
    return lines
