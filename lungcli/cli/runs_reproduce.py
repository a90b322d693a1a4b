"""`lungcli runs reproduce`."""

from typing import TYPE_CHECKING

from lungcli.cli import options as opt
from lungcli.cli.runs import RunName

if TYPE_CHECKING:
    from lungcli.pipeline.reproduce import Reproduction, StageReproduction


def reproduce(name: RunName, json: opt.Json = False) -> None:
    """Do a finished run again from what it wrote down, and compare the outcome; exit code 1 if it differs.

    The repetition is a run of its own, RUN-again; stopped, the same command goes on with it.

    \b
    Example: lungcli runs reproduce compress-mobilenetv2-phantom
    """
    from lungcli.cli import console, execution
    from lungcli.core import runs
    from lungcli.core.errors import InterruptedRunError
    from lungcli.pipeline import reproduce as reproducing

    console.disclaim()
    run = runs.load(name)
    again = reproducing.start(run)
    if runs.state(again) == "done":
        console.info(f"the run {again.name!r} is done already; remove it to repeat {run.name!r} once more")
    else:
        try:
            execution.execute(again)
        except InterruptedRunError as error:
            raise InterruptedRunError(error.message, "type the same command again to go on with it") from error
    found = reproducing.compare(run, runs.load(again.name))
    if json:
        console.print_json(found)
    else:
        _show(found)
    _conclude(found)


def _show(found: "Reproduction") -> None:
    from rich.table import Table

    from lungcli.cli import console
    from lungcli.core.formatting import number

    table = Table(box=None, pad_edge=False)
    for title in ("stage", "weights", "graph", "verdicts", "largest change", "balanced accuracy"):
        table.add_column(title, overflow="fold")
    for outcome in found.stages:
        before, again = (
            number(figures.estimates["balanced_accuracy"].value) for figures in (outcome.before, outcome.again)
        )
        table.add_row(
            outcome.stage,
            "–" if outcome.weights is None else _same(outcome.weights),
            _same(outcome.graph),
            f"{outcome.flips} of {outcome.n} flipped" if outcome.flips else f"all {outcome.n} the same",
            f"{outcome.largest_change:.1g}",
            before if before == again else f"{before} → {again}",
        )
    console.out().print(table)


def _same(same: bool) -> str:
    return "the same" if same else "differ"


def _conclude(found: "Reproduction") -> None:
    """Say whether it is the same. Raises LungcliError where it is not."""
    from lungcli.cli import console
    from lungcli.core.errors import LungcliError

    around = "; ".join(f"{name}: {before}, now {now}" for name, (before, now) in found.environment.items())
    if found.same:
        console.info(f"the same weights, bit for bit: {found.again} repeats {found.run}", style="green")
        if around:
            console.info(f"although not all around it is the same: {around}")
        return
    stages = [_what(outcome) for outcome in found.stages if not outcome.same]
    raise LungcliError(
        f"{found.again} does not repeat {found.run}: {'; '.join(stages)}",
        f"what differs around it: {around}" if around else "versions and processor are the same: please report it",
    )


def _what(outcome: "StageReproduction") -> str:
    facts = (
        (outcome.weights is False, "weights"),
        (not outcome.graph, "graph"),
        (outcome.largest_change > 0, "verdicts"),
    )
    return f"{outcome.stage}: {', '.join(what for differs, what in facts if differs)}"
