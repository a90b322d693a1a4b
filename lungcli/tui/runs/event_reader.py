"""Reading `events.jsonl` while another process writes it: only what is new, and whatever happens to the file."""

import dataclasses
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO

import msgspec

from lungcli.core import events
from lungcli.core.events import BatchDone, EpochDone, Event, RateLowered, RunDone, RunFailed, RunStarted, StageStarted

CHUNK = 1 << 20
"""Bytes read at once: they take a few milliseconds, so that a key press never waits for long."""

_TAIL = 1 << 13
_FINGERPRINT = 64
_EPOCH_DONE, _RATE_LOWERED = b'"epoch-done"', b'"rate-lowered"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """How far a file has been read. `before` are the last bytes up to there: they change when it is rewritten."""

    inode: int = 0
    offset: int = 0
    before: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """Whole lines that came since the last time. `rewritten`: the file is another one, forget what was read of it."""

    place: Place
    content: bytes = b""
    rewritten: bool = False
    more: bool = False

    @property
    def lines(self) -> tuple[bytes, ...]:
        """The lines, without their ends."""
        return tuple(self.content.splitlines())

    def lines_with(self, word: bytes) -> Iterator[bytes]:
        """Yield the lines that hold a word: looking for it takes a quarter of the time that splitting takes."""
        at = self.content.find(word)
        while at >= 0:
            end = self.content.find(b"\n", at)
            yield self.content[self.content.rfind(b"\n", 0, at) + 1 : end]
            at = self.content.find(word, end)


Stamp = tuple[int, int, int]
"""When a file was changed last, its size and its inode."""


# Asked of many runs every second: objects of paths would make it three times as slow.
def stamp(path: str) -> Stamp | None:
    """Return what tells a file that has changed; None where there is no file."""
    try:
        status = os.stat(path)  # noqa: PTH116
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def read_on(path: Path, place: Place, limit: int = CHUNK) -> News:
    """Read up to `limit` bytes of whole lines after `place`; a line still being written is left for the next time.

    A file that was truncated, replaced or deleted is read from its beginning (again). Raises nothing: a file that
    cannot be read is one without lines.
    """
    try:
        with path.open("rb") as file:
            inode = os.fstat(file.fileno()).st_ino
            rewritten = place.offset > 0 and (inode != place.inode or not _continues(file, place))
            start = 0 if rewritten else place.offset
            file.seek(start)
            chunk = file.read(limit)
    except OSError:
        return News(place=Place(), rewritten=place.offset > 0)
    end = chunk.rfind(b"\n") + 1
    if end == 0 and len(chunk) == limit:
        end = limit  # No event is that long: damage, to be passed over rather than waited for.
    if end == 0:
        return News(place=Place(inode=inode) if rewritten else place, rewritten=rewritten)
    before = chunk[max(0, end - _FINGERPRINT) : end]
    return News(
        place=Place(inode=inode, offset=start + end, before=before),
        content=chunk[:end],
        rewritten=rewritten,
        more=len(chunk) == limit,
    )


def _continues(file: BinaryIO, place: Place) -> bool:
    """Whether the bytes before `place` are still those that were read."""
    file.seek(place.offset - len(place.before))
    return file.read(len(place.before)) == place.before


def decode(line: bytes) -> Event | None:
    """Return the event of one line, None where it is none that this lungcli knows."""
    try:
        return events.decode(line)
    except (msgspec.DecodeError, ValueError):
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Best:
    """The best epoch of one stage on the validation part, and how many epochs are done.

    `loss` is the training loss of the last epoch, `lowest_loss` that of the best of them in this respect.
    """

    balanced_accuracy: float
    sensitivity: float | None
    validation_loss: float
    epoch: int
    done: int
    loss: float = math.nan
    lowest_loss: float = math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Glance:
    """What the list shows of a run: read from the epochs and the last few lines of its events, never from all.

    `not_finite` says where the loss was not finite, so that the learning rate was lowered.
    """

    place: Place = Place()
    best: MappingProxyType[str, Best] = field(default_factory=lambda: MappingProxyType({}))
    stages: tuple[str, ...] = ()
    stage: str = ""
    epochs: int = 0
    position: float = 0.0
    seconds_per_epoch: float | None = None
    images_per_second: float | None = None
    loss: float | None = None
    error: str = ""
    gate_met: bool | None = None
    failed_checks: tuple[str, ...] = ()
    not_finite: str = ""
    more: bool = False


UNREAD = Glance()
"""What is known of a run before it was read."""


def glance(path: Path, before: Glance, limit: int = 4 * CHUNK) -> Glance:
    """Bring a glance up to date with what `path` holds by now. `position` counts epochs of the current stage."""
    news = read_on(path, before.place, limit)
    if news.rewritten:
        before = UNREAD
    best, not_finite = dict(before.best), before.not_finite
    for line in news.lines_with(_EPOCH_DONE):
        if isinstance(event := decode(line), EpochDone):
            best[event.stage] = better(best.get(event.stage), event)
    for line in news.lines_with(_RATE_LOWERED):
        if isinstance(event := decode(line), RateLowered):
            not_finite = f"{event.stage} epoch {event.epoch}"
    try:
        with path.open("rb") as file:
            first = decode(file.readline(_TAIL))
            start = max(0, file.seek(0, os.SEEK_END) - _TAIL)
            file.seek(start)
            tail = file.read(_TAIL)
    except OSError:
        return UNREAD
    updated = dataclasses.replace(
        before,
        place=news.place,
        best=MappingProxyType(best),
        stages=first.stages if isinstance(first, RunStarted) else (),
        not_finite=not_finite,
        more=news.more,
    )
    return _after(updated, tail[: tail.rfind(b"\n") + 1].splitlines()[start > 0 :])


def better(before: Best | None, event: EpochDone) -> Best:
    """Return the best of a stage after one more epoch; the writer alone decides what is best."""
    lowest = min(event.loss, before.lowest_loss if before else math.inf)
    if before is None or event.best:
        return Best(
            balanced_accuracy=event.balanced_accuracy,
            sensitivity=event.sensitivity,
            validation_loss=event.validation_loss,
            epoch=event.epoch,
            done=event.epoch,
            loss=event.loss,
            lowest_loss=lowest,
        )
    return dataclasses.replace(before, done=event.epoch, loss=event.loss, lowest_loss=lowest)


def _after(before: Glance, lines: list[bytes]) -> Glance:
    """Where the run stands by its last lines."""
    events = [event for event in map(decode, lines) if event is not None]
    now = before
    for event in events:
        match event:
            case StageStarted():
                now = dataclasses.replace(now, stage=event.stage, epochs=event.epochs, position=0.0, error="")
            case BatchDone():
                done = event.epoch - 1 + event.batch / max(1, event.batches)
                now = dataclasses.replace(now, stage=event.stage, position=done, loss=event.loss, error="")
            case EpochDone():
                now = dataclasses.replace(now, stage=event.stage, epochs=event.epochs, position=float(event.epoch))
            case RunFailed():
                now = dataclasses.replace(now, error=event.error)
            case RunDone():
                now = dataclasses.replace(now, gate_met=event.gate_met, failed_checks=event.failed_checks)
            case _:
                pass
    batches = [event for event in events if isinstance(event, BatchDone) and event.stage == now.stage]
    return dataclasses.replace(
        now,
        seconds_per_epoch=pace(batches),
        images_per_second=batches[-1].images_per_second if batches else now.images_per_second,
    )


def pace(batches: list[BatchDone]) -> float | None:
    """Seconds an epoch takes by the last batches, by the writer's own clock; None where that cannot be told."""
    if len(batches) < 2:
        return None
    first, last = batches[0], batches[-1]
    seconds = (last.time - first.time).total_seconds()
    share = (last.epoch + last.batch / max(1, last.batches)) - (first.epoch + first.batch / max(1, first.batches))
    return seconds / share if share > 0 and seconds > 0 else None
