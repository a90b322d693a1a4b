"""All points of one run, by stage and figure, kept up to date from its events."""

import bisect
import math
from array import array
from pathlib import Path

from lungcli.core.events import BatchDone, EpochDone, Event
from lungcli.tui.runs import event_reader
from lungcli.tui.runs.event_reader import Best, Place, Stamp

LOSS, DISTILLATION, RATE, SPEED = "training loss", "distillation loss", "learning rate", "images/s"
ACCURACY, SENSITIVITY = "validation balanced accuracy", "validation sensitivity"
VALIDATION_LOSS = "validation loss"
LOAD, MEMORY = "busy cores", "memory in GB"
METRICS = (ACCURACY, LOSS, DISTILLATION, SENSITIVITY, VALIDATION_LOSS, RATE, SPEED, LOAD, MEMORY)
"""Figures there are curves of, in the order they are shown. A student's loss is another than that of a net without a
teacher: the two are not drawn on one scale."""

BATCH_METRICS = (LOSS, DISTILLATION, RATE, SPEED)
SHARES = (ACCURACY, SENSITIVITY)
"""Figures from 0 to 1."""

LOG_METRICS = (LOSS, DISTILLATION, VALIDATION_LOSS, RATE)
"""Figures of which a logarithmic scale makes sense."""

SMOOTHINGS = (
    ("off", 0.0, 0.0),
    ("light", 0.9, 0.0),
    ("medium", 0.97, 0.6),
    ("strong", 0.99, 0.85),
)
"""Strengths of smoothing: name, and the weight of the past for figures of batches, and for figures of epochs."""


def value_range(metric: str) -> tuple[float, float] | None:
    """The values that a chart of `metric` spans whatever is drawn; None: those of its lines."""
    return (0.0, 1.0) if metric in SHARES else None


def weight(metric: str, strength: int) -> float:
    """How much each past value of `metric` counts. A learning rate has no noise, nor has memory."""
    if metric in (RATE, MEMORY):
        return 0.0
    _, batches, epochs = SMOOTHINGS[strength % len(SMOOTHINGS)]
    return batches if metric in BATCH_METRICS else epochs


class Curve:
    """Points of one figure of one stage: `xs` in epochs, rising; `gaps` are indices before which the line breaks."""

    def __init__(self) -> None:
        self.xs, self.ys = array("d"), array("d")
        self.gaps: list[int] = []
        self._broken = False
        self._smooth: tuple[float, array[float], float] = (0.0, array("d"), 0.0)

    def add(self, x: float, y: float) -> None:
        """Add a point. One that lies before the last was done again after a crash: it replaces what came after it."""
        if self.xs and x <= self.xs[-1]:
            keep = bisect.bisect_left(self.xs, x)
            del self.xs[keep:], self.ys[keep:]
            self.gaps = [gap for gap in self.gaps if gap <= keep]
            self._smooth = (0.0, array("d"), 0.0)
        if not math.isfinite(y):
            self._broken = True
            return
        if self._broken:
            self.gaps.append(len(self.xs))
            self._broken = False
        self.xs.append(x)
        self.ys.append(y)

    def smoothed(self, weight: float) -> "array[float]":
        """The values as an exponential moving average that starts without bias; each past value counts `weight`."""
        if weight <= 0:
            return self.ys
        last_weight, values, mean = self._smooth
        if last_weight != weight:
            values, mean = array("d"), 0.0
        for i in range(len(values), len(self.ys)):
            mean = weight * mean + (1 - weight) * self.ys[i]
            values.append(mean / (1 - weight ** (i + 1)))
        self._smooth = (weight, values, mean)
        return values


class History:
    """Reads a run's events on from where it was."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.curves: dict[tuple[str, str], Curve] = {}
        self.best: dict[str, Best] = {}
        self.stages: list[str] = []
        self.version = 0
        self.complete = False
        self._place = Place()
        self._stamp: Stamp | None = None

    def read(self) -> bool:
        """Take in the next lines, at most one chunk of them; say whether there may be more at once."""
        stamp = event_reader.stamp(str(self.path))
        if self.complete and stamp == self._stamp:
            return False
        self._stamp = stamp
        news = event_reader.read_on(self.path, self._place)
        if news.rewritten:
            self.curves, self.best, self.stages = {}, {}, []
        for line in news.lines:
            if (event := event_reader.decode(line)) is not None:
                self._take(event)
        self.version += bool(news.content) or news.rewritten
        self._place = news.place
        self.complete = not news.more
        return news.more

    def _take(self, event: Event) -> None:
        match event:
            case BatchDone():
                x = event.epoch - 1 + event.batch / max(1, event.batches)
                self._add(event.stage, DISTILLATION if event.stage == "student" else LOSS, x, event.loss)
                self._add(event.stage, RATE, x, event.learning_rate)
                self._add(event.stage, SPEED, x, event.images_per_second)
            case EpochDone():
                self.best[event.stage] = event_reader.better(self.best.get(event.stage), event)
                sensitivity = math.nan if event.sensitivity is None else event.sensitivity
                self._add(event.stage, ACCURACY, event.epoch, event.balanced_accuracy)
                self._add(event.stage, SENSITIVITY, event.epoch, sensitivity)
                self._add(event.stage, VALIDATION_LOSS, event.epoch, event.validation_loss)
                if event.load is not None:
                    self._add(event.stage, LOAD, event.epoch, event.load)
                if event.memory is not None:
                    self._add(event.stage, MEMORY, event.epoch, event.memory / 1e9)
            case _:
                pass

    def _add(self, stage: str, metric: str, x: float, y: float) -> None:
        if stage not in self.stages:
            self.stages.append(stage)
        if (curve := self.curves.get((stage, metric))) is None:
            curve = self.curves[stage, metric] = Curve()
        curve.add(x, y)

    def final(self, stage: str, metric: str) -> float | None:
        """The value of the stage's saved weights: that of its best epoch."""
        best, curve = self.best.get(stage), self.curves.get((stage, metric))
        if best is None or curve is None or not curve.ys or metric in (RATE, SPEED, LOAD, MEMORY):
            return None
        index = bisect.bisect_right(curve.xs, best.epoch + 1e-9) - 1
        return curve.ys[index] if index >= 0 else None
