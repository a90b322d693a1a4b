"""`lungcli search`."""

import contextlib
import re
from collections import Counter
from collections.abc import Generator
from typing import TYPE_CHECKING, Annotated

from lungcli.cli import console, options
from lungcli.core.commands import AXES
from lungcli.core.errors import InterruptedRunError, UsageError
from lungcli.core.events import Event
from lungcli.core.runs import Run
from lungcli.views import figures, units

if TYPE_CHECKING:
    from optuna import Study as OptunaStudy

    from lungcli.pipeline.stages import RunData
    from lungcli.search.space import StudyPlan, TrialOutcome

_CALL_OPTIONS = frozenset({"trials", "study", "storage", "timeout", "show", "json"})
"""Options of this call; all others define the study."""
_UNITS = {"B": 1, "KB": 1_000, "MB": 1_000_000, "GB": 1_000_000_000}

Bits = Annotated[
    list[str] | None, options.in_panel("Study", "Bits per weight to try; 8: int8.", "--bits", metavar="8|32")
]
Trials = Annotated[int, options.in_panel("Study", "Trials, over all processes.", "--trials", min=1)]
Study = Annotated[
    str, options.in_panel("Study", "Name of the study; `search-DATA` if left out.", "--study", metavar="NAME")
]
Storage = Annotated[
    str,
    options.in_panel("Study", "Database or journal file, to share between machines.", "--storage", metavar="URL|FILE"),
]
Timeout = Annotated[
    float,
    options.in_panel("Study", "Start no trial after this time; 0: no limit.", "--timeout", min=0, metavar="SECONDS"),
]
MaxSize = Annotated[
    str, options.in_panel("Study", "Largest model file, for example 1MB.", "--max-size", metavar="BYTES")
]
MaxP50 = Annotated[
    float, options.in_panel("Study", "Largest median latency; 0: any.", "--max-p50", min=0, metavar="MS")
]
SearchSeed = Annotated[int, options.in_panel("Study", "Seed of the settings drawn.", "--search-seed")]
Show = Annotated[bool, options.in_panel("Output", "Print the results; no new trials.", "--show")]


@options.with_options_of("search", several=(*AXES, "data"))
def search(
    settings: options.Settings,
    bits: Bits = None,
    trials: Trials = 20,
    study: Study = "",
    storage: Storage = "",
    timeout: Timeout = 0,
    max_size: MaxSize = "",
    max_p50: MaxP50 = 0,
    search_seed: SearchSeed = 0,
    show: Show = False,
    json: options.Json = False,
) -> None:
    """Search settings for small, fast and accurate students.

    The result is the Pareto front of file size, latency and balanced accuracy. Options given several times, or as
    LOW:HIGH, are searched; others are fixed. No trial sees the test part. Run it again to continue; more in `lungcli
    help studies`. Needs the extra `sweep`: pip install 'lungcli[sweep]'.

    \b
    Examples:
      lungcli search -s mobilenetv2 -s shufflenetv2 --size 128 --size 224 -d mine
      lungcli search -s mnasnet --lr 1e-4:1e-2 --max-size 4MB --max-p50 5
      lungcli search --study search-mine --show
    """
    from lungcli.cli import run_job
    from lungcli.search import loop, studies

    settings = run_job.with_one_data_set(settings)
    name = _named(study, settings)
    where = studies.storage_of(name, storage)
    # The data set is part of the study's usual name.
    making = settings.typed - _CALL_OPTIONS - (set() if study else {"data"})
    if show or (not making and studies.exists(name, where)):
        opened, plan = studies.find(name, where)
    else:
        plan = loop.checked_plan(_plan(settings, bits or ["8"], search_seed, parse_size(max_size), max_p50))
        opened = studies.create_or_open(name, where, plan)
    if not show:
        console.disclaim()
        _announce(name, where, plan)
        watch = loop.SearchCallbacks(
            follow=_show_run, tell=lambda outcome: _report_trial(outcome, plan), say=console.info
        )
        with studies.storage_errors(where), _resume_hint(name, storage):
            loop.run_study(opened, plan, trials, timeout, watch)
    _report(name, where, opened, plan, as_json=json)


def _report(name: str, where: str, opened: "OptunaStudy", plan: "StudyPlan", *, as_json: bool) -> None:
    from lungcli.search import studies, trials

    with studies.storage_errors(where):
        outcomes = trials.outcomes(opened, plan)
    if as_json:
        console.print_json(_summary(name, where, plan, outcomes))
    else:
        _show(name, outcomes)


def _named(study: str, settings: options.Settings) -> str:
    """Return the study's name, which tags its runs. Raises UsageError."""
    name = study or f"search-{settings.given['data']}"
    if len(name) > 40 or any(map(str.isspace, name)):
        raise UsageError(
            f"{name!r} cannot be the name of a study", "use up to 40 characters without spaces: --study NAME"
        )
    return name


def _plan(settings: options.Settings, bits: list[str], seed: int, max_bytes: int, max_p50: float) -> "StudyPlan":
    import msgspec

    from lungcli.cli import run_job
    from lungcli.pipeline import stages
    from lungcli.search import space

    recipe_settings = settings.given
    if not recipe_settings.get("model"):
        raise UsageError("no student is named", "name the ones to try: --student mobilenetv2 --student shufflenetv2")
    typed = {"bits": bits} | {field: recipe_settings.pop(field) for field in AXES if field in recipe_settings}
    axes = {name: space.parse_axis(name, values) for name, values in typed.items()}
    fixed = run_job.with_split_file(recipe_settings)
    if fixed.get("folds"):
        raise UsageError(
            f"the split {recipe_settings['protocol']} has folds, and a search needs a single split",
            "name a split without folds",
        )
    plan = space.StudyPlan(axes=axes, settings=fixed, split="", seed=seed, max_bytes=max_bytes, max_p50=max_p50)
    _, recipe = space.recipe_of(plan, space.corners(axes)[0])
    data, split = stages.load_with_split(recipe)
    return msgspec.structs.replace(plan, settings={**plan.settings, "data": data.name}, split=split.digest)


def parse_size(text: str) -> int:
    """Read `1MB`, `800 kB`, `1500000`. Raises UsageError."""
    if not text:
        return 0
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]*)?)\s*([a-zA-Z]*)", text.strip())
    if match is None or match[2].upper() not in {"", *_UNITS}:
        raise UsageError(f"--max-size {text!r} is not a size", "write it as 800kB, 1.5MB or 1500000")
    return round(float(match[1]) * _UNITS.get(match[2].upper(), 1))


def _announce(name: str, where: str, plan: "StudyPlan") -> None:
    from lungcli.search import studies
    from lungcli.search.space import Range

    searched = []
    for field, axis in plan.axes.items():
        values = f"{axis.low:g} to {axis.high:g}" if isinstance(axis, Range) else ", ".join(map(str, axis))
        searched.append(f"{field.replace('_', ' ')} {values}")
    console.info(f"study {name} in {studies.redacted_storage(where)}: {'; '.join(searched)}")


def _show_run(run: "Run", run_data: "RunData", events: "Generator[Event, None, None]") -> None:
    """Execute a run, showing its progress. Raises InterruptedRunError after Ctrl-C."""
    from lungcli.cli import execution

    console.info(
        f"run {run.name}: {len(run_data.split.train)} training and {len(run_data.split.val)} validation slices; "
        f"the {len(run_data.split.test)} test slices are not used",
        style="bold",
    )
    execution.follow(run, events)


@contextlib.contextmanager
def _resume_hint(name: str, storage: str) -> "Generator[None, None, None]":
    from lungcli.search import studies

    elsewhere = f" --storage '{studies.redacted_storage(storage)}'" if storage else ""
    hint = f"to continue: lungcli search --study {name}{elsewhere}"
    try:
        yield
    except InterruptedRunError as error:
        raise InterruptedRunError(error.message, hint) from error
    except KeyboardInterrupt as error:
        raise InterruptedRunError("stopped; finished trials and epochs are saved", hint) from error


def _report_trial(outcome: "TrialOutcome", plan: "StudyPlan") -> None:
    head = f"trial {outcome.trial} ({_drawn_values(outcome, plan) or outcome.run})"
    if outcome.state != "complete":
        what = "stopped early" if outcome.state == "pruned" else outcome.state
        console.info(f"{head} {what}: {outcome.problem}", style="yellow")
        return
    beyond = "" if outcome.within_limits else ", beyond the limits"
    console.info(
        f"{head}: {units.size(outcome.bytes)}, {units.number(outcome.p50, 2)} ms, "
        f"balanced accuracy {figures.with_interval(outcome.balanced_accuracy)} on validation{beyond}",
        style="bold",
    )


def _drawn_values(outcome: "TrialOutcome", plan: "StudyPlan") -> str:
    """The settings drawn for a trial, without those that all trials share."""
    parts = []
    for name, value in outcome.drawn.items():
        axis = plan.axes[name]
        if not isinstance(axis, tuple) or len(axis) > 1:
            shown = f"{value:.3g}" if isinstance(value, float) else str(value)
            parts.append(shown if name in ("model", "method") else f"{name.replace('_', ' ')} {shown}")
    return ", ".join(parts)


def _show(name: str, outcomes: "tuple[TrialOutcome, ...]") -> None:
    from rich.table import Table

    from lungcli.search import space

    front = space.pareto_front(outcomes)
    counts = Counter(outcome.state for outcome in outcomes)
    state_counts = ", ".join(
        f"{count} {'stopped early' if state == 'pruned' else state}" for state, count in counts.items()
    )
    console.info(
        f"study {name}: {len(outcomes)} trials, {state_counts}" if outcomes else f"study {name}: no trials yet"
    )
    if not front:
        if any(outcome.state == "complete" for outcome in outcomes):
            console.warn("no trial is within the limits; start another --study with larger limits or other nets")
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("trial", justify="right")
    table.add_column("run", no_wrap=True, overflow="fold")
    table.add_column("student and settings", overflow="fold")
    for title in ("size", "p50 ms", "balanced accuracy\non validation"):
        table.add_column(title, justify="right")
    for outcome in front:
        cells = (
            str(outcome.trial),
            console.plain(outcome.run),
            console.plain(_settings(outcome)),
            units.size(outcome.bytes),
            units.number(outcome.p50, 2),
            figures.with_interval(outcome.balanced_accuracy),
        )
        table.add_row(*cells)
    console.out().print(table)
    for line in _footnotes(front, outcomes):
        console.info(line, style="dim")
    most_accurate = max(front, key=lambda each: (each.balanced_accuracy and each.balanced_accuracy.value) or 0.0)
    console.info(f"next: choose one and evaluate it once on the test part: lungcli evaluate '{most_accurate.run}'")


def _settings(outcome: "TrialOutcome") -> str:
    """All settings drawn for a trial, the net first."""
    rest = [
        f"{name.replace('_', ' ')} {value:.3g}" if isinstance(value, float) else f"{name.replace('_', ' ')} {value}"
        for name, value in outcome.drawn.items()
        if name != "model"
    ]
    return ", ".join([str(outcome.drawn["model"]), *rest])


def _footnotes(front: "tuple[TrialOutcome, ...]", outcomes: "tuple[TrialOutcome, ...]") -> list[str]:
    n, groups = front[0].n, front[0].groups
    tried = sum(outcome.state == "complete" for outcome in outcomes)
    lines = [
        "the Pareto front: no other trial is better than one of these in size, latency and balanced accuracy at once",
        f"evaluated on {n} validation slices of {groups} near-duplicate groups (95 % intervals by bootstrap over "
        f"groups), which also chose epochs and quantization: the figures of the best of {tried} trials are too high",
        "the test part was not used: the best of these need not be the best there",
    ]
    if len(cpus := sorted({outcome.cpu for outcome in front})) > 1:
        lines.append(f"latencies were measured on different processors and are not comparable: {', '.join(cpus)}")
    return lines


def _summary(name: str, where: str, plan: "StudyPlan", outcomes: "tuple[TrialOutcome, ...]") -> dict[str, object]:
    from lungcli.search import space, studies

    return {
        "study": name,
        "storage": studies.redacted_storage(where),
        "plan": plan,
        "part": "val",
        "trials": outcomes,
        "front": [outcome.trial for outcome in space.pareto_front(outcomes)],
    }
