"""The epochs of a run for other programs: a table, and files that TensorBoard shows."""

import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from lungcli.core import paths, runs
from lungcli.core.errors import UsageError
from lungcli.core.events import EpochDone
from lungcli.core.formatting import csv_row
from lungcli.core.runs import Run

if TYPE_CHECKING:
    from tensorboard.compat.proto.event_pb2 import Event

# Its name has to have `tfevents` in it.
_FILE = "events.out.tfevents.lungcli"
_TAGS = {
    "loss": "loss/training",
    "validation_loss": "loss/validation",
    "balanced_accuracy": "validation/balanced_accuracy",
    "sensitivity": "validation/sensitivity",
    "learning_rate": "learning_rate",
    "images_per_second": "machine/images_per_second",
    "load": "machine/load",
    "memory": "machine/memory",
}


def comma_separated(run: Run) -> str:
    """Return a line for each epoch of each stage, with the fields of its event; what is no number is left empty."""
    fields = EpochDone.__struct_fields__
    rows = [[_cell(getattr(epoch, field)) for field in fields] for epoch in _epochs(run)]
    return "".join(map(csv_row, [("run", *fields), *([run.name, *row] for row in rows)]))


def require_tensorboard() -> None:
    """Raise UsageError where the extra is missing."""
    try:
        from tensorboard.compat.proto import event_pb2  # noqa: F401
    except ImportError as error:
        raise UsageError(
            "files for TensorBoard need the extra `tensorboard`, which is not installed",
            "install it: pip install 'lungcli[tensorboard]'; or write a table: lungcli runs export RUN --to csv",
        ) from error


def write_tensorboard(run: Run, folder: Path) -> list[Path]:
    """Write a file of scalars for each stage, FOLDER/RUN/STAGE/…, and return them. Raises UsageError, LungcliError.

    Where it says the same so far, a file that is there already is added to: TensorBoard goes on reading where it was.
    """
    require_tensorboard()
    by_stage: dict[str, list[EpochDone]] = {}
    for epoch in _epochs(run):
        by_stage.setdefault(epoch.stage, []).append(epoch)
    files = {_file(run, folder, stage): _header(epochs[0]) + _records(epochs) for stage, epochs in by_stage.items()}
    for path, content in files.items():
        with paths.os_errors_as(path):
            before = path.read_bytes() if path.exists() else b""
            if before and content.startswith(before):
                _append(path, content[len(before) :])
            else:
                paths.atomic_write(path, content)
    return list(files)


def tensorboard_log(run: Run, folder: Path) -> Callable[[EpochDone], None]:
    """Do as `write_tensorboard` does, and return what adds an epoch to its files."""
    write_tensorboard(run, folder)
    last = {epoch.stage: epoch.epoch for epoch in _epochs(run)}

    def add(epoch: EpochDone) -> None:
        path = _file(run, folder, epoch.stage)
        # After a crash, an epoch may be done again.
        if epoch.epoch > last.get(epoch.stage, 0) and path.exists():
            with paths.os_errors_as(path):
                _append(path, _records([epoch]))
        else:
            write_tensorboard(run, folder)
        last[epoch.stage] = epoch.epoch

    return add


def _file(run: Run, folder: Path, stage: str) -> Path:
    return folder / run.name / stage / _FILE


def _append(path: Path, content: bytes) -> None:
    with path.open("ab") as file:
        file.write(content)


def _epochs(run: Run) -> list[EpochDone]:
    """Return each epoch of each stage once: what was done again after a crash is as it was the last time."""
    done = {(event.stage, event.epoch): event for event in runs.events(run) if isinstance(event, EpochDone)}
    return list(done.values())


def _cell(value: object) -> object:
    """Return a value of an event as JSON has it: times as texts, gaps as None."""
    return None if isinstance(value, float) and not math.isfinite(value) else msgspec.to_builtins(value)


def _header(first: EpochDone) -> bytes:
    """Return the record that a file of events begins with: its version."""
    from tensorboard.compat.proto.event_pb2 import Event

    return _as_records([Event(wall_time=first.time.timestamp(), file_version="brain.Event:2")])


def _records(epochs: list[EpochDone]) -> bytes:
    """Return the records of the scalars of each epoch, at the step of its number."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    events = []
    for epoch in epochs:
        values = {tag: getattr(epoch, field) for field, tag in _TAGS.items()}
        scalars = [Summary.Value(tag=tag, simple_value=value) for tag, value in values.items() if value is not None]
        events.append(Event(wall_time=epoch.time.timestamp(), step=epoch.epoch, summary=Summary(value=scalars)))
    return _as_records(events)


def _as_records(events: "list[Event]") -> bytes:
    from tensorboard.summary.writer.record_writer import RecordWriter

    content = io.BytesIO()
    writer = RecordWriter(content)
    for event in events:
        writer.write(event.SerializeToString())
    return content.getvalue()
