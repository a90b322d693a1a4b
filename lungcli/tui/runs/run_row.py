"""What the list shows of a run: values, and these in words. A run is not well because it is done."""

import datetime
import math
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lungcli.core.recipe import as_tuple
from lungcli.core.runs import Kind, Run, State
from lungcli.tui.runs.event_reader import UNREAD, Best, Glance
from lungcli.views import acceptance
from lungcli.views.units import duration, number

MARK_OF_STATE = {
    "new": "·",
    "running": "▶",
    "stopped": "‖",
    "failed": "✗",
    "done": "✓",
    "damaged": "?",
    "concern": "!",
}
"""One sign a state, so that nothing depends on colour."""

# A net that always predicts one of three classes has this balanced accuracy.
_CHANCE = 1 / 3
# A training loss this many times its lowest has diverged.
_DIVERGED = 2.0

LONG_AGO = datetime.datetime.fromtimestamp(0, datetime.UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One run in the list. `share` is how much of the stage's epochs is done; `eta` seconds to the stage's end.

    `problem` is why it failed, `concern` what is wrong with one that did not.
    """

    name: str
    kind: str = ""
    state: str = ""
    stage: str = ""
    epoch: int = 0
    epochs: int = 0
    share: float | None = None
    eta: float | None = None
    best: Best | None = None
    model: str = ""
    teacher: str = ""
    data: str = ""
    tags: tuple[str, ...] = ()
    created: datetime.datetime = LONG_AGO
    teacher_run: str = ""
    problem: str = ""
    concern: str = ""
    glance: Glance = UNREAD

    @property
    def standing(self) -> str:
        """Its state, or `concern` where work went on to its end but to no good one."""
        return "concern" if self.concern and self.state in ("done", "running", "stopped") else self.state or "new"


FINAL_STAGE: dict[Kind, str] = {"train": "train", "distill": "student", "compress": "student"}
"""The stage whose best epoch is shown as that of the run."""


def row(run: Run, state: State, glance: Glance, tags: tuple[str, ...]) -> Row:
    """Make the row of a run from what was read of it."""
    epochs = glance.epochs or (run.recipe.epochs if glance.position else 0)
    share = min(1.0, glance.position / epochs) if epochs else None
    left = None if glance.seconds_per_epoch is None else (epochs - glance.position) * glance.seconds_per_epoch
    final = FINAL_STAGE[run.info.kind]
    return Row(
        name=run.name,
        kind=run.info.kind,
        state=state,
        stage="" if state == "done" else glance.stage,
        epoch=int(glance.position),
        epochs=epochs,
        share=1.0 if state == "done" else share,
        eta=left if state == "running" and epochs else None,
        best=glance.best.get(final),
        model=run.recipe.model,
        teacher=" + ".join(run.recipe.teachers),
        data=run.recipe.data,
        tags=tags,
        created=run.info.created,
        teacher_run=" + ".join(name for name in as_tuple(run.info.teacher_run) if name),
        problem=glance.error if state == "failed" else "",
        concern="; ".join(_concerns(glance, glance.best.get(final), state)),
        glance=glance,
    )


def _concerns(glance: Glance, best: Best | None, state: State) -> Iterator[str]:
    if glance.gate_met is False:
        yield acceptance.gate(False, glance.failed_checks)
    if glance.not_finite:
        yield f"the loss was not finite ({glance.not_finite}): learning rate lowered"
    for stage, epochs in glance.best.items():
        if not epochs.loss <= _DIVERGED * max(0.0, epochs.lowest_loss):
            yield f"the loss of {stage} diverged: {figure(epochs.loss)} after {figure(epochs.lowest_loss)}"
    if state == "done" and best is not None and best.balanced_accuracy <= _CHANCE + 0.001:
        yield f"learned nothing: balanced accuracy {figure(best.balanced_accuracy)} is chance"


def damaged(folder: Path, problem: str) -> Row:
    """The row of a run that cannot be opened."""
    return Row(name=folder.name, state="damaged", problem=problem)


def age(row: Row, now: datetime.datetime) -> str:
    """How long ago the run was made. Another machine's clock may be ahead of this one's: that is `0s`."""
    return "–" if row.state == "damaged" else duration((now - row.created).total_seconds())


def where(row: Row) -> str:
    """The stage and its place among the run's stages: `student 3/5`."""
    stages = row.glance.stages
    return f"{row.stage} {stages.index(row.stage) + 1}/{len(stages)}" if row.stage in stages else row.stage


def progress(row: Row) -> str:
    """Epochs done of the stage: `12/50`."""
    return f"{row.epoch}/{row.epochs}" if row.epochs and row.state != "done" else ""


def figure(value: float | None) -> str:
    """A figure with three digits, or a dash."""
    return number(None if value is None or math.isnan(value) else value)


def sentence(row: Row) -> str:
    """One line about the run for the panel under the list."""
    parts = [row.kind, row.state, f"! {row.concern}" if row.concern else "gate met" if row.glance.gate_met else ""]
    if row.model:
        parts.append(f"{row.model} ← {row.teacher}" if row.teacher else row.model)
    if row.data:
        parts.append(f"on {row.data}")
    if row.tags:
        parts.append(" ".join(f"#{tag}" for tag in row.tags))
    return " · ".join(part for part in parts if part)


def advice(row: Row) -> str:
    """What to do about a run in its state, in one or two lines."""
    name = shlex.quote(row.name)
    match row.state:
        case "failed":
            return f"{row.problem or 'it failed'}\nr goes on, as does: lungcli runs resume {name}"
        case "stopped" | "new":
            return f"r goes on, as does: lungcli runs resume {name}"
        case "done" if row.concern:
            return "Enter shows its checks and figures; train longer (--epochs) or slower (--learning-rate)"
        case "done":
            return f"try it: lungcli predict --model {name} scan.png"
        case "damaged":
            return f"{row.problem}\nd puts it away"
        case _:
            return "x stops it and keeps its work"
