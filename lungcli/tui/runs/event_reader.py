"""Reading `events.jsonl` while another process writes it: only what is new, and whatever happens to the file."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec

from lungcli.core import events
from lungcli.core.events import BatchDone, EpochDone, Event, RunDone, RunFailed, RunStarted, StageStarted

CHUNK = 1 << 20
"""Bytes read at once: so much takes a few milliseconds, so that a key press never waits for long."""

_TAIL = 1 << 13
_FINGERPRINT = 64
_EPOCH_DONE = b'"epoch-done"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """How far a file has been read. `before` are the last bytes up to there: they change when it is written anew."""

    inode: int = 0
    offset: int = 0
    before: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """Whole lines that came since the last look. `anew`: the file is another one, forget what was read of it."""

    place: Place
    lines: tuple[bytes, ...] = ()
    anew: bool = False
    more: bool = False


def read_on(path: Path, place: Place, limit: int = CHUNK) -> News:
    """Read up to `limit` bytes of whole lines after `place`; a line still being written is left for the next time.

    A file that was truncated, replaced or deleted is read from its beginning (again). Raises nothing: a file that
    cannot be read is one without lines.
    """
    try:
        with path.open("rb") as file:
            inode = _inode(path)
            anew = place.offset > 0 and (inode != place.inode or not _goes_on(file, place))
            start = 0 if anew else place.offset
            file.seek(start)
            chunk = file.read(limit)
    except OSError:
        return News(place=Place(), anew=place.offset > 0)
    end = chunk.rfind(b"\n") + 1
    if end == 0 and len(chunk) == limit:
        end = limit  # No event is that long: damage, to be passed over rather than waited for.
    if end == 0:
        return News(place=Place(inode=inode) if anew else place, anew=anew)
    before = chunk[max(0, end - _FINGERPRINT) : end]
    return News(
        place=Place(inode=inode, offset=start + end, before=before),
        lines=tuple(chunk[:end].splitlines()),
        anew=anew,
        more=len(chunk) == limit,
    )


def _inode(path: Path) -> int:
    return path.stat().st_ino


def _goes_on(file: Any, place: Place) -> bool:
    """Say whether the bytes before `place` are still those that were read."""
    file.seek(place.offset - len(place.before))
    return bool(file.read(len(place.before)) == place.before)


def decode(line: bytes) -> Event | None:
    """Return the event of one line, None where it is none that this lungcli knows."""
    try:
        return events.decode(line)
    except (msgspec.DecodeError, ValueError):
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Best:
    """The best epoch of one stage on the validation part, and how many epochs are done."""

    balanced_accuracy: float
    malignant_sensitivity: float | None
    validation_loss: float
    epoch: int
    done: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Glance:
    """What the list shows of a run: read from the epochs and the last few lines of its events, never from all."""

    place: Place = Place()
    best: MappingProxyType[str, Best] = field(default_factory=lambda: MappingProxyType({}))
    stages: tuple[str, ...] = ()
    stage: str = ""
    about: str = ""
    epochs: int = 0
    position: float = 0.0
    seconds_per_epoch: float | None = None
    images_per_second: float | None = None
    loss: float | None = None
    error: str = ""
    gate_met: bool | None = None
    more: bool = False


UNSEEN = Glance()
"""What is known of a run before it was looked at."""


def glance(path: Path, before: Glance, limit: int = 4 * CHUNK) -> Glance:
    """Bring a glance up to date with what `path` holds by now. `position` counts epochs of the current stage."""
    place, best = before.place, dict(before.best)
    try:
        with path.open("rb") as file:
            inode, size = _inode(path), path.stat().st_size
            if place.offset and (inode != place.inode or size < place.offset or not _goes_on(file, place)):
                place, best, before = Place(), {}, UNSEEN
            file.seek(place.offset)
            chunk = file.read(limit)
            file.seek(max(0, size - _TAIL))
            tail = file.read(_TAIL)
            file.seek(0)
            head = file.readline(_TAIL)
    except OSError:
        return UNSEEN
    end = chunk.rfind(b"\n") + 1
    for event in _epochs(chunk[:end]):
        best[event.stage] = better(best.get(event.stage), event)
    if end:
        fingerprint = chunk[max(0, end - _FINGERPRINT) : end]
        place = Place(inode=inode, offset=place.offset + end, before=fingerprint)
    first = decode(head)
    found = dataclasses.replace(
        before,
        place=place,
        best=MappingProxyType(best),
        stages=first.stages if isinstance(first, RunStarted) else (),
        more=len(chunk) == limit and end > 0,
    )
    return _after(found, tail[: tail.rfind(b"\n") + 1].splitlines()[(size > _TAIL) :])


def _epochs(chunk: bytes) -> Iterator[EpochDone]:
    at = chunk.find(_EPOCH_DONE)
    while at >= 0:
        start, end = chunk.rfind(b"\n", 0, at) + 1, chunk.find(b"\n", at)
        event = decode(chunk[start:end])
        if isinstance(event, EpochDone):
            yield event
        at = chunk.find(_EPOCH_DONE, end)


def better(before: Best | None, event: EpochDone) -> Best:
    """Return the best of a stage after one more epoch; the writer alone decides what is best."""
    if before is None or event.best:
        return Best(
            balanced_accuracy=event.balanced_accuracy,
            malignant_sensitivity=event.malignant_sensitivity,
            validation_loss=event.validation_loss,
            epoch=event.epoch,
            done=event.epoch,
        )
    return Best(
        balanced_accuracy=before.balanced_accuracy,
        malignant_sensitivity=before.malignant_sensitivity,
        validation_loss=before.validation_loss,
        epoch=before.epoch,
        done=event.epoch,
    )


def _after(before: Glance, lines: list[bytes]) -> Glance:
    """Where the run stands by its last lines."""
    events = [event for event in map(decode, lines) if event is not None]
    now = before
    for event in events:
        match event:
            case StageStarted():
                now = dataclasses.replace(
                    now, stage=event.stage, about=event.about, epochs=event.epochs, position=0.0, error=""
                )
            case BatchDone():
                done = event.epoch - 1 + event.batch / max(1, event.batches)
                now = dataclasses.replace(now, stage=event.stage, position=done, loss=event.loss, error="")
            case EpochDone():
                now = dataclasses.replace(now, stage=event.stage, epochs=event.epochs, position=float(event.epoch))
            case RunFailed():
                now = dataclasses.replace(now, error=event.error)
            case RunDone():
                now = dataclasses.replace(now, gate_met=event.gate_met)
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
