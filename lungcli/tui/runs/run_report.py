"""Everything about one run, to read: settings, data, checks, stages, events, output, figures, files."""

import datetime
import shlex
from collections.abc import Iterator, Mapping

import msgspec
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from lungcli.core import events, runs
from lungcli.core import recipe as recipes
from lungcli.core.events import Event, StageDone, StageStarted
from lungcli.core.formatting import plain
from lungcli.core.recipe import Recipe
from lungcli.core.runs import Run
from lungcli.evaluation import acceptance, benchmark, evaluate
from lungcli.modelfile import model_file, model_paths
from lungcli.modelfile.model_card import ModelCard, split_in_words
from lungcli.tui.jobs import processes
from lungcli.tui.runs import run_row
from lungcli.tui.runs.run_row import Row
from lungcli.views.evaluation import SYNTHETIC, confusion, figures_table
from lungcli.views.figures import difference
from lungcli.views.text_table import grid
from lungcli.views.units import duration, number, size

EVALUATION = "evaluation.json"

_EVENTS_SHOWN, _OUTPUT_SHOWN = 60, 20


def parts(run: Run, row: Row) -> list[RenderableType]:
    """All there is to say of a run, section by section. Raises LungcliError for a file of it that is damaged."""
    happened = list(runs.events(run))
    evaluated = [stage for stage in model_paths.stages(run) if (run.stage(stage) / EVALUATION).is_file()]
    files = [run.stage(stage) / model_paths.MODEL for stage in model_paths.stages(run)]
    card = next((model_file.read_card(path) for path in reversed(files) if path.is_file()), None)
    sections: dict[str, list[RenderableType]] = {
        "": [Text(plain(run_row.sentence(row))), Text(plain(run_row.advice(row)), "dim")],
        "gate": gate(run),
        "stages": [stages(happened)],
        "recipe": [recipe(run.recipe)],
        "data": [facts(_data(run, card))],
        "machine and versions": [facts(_machine(run, card))],
    }
    for stage in evaluated:
        evaluation = evaluate.load(run.stage(stage) / EVALUATION)
        sections[f"test figures of {stage}"] = [figures_table(evaluation.figures()), confusion(evaluation)]
    sections["events"] = [timeline(happened)]
    sections["output"] = [output(run)]
    sections["files"] = [files_table(run)]
    return [piece for title, pieces in sections.items() if pieces for piece in (*heading(title), *pieces)]


def heading(title: str) -> tuple[Text, ...]:
    """The line over a section."""
    return (Text(f"\n{title}", "bold underline"),) if title else ()


def model_line(run: Run) -> str:
    """The run's last model in a line: size, latency, test figures, and what to beware of. Empty without one."""
    stage = model_paths.stages(run)[-1]
    path = run.stage(stage) / model_paths.MODEL
    if not path.is_file():
        return ""
    card, latency = model_file.read_card(path), benchmark.kept(path)
    accuracy = card.figures.estimates.get(acceptance.METRIC) if card.figures else None
    sensitivity = card.figures.sensitivity if card.figures else None
    warnings = ["! synthetic data"] * card.data.synthetic + ["! random split"] * (card.split.protocol == "random")
    shown = (
        *warnings,
        f"{stage} {size(path.stat().st_size)}",
        f"p50 {f'{number(latency.p50, 2)} ms' if latency else '–'}",
        f"test bal. acc. {number(accuracy.value if accuracy else None)}",
        f"sens. {number(sensitivity.value if sensitivity else None)}",
    )
    return " · ".join(shown)


def gate(run: Run) -> list[RenderableType]:
    """Both checks of the gate, each with its limit; nothing where the run has no int8 model that was evaluated."""
    stages = (*model_paths.teacher_stages(run.recipe), "student", "int8")
    stored = [run.stage(stage) / EVALUATION for stage in stages]
    if run.info.kind != "compress" or not all(path.is_file() for path in stored):
        return []
    *teachers, student, int8 = map(evaluate.load, stored)
    table = grid(("", "check", "of", run.recipe.metric.replace("-", " "), "sensitivity", "allowed"))
    for decision in acceptance.gate(teachers, student, int8, run.recipe):
        table.add_row(
            Text("✓ met", "green") if decision.met else Text("! not met", "bold yellow"),
            decision.name,
            f"{decision.model} to {decision.reference}",
            difference(decision.difference),
            difference(decision.sensitivity) if decision.sensitivity else "–",
            f"{-decision.max_drop:+.3f}",
        )
    return [table]


def recipe(settings: Recipe) -> Table:
    """All settings; those that differ from the usual stand out."""
    chosen = recipes.non_defaults(settings)
    table = grid(())
    cells: list[Text] = []
    for name, value in msgspec.to_builtins(settings).items():
        style = "bold" if name in chosen else "dim"
        shown = ", ".join(f"{key} {inner}" for key, inner in value.items()) if isinstance(value, dict) else value
        if name == "augment":
            continue
        cells += [Text(name.replace("_", " "), "dim"), Text(plain(shown if shown not in ("", []) else "–"), style)]
    for start in range(0, len(cells), 6):
        table.add_row(*cells[start : start + 6])
    return table


def facts(values: Mapping[str, str]) -> Table:
    """Names and values, one pair a line."""
    table = grid(())
    for name, value in values.items():
        table.add_row(Text(name, "dim"), Text(plain(value), overflow="fold"))
    return table


def _data(run: Run, card: ModelCard | None) -> dict[str, str]:
    settings = run.recipe
    split = split_in_words(settings.protocol, settings.split_seed, settings.folds, settings.fold, bool(settings.final))
    values = {"data set": settings.data, "split": f"{split} {run.info.split[:8]}", "seed": str(settings.seed)}
    if card is None:
        return values
    data = card.data
    synthetic = f"; {SYNTHETIC}" if data.synthetic else ""
    return values | {
        "slices": f"{data.slices} of {data.groups} near-duplicate groups{synthetic}",
        "licence": data.licence,
        "citation": data.citation,
        "classes": ", ".join(card.classes),
    }


def _machine(run: Run, card: ModelCard | None) -> dict[str, str]:
    worker = runs.worker(run)
    values = {"processor": run.info.cpu or "–", "folder": str(run.folder)}
    if worker is not None:
        values["process"] = f"{worker.pid} on {worker.host}"
    return values | (card.versions if card else {})


def stages(happened: list[Event]) -> Table:
    """Each stage with how long it took, and what came of it."""
    table = grid(("stage", "began (UTC)", "took", "what it did"))

    def add(*cells: str) -> None:
        table.add_row(*(Text(plain(cell)) for cell in cells))

    began: dict[str, StageStarted] = {}
    for event in happened:
        if isinstance(event, StageStarted):
            began[event.stage] = event
        elif isinstance(event, StageDone) and event.stage in began:
            start = began.pop(event.stage)
            took = duration((event.time - start.time).total_seconds())
            add(event.stage, _clock(start.time), took, f"{start.about}: {event.about}")
    for stage, start in began.items():
        add(stage, _clock(start.time), "…", start.about)
    return table


def timeline(happened: list[Event]) -> Text:
    """What happened, without single batches and checkpoints, the last at the end."""
    lines = [f"{_clock(event.time)}  {said}" for event in happened for said in _in_words(event)]
    hidden = [f"… {len(lines) - _EVENTS_SHOWN} before"] if len(lines) > _EVENTS_SHOWN else []
    return Text("\n".join(map(plain, [*hidden, *lines[-_EVENTS_SHOWN:]])))


def _in_words(event: Event) -> Iterator[str]:
    match event:
        case events.RunStarted():
            yield "went on" if event.resumed else "began"
        case events.StageStarted():
            yield f"{event.stage}: {event.about}"
        case events.EpochDone():
            yield (
                f"{event.stage} epoch {event.epoch}/{event.epochs}: loss {number(event.loss, 4)}, validation loss "
                f"{number(event.validation_loss, 4)}, validation balanced accuracy {number(event.balanced_accuracy)}"
                f"{', best' if event.best else ''}"
            )
        case events.RateLowered():
            yield f"{event.stage} epoch {event.epoch}: {event.why}; learning rate lowered to {event.learning_rate:.2g}"
        case events.BatchLowered():
            yield f"{event.stage} epoch {event.epoch}: {event.why}; {event.slices} slices at once from here"
        case events.StrategyStarted():
            yield f"strategy {event.number} of {event.strategies}: {event.strategy}"
        case events.StrategyDone():
            yield f"{event.strategy} {'passes' if event.passes else 'fails'}: {event.about}"
        case events.StageDone():
            yield f"{event.stage} done: {event.about}"
        case events.RunStopped():
            yield "stopped"
        case events.RunFailed():
            yield f"failed: {event.error}"
        case events.RunDone():
            yield "done" + ("" if event.gate_met is None else ", gate met" if event.gate_met else ", gate NOT met")
        case _:
            return


def output(run: Run) -> Text:
    """The end of what the run's last job printed, if a dashboard started it."""
    if (log := processes.log_of(run.name)) is None:
        resume = f"lungcli runs resume {shlex.quote(run.name)}"
        return Text(f"printed in the terminal that started it; jobs from here are kept ({resume})", "dim")
    return Text("\n".join(map(plain, [str(log), *processes.last_lines(log, _OUTPUT_SHOWN)])))


def files_table(run: Run) -> Table:
    """Every file of the run with its size."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(justify="right")
    paths = sorted(path for path in run.folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    for path in paths:
        table.add_row(size(path.stat().st_size), Text(plain(path.relative_to(run.folder))))
    return table


def _clock(time: datetime.datetime) -> str:
    return f"{time:%m-%d %H:%M:%S}"
