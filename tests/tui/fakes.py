"""Runs that were never trained: their folders and events, written with the encoders of real ones."""

import datetime
import math
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from lungcli.core import recipe as recipes
from lungcli.core import runs
from lungcli.core.events import (
    BatchDone,
    EpochDone,
    Event,
    RunDone,
    RunFailed,
    RunStarted,
    RunStopped,
    StageDone,
    StageStarted,
)
from lungcli.core.runs import Kind, Run, State

BEGIN = datetime.datetime(2026, 3, 1, 8, tzinfo=datetime.UTC)
STAGES: dict[Kind, tuple[str, ...]] = {
    "train": ("train",),
    "distill": ("teacher", "student"),
    "compress": ("teacher", "base", "student"),
}


def epoch(
    stage: str, number: int, epochs: int, accuracy: float, batches: int = 4, seed: int = 0
) -> Iterator[BatchDone | EpochDone]:
    """Events of one epoch whose figures are those of `accuracy`, a second a batch."""
    noise = random.Random(f"{stage} {number} {seed}")
    start = BEGIN + datetime.timedelta(seconds=(number - 1) * batches)
    loss = 1.4 * math.exp(-2.5 * number / epochs) + 0.1
    for batch in range(1, batches + 1):
        yield BatchDone(
            time=start + datetime.timedelta(seconds=batch),
            stage=stage,
            epoch=number,
            batch=batch,
            batches=batches,
            loss=loss * noise.uniform(0.8, 1.2),
            learning_rate=1e-3 * (1 - number / (epochs + 1)),
            images_per_second=noise.uniform(28, 32),
        )
    yield EpochDone(
        time=start + datetime.timedelta(seconds=batches),
        stage=stage,
        epoch=number,
        epochs=epochs,
        loss=loss,
        validation_loss=loss * 1.2,
        balanced_accuracy=accuracy,
        sensitivity=min(1.0, accuracy + 0.1),
        learning_rate=1e-3,
        images_per_second=30.0,
        best=True,
        load=noise.uniform(1.8, 2.0),
        memory=900_000_000,
    )


def story(
    kind: Kind = "train",
    epochs: int = 10,
    best: float = 0.7,
    batches: int = 4,
    end: State = "done",
    seed: int = 0,
) -> list[Event]:
    """All events of a run that ended so; one that did not end `done` breaks off in the middle of its last stage."""
    stages = STAGES[kind]
    events: list[Event] = [RunStarted(time=BEGIN, stages=(*stages, "evaluate"))]
    for stage in stages:
        cut = end != "done" and stage == stages[-1]
        events.append(StageStarted(time=BEGIN, stage=stage, about=f"train a net as {stage}", epochs=epochs))
        for number in range(1, (epochs // 2 if cut else epochs) + 1):
            rise = 1 - math.exp(-3 * number / epochs)
            events += epoch(stage, number, epochs, 0.33 + (best - 0.33) * rise, batches, seed)
        if not cut:
            events.append(StageDone(time=BEGIN, stage=stage, about="a net"))
    if end == "done":
        events.append(RunDone(time=BEGIN, gate_met=True if kind == "compress" else None))
    elif end == "failed":
        events.append(RunFailed(time=BEGIN, error="the loss became nan in epoch 6"))
    elif end == "stopped":
        events.append(RunStopped(time=BEGIN))
    return events


def encoded(events: Sequence[Event]) -> bytes:
    """Events as the lines of a file."""
    return b"".join(msgspec.json.encode(event) + b"\n" for event in events)


def run(
    name: str,
    kind: Kind = "train",
    *,
    end: State = "done",
    best: float = 0.7,
    epochs: int = 10,
    batches: int = 4,
    model: str = "mobilenetv2",
    data: str = "phantom",
    age: float = 60.0,
    seed: int = 0,
) -> Run:
    """Put a run on disk that is `age` seconds old and stands as `end` says."""
    teacher = "" if kind == "train" else "resnet18"
    made = runs.create(name, kind, recipes.make(data=data, model=model, teacher=teacher, epochs=epochs))
    made.events.write_bytes(encoded(story(kind, epochs, best, batches, end, seed)))
    return stand(made, end, age)


def stand(made: Run, state: State, age: float = 60.0) -> Run:
    """Make a run stand so."""
    created = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=age)
    info = msgspec.structs.replace(made.info, state=state, created=created, changed=created)
    (made.folder / "run.json").write_bytes(msgspec.json.encode(info))
    return runs.read(made.folder)


def append(path: Path, events: Sequence[Event]) -> None:
    """Add events to a file, as the process that trains does."""
    with path.open("ab", buffering=0) as file:
        file.write(encoded(events))
