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
# No two events of a run that works are further apart, in seconds.
_LONGEST_STEP = 3600.0


@dataclass(frozen=True, slots=True)
class RunProgress:
    """The stages of a run, the one it is at, and the `fraction` of that which is done (0 to 1).

    Work began `at_start` (share of the run, 0 to 1), and has `elapsed` seconds by the clock of the events since.
    """

    stages: tuple[str, ...] = ()
    stage: str = ""
    epochs: int = 0
    fraction: float = 0.0
    at_start: float | None = None
    elapsed: float = 0.0
    now: datetime.datetime | None = None

    def after(self, event: Event) -> "RunProgress":
        """Return the progress after an event."""
        match event:
            case RunStarted():
                return RunProgress(stages=event.stages, now=event.time)
            case StageStarted():
                later = dataclasses.replace(self._at(event.time, 0.0), stage=event.stage, epochs=event.epochs)
                first = later.at_start is None
                return dataclasses.replace(later, at_start=later.share, elapsed=0.0) if first else later
            case BatchDone() if event.stage == self.stage and self.epochs:
                done = event.epoch - 1 + event.batch / max(1, event.batches)
                return self._at(event.time, min(1.0, done / self.epochs))
            case StrategyStarted():
                return self._at(event.time, (event.number - 1) / event.strategies)
            case StageDone():
                return self._at(event.time, 1.0)
            case _:
                return self

    def _at(self, time: datetime.datetime, fraction: float) -> "RunProgress":
        """Return the progress at a later time; where the clock was set meanwhile, none has passed."""
        step = (time - self.now).total_seconds() if self.now else 0.0
        passed = step if 0 <= step <= _LONGEST_STEP else 0.0
        return dataclasses.replace(self, fraction=fraction, elapsed=self.elapsed + passed, now=time)

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
        if self.at_start is None or self.elapsed < _FIRST_ESTIMATE or self.share <= self.at_start:
            return None
        return self.elapsed * (1 - self.share) / (self.share - self.at_start)

    def in_words(self) -> str:
        """`stage 3 of 5, 41 % of the run, 12m left, ends 14:32`; local time."""
        number = self.stages.index(self.stage) + 1 if self.stage in self.stages else 0
        text = f"stage {number} of {len(self.stages)}, {self.share:.0%} of the run"
        if (left := self.seconds_left) is None or self.now is None:
            return text
        end = (self.now + datetime.timedelta(seconds=left)).astimezone()
        day = "" if end.date() == self.now.astimezone().date() else f"{end:%a} "
        return f"{text}, {duration(left)} left, ends {day}{end:%H:%M}"
