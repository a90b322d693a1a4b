"""The epochs of a run as a table, and as files that TensorBoard reads."""

import csv
import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lungcli.core import runs
from lungcli.core.errors import UsageError
from lungcli.core.events import BatchDone, EpochDone, Event, RunDone, now
from lungcli.core.recipe import Recipe
from lungcli.core.runs import Run
from lungcli.export import curves


def epoch(stage: str, number: int, loss: float, sensitivity: float | None = 0.5) -> EpochDone:
    return EpochDone(
        time=now(),
        stage=stage,
        epoch=number,
        epochs=3,
        loss=loss,
        validation_loss=2 * loss,
        balanced_accuracy=0.75,
        sensitivity=sensitivity,
        learning_rate=1e-3,
        images_per_second=30,
        best=True,
    )


def batch() -> BatchDone:
    return BatchDone(
        time=now(), stage="teacher", epoch=1, batch=1, batches=2, loss=3, learning_rate=1, images_per_second=1
    )


@pytest.fixture
def run(home: Path) -> Run:
    """A run whose second epoch was done again after a crash."""
    made = runs.create("mine", "distill", Recipe(data="phantom", model="resnet18"))
    record(made, batch(), epoch("teacher", 1, 0.5), epoch("teacher", 2, 9.0))
    record(made, epoch("teacher", 2, 0.25), epoch("student", 1, float("nan"), None), RunDone(time=now()))
    return made


def record(run: Run, *events: Event) -> list[Event]:
    return list(runs.record(run, (event for event in events)))


def test_a_table_has_a_line_for_each_epoch_of_each_stage(run: Run) -> None:
    rows = list(csv.DictReader(io.StringIO(curves.comma_separated(run))))
    assert [(row["run"], row["stage"], row["epoch"], row["loss"]) for row in rows] == [
        ("mine", "teacher", "1", "0.5"),
        ("mine", "teacher", "2", "0.25"),
        ("mine", "student", "1", ""),
    ]
    assert rows[0]["time"].endswith("Z")
    assert (rows[0]["sensitivity"], rows[2]["sensitivity"]) == ("0.5", "")


def test_without_the_extra_it_is_named(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tensorboard.compat.proto", None)
    with pytest.raises(UsageError, match="need the extra `tensorboard`, which is not installed") as refused:
        curves.write_tensorboard(run, tmp_path / "logs")
    assert "pip install 'lungcli[tensorboard]'" in refused.value.hint
    assert not (tmp_path / "logs").exists()


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard itself reads."""
    module: Any = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="needs the extra `tensorboard`"
    )
    accumulator = module.EventAccumulator(str(folder))
    accumulator.Reload()
    return {
        tag: [(event.step, event.value) for event in accumulator.Scalars(tag)] for tag in accumulator.Tags()["scalars"]
    }


def test_tensorboard_reads_the_curves_of_each_stage(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="needs the extra `tensorboard`")
    files = curves.write_tensorboard(run, tmp_path)
    assert [file.parent.name for file in files] == ["teacher", "student"]
    teacher, student = (scalars(tmp_path / "mine" / stage) for stage in ("teacher", "student"))
    assert teacher["loss/training"] == [(1, 0.5), (2, 0.25)]
    assert teacher["validation/sensitivity"] == [(1, 0.5), (2, 0.5)]
    assert teacher["machine/memory"][0][1] > 1e6
    assert "validation/sensitivity" not in student
    assert student["validation/balanced_accuracy"] == [(1, 0.75)]


def go_on(run: Run, log: Callable[[EpochDone], None], happened: EpochDone) -> None:
    """Do an epoch, and log what is recorded of it."""
    for event in record(run, happened):
        assert isinstance(event, EpochDone)
        log(event)


def test_a_log_grows_while_a_run_does(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorBoard keeps files open, and goes on where it was; only what is done again has the run read once more."""
    pytest.importorskip("tensorboard", reason="needs the extra `tensorboard`")
    log = curves.tensorboard_log(run, tmp_path)
    (file,) = (tmp_path / "mine" / "teacher").iterdir()
    before, content = file.stat().st_ino, file.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(runs, "events", None)
        go_on(run, log, epoch("teacher", 3, 0.125))
    assert (file.stat().st_ino, file.read_bytes()[: len(content)]) == (before, content)
    assert scalars(file.parent)["loss/training"] == [(1, 0.5), (2, 0.25), (3, 0.125)]
    appended = file.read_bytes()
    curves.write_tensorboard(run, tmp_path)
    assert file.read_bytes() == appended
    go_on(run, log, epoch("teacher", 2, 0.0625))
    assert scalars(file.parent)["loss/training"] == [(1, 0.5), (2, 0.0625), (3, 0.125)]


def test_a_log_begins_with_a_new_stage_and_anew_where_it_was_removed(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="needs the extra `tensorboard`")
    log = curves.tensorboard_log(run, tmp_path)
    go_on(run, log, epoch("int8", 1, 0.5))
    assert scalars(tmp_path / "mine" / "int8")["loss/training"] == [(1, 0.5)]
    shutil.rmtree(tmp_path / "mine")
    go_on(run, log, epoch("int8", 2, 0.25))
    assert scalars(tmp_path / "mine" / "int8")["loss/training"] == [(1, 0.5), (2, 0.25)]
