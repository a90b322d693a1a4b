"""All points of one run, by stage and figure, kept up to date from its events."""

import bisect
import math
from array import array
from pathlib import Path

from lungcli.core.events import BatchDone, EpochDone, Event
from lungcli.tui.runs import event_reader
from lungcli.tui.runs.event_reader import Best, Place

METRICS = ("loss", "balanced accuracy", "malignant sensitivity", "validation loss", "learning rate", "images/s")
"""Figures there are curves of, in the order they are shown."""

BATCH_METRICS = ("loss", "learning rate", "images/s")
SMOOTHINGS = (
    ("off", 0.0, 0.0),
    ("light", 0.9, 0.0),
    ("medium", 0.97, 0.6),
    ("strong", 0.99, 0.85),
)
"""Strengths of smoothing: name, and the weight of the past for figures of batches, and for figures of epochs."""


def weight(metric: str, strength: int) -> float:
    """How much each past value of `metric` counts. A learning rate has no noise: it is never smoothed."""
    if metric == "learning rate":
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

    def read(self) -> bool:
        """Take in the next lines, at most one chunk of them; say whether there may be more at once."""
        news = event_reader.read_on(self.path, self._place)
        if news.rewritten:
            self.curves, self.best, self.stages = {}, {}, []
        for line in news.lines:
            if (event := event_reader.decode(line)) is not None:
                self._take(event)
        self.version += bool(news.lines) or news.rewritten
        self._place = news.place
        self.complete = not news.more
        return news.more

    def _take(self, event: Event) -> None:
        match event:
            case BatchDone():
                x = event.epoch - 1 + event.batch / max(1, event.batches)
                self._add(event.stage, "loss", x, event.loss)
                self._add(event.stage, "learning rate", x, event.learning_rate)
                self._add(event.stage, "images/s", x, event.images_per_second)
            case EpochDone():
                self.best[event.stage] = event_reader.better(self.best.get(event.stage), event)
                sensitivity = math.nan if event.malignant_sensitivity is None else event.malignant_sensitivity
                self._add(event.stage, "balanced accuracy", event.epoch, event.balanced_accuracy)
                self._add(event.stage, "malignant sensitivity", event.epoch, sensitivity)
                self._add(event.stage, "validation loss", event.epoch, event.validation_loss)
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
        if best is None or curve is None or not curve.ys or metric in ("learning rate", "images/s"):
            return None
        index = bisect.bisect_right(curve.xs, best.epoch + 1e-9) - 1
        return curve.ys[index] if index >= 0 else None
