"""`lungcli runs reproduce`."""

from typing import TYPE_CHECKING

from lungcli.cli import console, options
from lungcli.cli.runs import RunName
from lungcli.core import runs
from lungcli.core.errors import InterruptedRunError, LungcliError
from lungcli.views.units import number

if TYPE_CHECKING:
    from lungcli.pipeline.reproduce import Reproduction, StageReproduction


def reproduce(name: RunName, json: options.Json = False) -> None:
    """Repeat a finished run, and compare the results.

    Exit code 1 if they differ. The repetition is a run of its own, RUN-again. If it is stopped, the same command
    continues it.

    \b
    Example: lungcli runs reproduce compress-mobilenetv2-phantom
    """
    from lungcli.cli import execution
    from lungcli.pipeline import reproduce

    console.disclaim()
    run = runs.load(name)
    again = reproduce.start(run)
    if runs.state(again) == "done":
        console.info(f"the run {again.name!r} is finished already; remove it to repeat {run.name!r} once more")
    else:
        try:
            execution.execute(again, reproduce.skipped_stages(run))
        except InterruptedRunError as error:
            raise InterruptedRunError(error.message, "run the same command again to continue") from error
    reproduction = reproduce.compare(run, runs.load(again.name))
    if json:
        console.print_json(reproduction)
    else:
        _show(reproduction)
    _conclude(reproduction)


def _show(reproduction: "Reproduction") -> None:
    rows = []
    for outcome in reproduction.stages:
        before, again = (
            number(figures.estimates["balanced_accuracy"].value) for figures in (outcome.before, outcome.again)
        )
        rows.append(
            (
                outcome.stage,
                "–" if outcome.weights is None else _same(outcome.weights),
                _same(outcome.graph),
                f"{outcome.flips} of {outcome.n} differ" if outcome.flips else f"all {outcome.n} the same",
                f"{outcome.largest_change:.1g}",
                before if before == again else f"{before} → {again}",
            )
        )
    console.print_table(("stage", "weights", "graph", "predictions", "largest change", "balanced accuracy"), rows)


def _same(same: bool) -> str:
    return "the same" if same else "differ"


def _conclude(reproduction: "Reproduction") -> None:
    """Report that the repetition is the same. Raises LungcliError where it is not."""
    around = "; ".join(f"{name}: {before}, now {now}" for name, (before, now) in reproduction.environment.items())
    if reproduction.same:
        console.info(f"the same weights, bit for bit: {reproduction.again} repeats {reproduction.run}", style="green")
        if around:
            console.info(f"although its surroundings differ: {around}")
        return
    stages = [_differences(outcome) for outcome in reproduction.stages if not outcome.same]
    raise LungcliError(
        f"{reproduction.again} does not repeat {reproduction.run}: {'; '.join(stages)}",
        f"different surroundings: {around}"
        if around
        else "versions and processor are the same, so this is a bug; please report it",
    )


def _differences(outcome: "StageReproduction") -> str:
    facts = (
        (outcome.weights is False, "weights"),
        (not outcome.graph, "graph"),
        (outcome.largest_change > 0, "predictions"),
    )
    return f"{outcome.stage}: {', '.join(what for differs, what in facts if differs)}"
