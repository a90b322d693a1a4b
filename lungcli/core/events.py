"""What happens in a run, as values: one JSON line each in `events.jsonl`, told apart by `type`.

Where a field is called otherwise in the file, that is the name that version 0.1.0 wrote.
"""

import datetime
import math

import msgspec

from lungcli.core.errors import OUT_OF_MEMORY
from lungcli.core.versioned import Count


class _Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    time: datetime.datetime


class RunStarted(_Event, frozen=True, kw_only=True, tag="run-started"):
    """A run began, or went on."""

    stages: tuple[str, ...]
    resumed: bool = False


class StageStarted(_Event, frozen=True, kw_only=True, tag="stage-started"):
    """A stage began. `epochs` is 0 for stages that do not train."""

    stage: str
    about: str
    epochs: Count = 0


class BatchDone(_Event, frozen=True, kw_only=True, tag="batch-done"):
    """One optimiser step. `loss` is the batch's mean; `epoch` counts from 1, `batch` from 1."""

    stage: str
    epoch: Count
    batch: Count
    batches: Count
    loss: float
    learning_rate: float
    images_per_second: float


class EpochDone(_Event, frozen=True, kw_only=True, tag="epoch-done"):
    """One pass over the training part, and the validation part measured after it (with averaged weights).

    `sensitivity` is that of the positive class, which was always malignant when the file's field got its name.
    `load` is how many cores of the machine were busy in the last minute, `memory` the most bytes this process had; both
    are None where the system does not say, and in runs of earlier versions.
    """

    stage: str
    epoch: Count
    epochs: Count
    loss: float
    validation_loss: float
    balanced_accuracy: float
    sensitivity: float | None = msgspec.field(name="malignant_sensitivity")
    learning_rate: float
    images_per_second: float
    best: bool
    load: float | None = None
    memory: Count | None = None


class CheckpointWritten(_Event, frozen=True, kw_only=True, tag="checkpoint-written"):
    """Work up to here survives a crash. `batch` counts the steps done in `epoch`."""

    stage: str
    epoch: Count
    batch: Count


class RateLowered(_Event, frozen=True, kw_only=True, tag="rate-lowered"):
    """The loss was not finite: the epoch begins anew, its `learning_rate` (AdamW's peak) halved `times` times."""

    stage: str
    epoch: Count
    batch: Count
    why: str
    times: Count
    learning_rate: float


class BatchLowered(_Event, frozen=True, kw_only=True, tag="batch-lowered"):
    """Memory ran out, or may have: the epoch begins anew with `slices` of a batch in memory at once."""

    stage: str
    epoch: Count
    slices: Count
    why: str = OUT_OF_MEMORY


class StageDone(_Event, frozen=True, kw_only=True, tag="stage-done"):
    """A stage is complete and its outcome is kept."""

    stage: str
    about: str


class StrategyStarted(_Event, frozen=True, kw_only=True, tag="rung-started"):
    """A quantization strategy is tried: the `number`-th of the `strategies` of the search, from 1."""

    stage: str
    strategy: str = msgspec.field(name="rung")
    number: Count
    strategies: Count = msgspec.field(name="rungs")


class StrategyDone(_Event, frozen=True, kw_only=True, tag="rung-done"):
    """It was evaluated on the validation part; `about` is the outcome in words."""

    stage: str
    strategy: str = msgspec.field(name="rung")
    passes: bool = msgspec.field(name="holds")
    about: str


class RunStopped(_Event, frozen=True, kw_only=True, tag="run-stopped"):
    """The user stopped the run; it can go on."""


class RunFailed(_Event, frozen=True, kw_only=True, tag="run-failed"):
    """An error ended the run."""

    error: str


class RunDone(_Event, frozen=True, kw_only=True, tag="run-done"):
    """Every stage is complete; `failed_checks` are those for which the gate was not met."""

    gate_met: bool | None = None
    failed_checks: tuple[str, ...] = ()


Event = (
    RunStarted
    | StageStarted
    | BatchDone
    | EpochDone
    | CheckpointWritten
    | RateLowered
    | BatchLowered
    | StrategyStarted
    | StrategyDone
    | StageDone
    | RunStopped
    | RunFailed
    | RunDone
)
_MAY_BE_NULL = ("malignant_sensitivity", "load", "memory")
_DECODER: "msgspec.json.Decoder[Event]" = msgspec.json.Decoder(Event)


def now() -> datetime.datetime:
    """Return the current time in UTC."""
    return datetime.datetime.now(datetime.UTC)


def decode(line: bytes) -> Event:
    """Return the event of one line. Raises DecodeError or ValueError where it is none that this lungcli knows.

    JSON has no NaN, so such figures are written as null: they come back as NaN, and are gaps in a curve.
    """
    try:
        return _DECODER.decode(line)
    except msgspec.ValidationError:
        fields = msgspec.json.decode(line)
        if not isinstance(fields, dict):
            raise
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    missing = {name for name, value in fields.items() if value is None and name not in _MAY_BE_NULL}
    event: Event = msgspec.convert(fields | dict.fromkeys(missing, math.nan), type=Event)
    return event
