"""`lungcli distill` as typed: a teacher from another run, and one that must be refused."""

import json
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.cli.conftest import LUNGCLI, RUN, SMALL, TEACHER, call, environment

pytestmark = pytest.mark.long

DISTILL = ["distill", "--student", "ownmodel", *SMALL]


def test_a_trained_teacher_is_reused(own_workshop: Path) -> None:
    done = call(own_workshop, *DISTILL, "--teacher", RUN, "--name", "from run")
    assert f"take over the teacher of {RUN}" in done.stderr
    ours, theirs = (own_workshop / "runs" / run / "teacher" / "best.safetensors" for run in ("from run", RUN))
    assert ours.read_bytes() == theirs.read_bytes()
    card = json.loads(call(own_workshop, "models", "card", "from run").stdout)
    assert (card["stage"], card["teacher"]) == ("student", TEACHER)


def test_a_compression_with_a_trained_teacher_reaches_the_gate(own_workshop: Path) -> None:
    command = ["compress", "--student", "ownmodel", *SMALL, "--teacher", RUN, "--max-drop", "1", "--name", "again"]
    assert "distillation check passed" in call(own_workshop, *command).stderr
    teachers = [own_workshop / "runs" / run / "teacher" / "evaluation.json" for run in (RUN, "again")]
    assert teachers[0].read_bytes() == teachers[1].read_bytes()


def test_a_teacher_of_another_split_is_refused(own_workshop: Path) -> None:
    """It may know the test slices, and would pass on what it knows."""
    done = call(own_workshop, *DISTILL, "--teacher", RUN, "--split-seed", 1, check=2)
    assert "was trained on another split" in done.stderr
    assert "it may know the test slices" in done.stderr
    assert "distill" not in call(own_workshop, "runs", "list").stdout


def test_no_teacher_of_an_ensemble_may_have_seen_the_test_slices(own_workshop: Path) -> None:
    teachers = ["--teacher", TEACHER, "--teacher", RUN]
    done = call(own_workshop, *DISTILL, *teachers, "--split-seed", 1, check=2)
    assert f"the teacher '{RUN}' was trained on another split" in done.stderr
    assert "distill" not in call(own_workshop, "runs", "list").stdout


def test_a_teacher_of_another_size_is_refused(own_workshop: Path) -> None:
    done = call(own_workshop, *DISTILL, "--teacher", RUN, "--size", 72, check=2)
    assert "takes slices of 64 pixels, this run 72" in done.stderr


def test_an_unknown_teacher_is_refused(workshop: Path) -> None:
    done = call(workshop, *DISTILL, "--teacher", "resnet81", check=2)
    assert "unknown teacher 'resnet81'" in done.stderr
    assert "did you mean 'resnet18'?" in done.stderr


def test_an_int8_file_is_refused_as_teacher(workshop: Path) -> None:
    done = call(workshop, *DISTILL, "--teacher", f"{RUN}/int8", check=2)
    assert f"name the net it was made from: --teacher '{RUN}/student'" in done.stderr


def test_a_repeated_teacher_and_an_unknown_method_are_refused(workshop: Path) -> None:
    done = call(workshop, *DISTILL, "--teacher", RUN, "--teacher", f"{RUN}/teacher", check=2)
    assert f"a teacher is named twice: {RUN}, {RUN}/teacher" in done.stderr
    done = call(workshop, *DISTILL, "--teacher", "resnet18", "--teacher", "", check=2)
    assert "unknown teacher ''" in done.stderr
    done = call(workshop, *DISTILL, "--teacher", RUN, "--method", "magic", check=2)
    assert "unknown method 'magic'" in done.stderr
    assert "known: attention, dist, dkd, kd, kd-mean, patient" in done.stderr


def test_several_teachers_distil_with_a_method_and_its_settings(own_workshop: Path) -> None:
    """A run's student (a teaching assistant) and a net to train; what is typed goes before what the method settles."""
    teachers = ["--teacher", f"{RUN}/student", "--teacher", "OwnModel"]
    command = [*DISTILL, *teachers, "--method", "patient", "--temperature", 3, "--name", "several"]
    done = call(own_workshop, *command)
    assert f"teacher: take over the teacher of {RUN}/student" in done.stderr
    assert "teacher-2: train ownmodel on phantom" in done.stderr
    assert "student: train ownmodel on phantom, distilled from ownmodel + ownmodel (patient)" in done.stderr
    facts = json.loads(call(own_workshop, "runs", "show", "several", "--json").stdout)
    recipe = facts["recipe"]
    assert recipe["teacher"] == ["ownmodel", "ownmodel"]
    assert (recipe["epochs"], recipe["temperature"]) == (2, 3.0)
    assert (recipe["alpha"], recipe["mixup"], recipe["patience"]) == (1.0, 1.0, 0)
    card = json.loads(call(own_workshop, "models", "card", "several").stdout)
    assert (card["stage"], card["teacher"]) == ("student", "ownmodel + ownmodel")
    rows = json.loads(call(own_workshop, "compare", "several/teacher-2", "several", "--seconds", 0, "--json").stdout)
    assert [row["name"] for row in rows["rows"]] == ["several/teacher-2", "several/student"]
    assert rows["rows"][1]["difference"] is not None
    assert "resuming the run 'several'" in call(own_workshop, *command).stderr


@pytest.mark.long
def test_a_distillation_killed_in_its_second_epoch_resumes_to_the_same_student(workshop: Path, tmp_path: Path) -> None:
    """Two teachers, mixed slices, `kill -9` in the second epoch: it ends as an unbroken run does."""
    for name in ("data", "runs"):
        shutil.copytree(workshop / name, tmp_path / name)
    teachers = ["--teacher", RUN, "--teacher", f"{RUN}/base"]
    command = [*DISTILL, *teachers, "--method", "dkd", "--mixup", "0.4", "--epochs", "4", "--patience", "0"]
    call(tmp_path, *command, "--name", "whole")
    events = tmp_path / "runs" / "broken" / "events.jsonl"
    with subprocess.Popen(
        [LUNGCLI, *command, "--name", "broken"],
        env=environment(tmp_path),
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    ) as process:
        deadline = time.monotonic() + 120
        while not (events.exists() and events.read_text().count("batch-done") >= 5):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert not (events.parent / "student" / "model.onnx").exists()
    call(tmp_path, "runs", "resume", "broken")
    whole, broken = (
        (
            (tmp_path / "runs" / run / "student" / "best.safetensors").read_bytes(),
            [
                (epoch["epoch"], epoch["loss"], epoch["validation_loss"])
                for epoch in json.loads(call(tmp_path, "runs", "show", run, "--json").stdout)["epochs"]
            ],
        )
        for run in ("whole", "broken")
    )
    assert broken == whole
    assert len(whole[1]) == 4
