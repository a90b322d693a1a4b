"""How far a run is as a whole: what is done, what is left, and when it ends."""

import dataclasses
import datetime
from dataclasses import dataclass

from lungcli.core.events import BatchDone, Event, RunStarted, StageDone, StageStarted, StrategyStarted
from lungcli.views.units import duration

# Stages that train take most of the time.
_QUICK = {"pruned": 0.05, "int8": 0.2, "evaluate": 0.05}
# Before, too little is known of the speed, in seconds.
_FIRST_ESTIMATE = 5.0


@dataclass(frozen=True, slots=True)
class RunProgress:
    """The stages of a run, the one it is at, and the `fraction` of that which is done (0 to 1).

    Work began `at_start` (share of the run, 0 to 1), at `began` on the clock of the events.
    """

    stages: tuple[str, ...] = ()
    stage: str = ""
    epochs: int = 0
    fraction: float = 0.0
    at_start: float | None = None
    began: datetime.datetime | None = None
    now: datetime.datetime | None = None

    def after(self, event: Event) -> "RunProgress":
        """Return the progress after an event."""
        match event:
            case RunStarted():
                return RunProgress(stages=event.stages, now=event.time)
            case StageStarted():
                later = dataclasses.replace(self, stage=event.stage, epochs=event.epochs, fraction=0.0, now=event.time)
                return later if later.began else dataclasses.replace(later, at_start=later.share, began=event.time)
            case BatchDone() if event.stage == self.stage and self.epochs:
                done = event.epoch - 1 + event.batch / max(1, event.batches)
                return dataclasses.replace(self, fraction=min(1.0, done / self.epochs), now=event.time)
            case StrategyStarted():
                return dataclasses.replace(self, fraction=(event.number - 1) / event.strategies, now=event.time)
            case StageDone():
                return dataclasses.replace(self, fraction=1.0, now=event.time)
            case _:
                return self

    @property
    def share(self) -> float:
        """Share of the whole run that is done, by weight of the stages."""
        weights = [_QUICK.get(stage, 1.0) for stage in self.stages]
        if self.stage not in self.stages or not sum(weights):
            return 0.0
        index = self.stages.index(self.stage)
        return (sum(weights[:index]) + self.fraction * weights[index]) / sum(weights)

    @property
    def seconds_left(self) -> float | None:
        """Seconds to the end, at the pace so far; None where that is not known yet."""
        if self.began is None or self.now is None or self.at_start is None:
            return None
        elapsed, done = (self.now - self.began).total_seconds(), self.share - self.at_start
        return elapsed * (1 - self.share) / done if elapsed >= _FIRST_ESTIMATE and done > 0 else None

    def in_words(self) -> str:
        """`stage 3 of 5, 41 % of the run, 12m left, ends 14:32`; local time."""
        number = self.stages.index(self.stage) + 1 if self.stage in self.stages else 0
        text = f"stage {number} of {len(self.stages)}, {self.share:.0%} of the run"
        if (left := self.seconds_left) is None or self.now is None:
            return text
        end = (self.now + datetime.timedelta(seconds=left)).astimezone()
        day = "" if end.date() == self.now.astimezone().date() else f"{end:%a} "
        return f"{text}, {duration(left)} left, ends {day}{end:%H:%M}"
