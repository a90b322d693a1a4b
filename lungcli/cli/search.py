"""`lungcli search`."""

import contextlib
import re
from collections import Counter
from collections.abc import Generator
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from lungcli.cli import console
from lungcli.cli import options as opt
from lungcli.core.commands import AXES
from lungcli.core.errors import InterruptedRunError, UsageError
from lungcli.views import figures

if TYPE_CHECKING:
    from optuna import Study as OptunaStudy

    from lungcli.core.events import Event
    from lungcli.core.runs import Run
    from lungcli.pipeline.stages import RunData
    from lungcli.search.space import StudyPlan, TrialOutcome

_CALL = frozenset({"trials", "study", "storage", "timeout", "show", "json"})
"""Options of this call; all others make the study what it is."""
_UNITS = {"B": 1, "KB": 1_000, "MB": 1_000_000, "GB": 1_000_000_000}

Bits = Annotated[list[str] | None, typer.Option("--bits", metavar="8|32", help="Bits of a weight to try; 8: int8.")]
Trials = Annotated[int, typer.Option("--trials", min=1, help="Trials of the study, all processes together.")]
Study = Annotated[str, typer.Option("--study", metavar="NAME", help="Its name; `search-DATA` if left out.")]
Storage = Annotated[
    str,
    typer.Option(
        "--storage",
        metavar="URL|FILE",
        help="Where the study is kept, for many machines: a database as in postgresql://USER@HOST/DB, or a journal "
        "file on a shared disk. A journal file of this machine if left out.",
    ),
]
Timeout = Annotated[float, typer.Option("--timeout", min=0, metavar="SECONDS", help="Begin no trial after so long.")]
MaxSize = Annotated[str, typer.Option("--max-size", metavar="BYTES", help="Largest file, as in 1MB.")]
MaxP50 = Annotated[float, typer.Option("--max-p50", min=0, metavar="MS", help="Largest latency of a slice.")]
SearchSeed = Annotated[int, typer.Option("--search-seed", help="Seed of what is drawn for the trials.")]
Show = Annotated[bool, typer.Option("--show", help="Print what the study has found, and try nothing.")]


@opt.taking("search", several=AXES)
def search(
    settings: opt.Settings,
    bits: Bits = None,
    trials: Trials = 20,
    study: Study = "",
    storage: Storage = "",
    timeout: Timeout = 0,
    max_size: MaxSize = "",
    max_p50: MaxP50 = 0,
    search_seed: SearchSeed = 0,
    show: Show = False,
    json: opt.Json = False,
) -> None:
    """Try students, sizes, losses and bits for the best compromises of size, latency and balanced accuracy.

    An option given once stays; given several times, or as LOW:HIGH, it is searched. Every trial is a run, tagged with
    the study's name and judged on the validation part of the grouped split; no trial meets the test part. The same
    command in other processes, and on other machines with --storage, shares the trials (`--study NAME` is enough once
    the study is there). Typed again, it goes on, also with trials that were killed.

    Several objectives have no order by which to give a trial up early. With --max-size or --max-p50 the search is for
    balanced accuracy within them: trials below the median of the others after the same epoch are given up, and so are
    nets that were beyond the limits in an earlier trial. Latencies only compare where nothing else runs.

    Needs the extra `sweep`: pip install 'lungcli[sweep]'.

    \b
    Examples:
      lungcli search --student mobilenetv2 --student shufflenetv2 --size 128 --size 224 --data iqothnccd
      lungcli search --study search-iqothnccd --show
      lungcli search --student mnasnet --lr 1e-4:1e-2 --max-size 4MB --max-p50 5 --study small
    """
    from lungcli.search import loop as engine
    from lungcli.search import studies

    name = _named(study, settings.values["data"])
    where = studies.storage_of(name, storage)
    # The data set is part of the study's usual name.
    making = settings.typed - _CALL - (set() if study else {"data"})
    if show or (not making and studies.exists(name, where)):
        opened, plan = studies.find(name, where)
    else:
        plan = engine.checked_plan(_plan(settings, bits or ["8"], search_seed, size(max_size), max_p50))
        opened = studies.create_or_open(name, where, plan)
    if not show:
        console.disclaim()
        _begin(name, where, plan)
        watch = engine.SearchCallbacks(follow=_follow, tell=lambda outcome: _tell(outcome, plan), say=console.info)
        with studies.storage_errors(where), _going_on(name, storage):
            engine.run_study(opened, plan, trials, timeout, watch)
    _report(name, where, opened, plan, as_json=json)


def _report(name: str, where: str, opened: "OptunaStudy", plan: "StudyPlan", *, as_json: bool) -> None:
    """Print what the study has found."""
    from lungcli.search import studies, trials

    with studies.storage_errors(where):
        found = trials.outcomes(opened, plan)
    if as_json:
        console.print_json(_summary(name, where, plan, found))
    else:
        _show(name, found)


def _named(study: str, data: str) -> str:
    """Return the study's name, which tags its runs. Raises UsageError."""
    name = study or f"search-{data}"
    if len(name) > 40 or any(map(str.isspace, name)):
        raise UsageError(f"{name!r} cannot be the name of a study", "use up to 40 letters without spaces: --study NAME")
    return name


def _plan(settings: opt.Settings, bits: list[str], seed: int, max_bytes: int, max_p50: float) -> "StudyPlan":
    """Make the plan that the options describe. Raises UsageError."""
    import msgspec

    from lungcli.pipeline import stages
    from lungcli.search import space

    given = settings.given
    if not given.get("model"):
        raise UsageError("no student is named", "name those to try: --student mobilenetv2 --student shufflenetv2")
    typed = {"bits": bits} | {field: given.pop(field) for field in AXES if field in given}
    axes = {name: space.parse_axis(name, values) for name, values in typed.items()}
    plan = space.StudyPlan(
        axes=axes, settings=_divided(given), split="", seed=seed, max_bytes=max_bytes, max_p50=max_p50
    )
    _, recipe = space.recipe_of(plan, space.corners(axes)[0])
    data, split = stages.load_with_split(recipe)
    return msgspec.structs.replace(plan, settings={**plan.settings, "data": data.name}, split=split.digest)


def _divided(settings: dict[str, object]) -> dict[str, object]:
    """Put what a split file says in the place of its name. Raises UsageError for the folds of a cross-validation."""
    from lungcli.core.recipe import Protocol
    from lungcli.datasets import split_files

    spec = str(settings.get("protocol", "grouped"))
    if spec in get_args(Protocol):
        return settings
    told = split_files.recipe_fields(str(settings["data"]), spec)
    if told["folds"]:
        raise UsageError(f"the split {spec} has folds, and a search chooses on one split", "name a split without folds")
    return settings | told


def size(text: str) -> int:
    """Read `1MB`, `800 kB`, `1500000`. Raises UsageError."""
    if not text:
        return 0
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]*)?)\s*([a-zA-Z]*)", text.strip())
    if match is None or match[2].upper() not in {"", *_UNITS}:
        raise UsageError(f"--max-size {text!r} is no size", "as in 800kB, 1.5MB or 1500000")
    return round(float(match[1]) * _UNITS.get(match[2].upper(), 1))


def _begin(name: str, where: str, plan: "StudyPlan") -> None:
    """Say what is searched, and where it is kept."""
    from lungcli.search import studies
    from lungcli.search.space import Range

    searched = [
        f"{axis.replace('_', ' ')} {f'{it.low:g} to {it.high:g}' if isinstance(it, Range) else ', '.join(map(str, it))}"
        for axis, it in plan.axes.items()
    ]
    console.info(f"study {name} in {studies.redacted_storage(where)}: {'; '.join(searched)}")


def _follow(run: "Run", found: "RunData", events: "Generator[Event, None, None]") -> None:
    """Show a run as it happens. Raises InterruptedRunError after Ctrl-C."""
    from lungcli.cli import console, execution, progress

    console.info(
        f"run {run.name}: {len(found.split.train)} slices to train on, {len(found.split.val)} to judge by; "
        f"the {len(found.split.test)} test slices are left alone",
        style="bold",
    )
    with execution.graceful_interrupt() as stopped, contextlib.closing(events), progress.shown() as show:
        for event in events:
            show(event)
            if stopped():
                raise InterruptedRunError(f"stopped; the work is saved in the run {run.name!r}")


@contextlib.contextmanager
def _going_on(name: str, storage: str) -> "Generator[None, None, None]":
    """Say how a search that was interrupted goes on."""
    from lungcli.search import studies

    elsewhere = f" --storage '{studies.redacted_storage(storage)}'" if storage else ""
    hint = f"go on with: lungcli search --study {name}{elsewhere}"
    try:
        yield
    except InterruptedRunError as error:
        raise InterruptedRunError(error.message, hint) from error
    except KeyboardInterrupt as error:
        raise InterruptedRunError("stopped; finished trials and epochs are saved", hint) from error


def _tell(outcome: "TrialOutcome", plan: "StudyPlan") -> None:
    """Say in a line what came of a trial."""
    from lungcli.core import formatting

    head = f"trial {outcome.trial} ({_drawn(outcome, plan) or outcome.run})"
    if outcome.state != "complete":
        what = "given up" if outcome.state == "pruned" else outcome.state
        console.info(f"{head} {what}: {outcome.problem}", style="yellow")
        return
    beyond = "" if outcome.within_limits else ", beyond the limits"
    console.info(
        f"{head}: {formatting.size(outcome.bytes)}, {outcome.p50:.2f} ms, "
        f"balanced accuracy {figures.with_interval(outcome.balanced_accuracy)} on validation{beyond}",
        style="bold",
    )


def _drawn(outcome: "TrialOutcome", plan: "StudyPlan") -> str:
    """What was drawn for a trial, without what all trials have in common."""
    told = []
    for name, value in outcome.drawn.items():
        axis = plan.axes[name]
        if not isinstance(axis, tuple) or len(axis) > 1:
            shown = f"{value:.3g}" if isinstance(value, float) else str(value)
            told.append(shown if name in ("model", "method") else f"{name.replace('_', ' ')} {shown}")
    return ", ".join(told)


def _show(name: str, found: "tuple[TrialOutcome, ...]") -> None:
    """Print the Pareto front, and what must be known to read it right."""
    from rich.table import Table

    from lungcli.core import formatting
    from lungcli.search import space

    front = space.pareto_front(found)
    counts = Counter(each.state for each in found)
    told = ", ".join(f"{count} {'given up' if state == 'pruned' else state}" for state, count in counts.items())
    console.info(f"study {name}: {len(found)} trials, {told}" if found else f"study {name}: no trials yet")
    if not front:
        if any(each.state == "complete" for each in found):
            console.warn("no trial is within the limits; allow more with another --study, or try other nets")
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("trial", justify="right")
    table.add_column("run", no_wrap=True, overflow="fold")
    table.add_column("student and settings", overflow="fold")
    for title in ("size", "p50 ms", "balanced accuracy\non validation"):
        table.add_column(title, justify="right")
    for each in front:
        cells = (
            str(each.trial),
            console.plain(each.run),
            console.plain(_settings(each)),
            formatting.size(each.bytes),
            f"{each.p50:.2f}",
            figures.with_interval(each.balanced_accuracy),
        )
        table.add_row(*cells)
    console.out().print(table)
    for line in _footnotes(front, found):
        console.info(line, style="dim")
    rightest = max(front, key=lambda each: (each.balanced_accuracy and each.balanced_accuracy.value) or 0.0)
    console.info(f"next: choose one, and judge it once on the test part: lungcli evaluate '{rightest.run}'")


def _settings(outcome: "TrialOutcome") -> str:
    """All that was drawn for a trial, the net first."""
    rest = [
        f"{name.replace('_', ' ')} {value:.3g}" if isinstance(value, float) else f"{name.replace('_', ' ')} {value}"
        for name, value in outcome.drawn.items()
        if name != "model"
    ]
    return ", ".join([str(outcome.drawn["model"]), *rest])


def _footnotes(front: "tuple[TrialOutcome, ...]", found: "tuple[TrialOutcome, ...]") -> list[str]:
    """What the figures are, and are not."""
    n, groups = front[0].n, front[0].groups
    tried = sum(each.state == "complete" for each in found)
    lines = [
        "the Pareto front: no other trial is smaller, faster and righter than one of these, or as good in all",
        f"judged on {n} validation slices of {groups} look-alike groups (95 % intervals by bootstrap over groups), "
        f"which also chose the epochs and the way to int8: the best of {tried} trials look better there than they are",
        "the test part was not looked at: nothing here says that the best of these is the best there",
    ]
    if len(cpus := sorted({each.cpu for each in front})) > 1:
        lines.append(f"latencies of different processors do not compare: {', '.join(cpus)}")
    return lines


def _summary(name: str, where: str, plan: "StudyPlan", found: "tuple[TrialOutcome, ...]") -> dict[str, object]:
    from lungcli.search import space, studies

    return {
        "study": name,
        "storage": studies.redacted_storage(where),
        "plan": plan,
        "part": "val",
        "trials": found,
        "front": [each.trial for each in space.pareto_front(found)],
    }
