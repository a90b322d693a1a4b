"""Pruning as typed: a stage of its own, in the table and in the card, and the same after `kill -9`."""

import hashlib
import json
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.cli.conftest import LUNGCLI, RUN, SMALL, Done, call, environment

pytestmark = pytest.mark.long

PRUNE = ["compress", "--student", "ownmodel", "--teacher", RUN, *SMALL, "--prune", "0.5", "--max-drop", "1"]
NAME = "pruned by half"


STAGES = ("teacher", "base", "pruned", "student", "int8")


@pytest.fixture(scope="module")
def done(made: tuple[Path, Done]) -> tuple[Path, Done]:
    """The home with a finished pruning, and what it said."""
    return made[0], call(made[0], *PRUNE, "--name", NAME)


def test_the_pruned_net_is_a_stage_and_the_student_starts_from_it(done: tuple[Path, Done]) -> None:
    home, said = done
    assert "pruned: cut 50% of the base student's channels" in said.stderr
    assert "pruned: done, 0.23 → 0.06 M parameters" in said.stderr
    assert "layers run on integers" in said.stderr
    lines = said.stdout.splitlines()
    assert lines[0].strip() == NAME
    rows = [line.split()[0] for line in lines if line.strip()]
    assert " ".join(STAGES) in " ".join(row for row in rows if row in STAGES)
    cards = {
        stage: json.loads(call(home, "models", "card", f"{NAME}/{stage}").stdout)
        for stage in ("base", "pruned", "student", "int8")
    }
    assert cards["base"]["pruning"] is None
    cut = cards["pruned"]["pruning"]
    assert cut["share"] == 0.5
    assert cut["parameters_before"] == cards["base"]["parameters"]
    assert cut["parameters"] == cards["student"]["parameters"] < 0.5 * cut["parameters_before"]
    assert cut["multiply_adds"] < 0.5 * cut["multiply_adds_before"]
    assert cards["student"]["pruning"] == cards["int8"]["pruning"] == cut


def test_a_pruned_student_predicts_and_can_be_a_teacher(done: tuple[Path, Done], slices: list[Path]) -> None:
    home, _ = done
    judged = call(home, "predict", "--model", NAME, "--force", "--jsonl", *slices)
    assert [json.loads(line)["kind"] for line in judged.stdout.splitlines()] == ["prediction"] * len(slices)
    call(home, "distill", "--teacher", f"{NAME}/student", "--student", "ownmodel", *SMALL, "--epochs", "1")


def digest(home: Path, run: str) -> str:
    return hashlib.sha256((home / "runs" / run / "student" / "best.safetensors").read_bytes()).hexdigest()


@pytest.mark.long
def test_a_compression_killed_while_training_its_pruned_student_resumes(done: tuple[Path, Done]) -> None:
    home, _ = done
    command = [*PRUNE, "--name", "killed"]
    with subprocess.Popen(
        [LUNGCLI, *command], env=environment(home), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        events = home / "runs" / "killed" / "events.jsonl"
        deadline = time.monotonic() + 600
        while not (events.exists() and '"epoch-done","stage":"student"' in _compact(events)):
            assert time.monotonic() < deadline
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=60)
    assert not (home / "runs" / "killed" / "student" / "model.onnx").exists()
    call(home, "runs", "resume", "killed")
    assert digest(home, "killed") == digest(home, NAME)


def _compact(events: Path) -> str:
    """The kinds and stages of all events, as they would be written if they had nothing else."""
    lines = [json.loads(line) for line in events.read_text().splitlines() if line.endswith("}")]
    return " ".join(f'"{line["type"]}","stage":"{line.get("stage", "")}"' for line in lines)


def test_a_net_that_shuffles_its_channels_is_refused_at_once(workshop: Path) -> None:
    done = call(workshop, "compress", "--student", "shufflenetv2", "--prune", "0.5", *SMALL, check=2)
    assert "error: shufflenetv2 cannot be pruned" in done.stderr
    done = call(workshop, "compress", "--student", "ownmodel", "--prune", "95", *SMALL, check=2)
    assert "prune is 95.0, outside 0 to 0.9" in done.stderr
