"""`lungcli distill` as typed: a teacher from another run, and one that must be refused."""

import json
from pathlib import Path

from tests.cli.conftest import RUN, SMALL, call

DISTILL = ["distill", "--student", "ownmodel", *SMALL]


def test_a_trained_teacher_is_taken_over(own_workshop: Path) -> None:
    done = call(own_workshop, *DISTILL, "--teacher", RUN, "--name", "from run")
    assert f"take over the teacher of {RUN}" in done.stderr
    ours, theirs = (own_workshop / "runs" / run / "teacher" / "best.safetensors" for run in ("from run", RUN))
    assert ours.read_bytes() == theirs.read_bytes()
    card = json.loads(call(own_workshop, "models", "card", "from run").stdout)
    assert (card["stage"], card["teacher"]) == ("student", "shufflenetv2-x0.5")


def test_a_compression_with_a_trained_teacher_reaches_the_gate(own_workshop: Path) -> None:
    command = ["compress", "--student", "ownmodel", *SMALL, "--teacher", RUN, "--max-drop", "1", "--name", "again"]
    assert "gate met" in call(own_workshop, *command).stderr
    teachers = [own_workshop / "runs" / run / "teacher" / "evaluation.json" for run in (RUN, "again")]
    assert teachers[0].read_bytes() == teachers[1].read_bytes()


def test_a_teacher_of_another_split_is_refused(own_workshop: Path) -> None:
    """It may know the test slices, and would pass on what it knows."""
    done = call(own_workshop, *DISTILL, "--teacher", RUN, "--split-seed", 1, check=2)
    assert "was trained on another split" in done.stderr
    assert "it may know the test slices" in done.stderr
    assert "distill" not in call(own_workshop, "runs", "list").stdout


def test_a_teacher_of_another_size_is_refused(own_workshop: Path) -> None:
    done = call(own_workshop, *DISTILL, "--teacher", RUN, "--size", 72, check=2)
    assert "takes slices of 64 pixels, this run 72" in done.stderr


def test_an_unknown_teacher(workshop: Path) -> None:
    done = call(workshop, *DISTILL, "--teacher", "resnet81", check=2)
    assert "unknown teacher 'resnet81'" in done.stderr
    assert "did you mean 'resnet18'?" in done.stderr
