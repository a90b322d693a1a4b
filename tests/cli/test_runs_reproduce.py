"""`lungcli runs reproduce` as typed."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import RUN, call

pytestmark = pytest.mark.long


def test_every_stage_comes_out_the_same_and_a_change_is_seen(own_workshop: Path) -> None:
    done = call(own_workshop, "runs", "reproduce", RUN)
    assert f"the same weights, bit for bit: {RUN}-again repeats {RUN}" in done.stderr
    assert [line.split()[:4] for line in done.stdout.splitlines()[1:]] == [
        ["teacher", "the", "same", "the"],
        ["base", "the", "same", "the"],
        ["student", "the", "same", "the"],
        ["int8", "–", "the", "same"],
    ]
    weights = own_workshop / "runs" / RUN / "student" / "best.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\xff")
    info = own_workshop / "runs" / RUN / "run.json"
    info.write_text(json.dumps(json.loads(info.read_text()) | {"cpu": "Other 1"}))

    done = call(own_workshop, "runs", "reproduce", RUN, "--json", check=1)

    document = json.loads(done.stdout)
    assert [stage["weights"] for stage in document["stages"]] == [True, True, False, None]
    assert "is finished already" in done.stderr
    assert f"error: {RUN}-again does not repeat {RUN}: student: weights" in done.stderr
    assert "different surroundings: processor: Other 1, now" in done.stderr


def test_an_unknown_run_suggests_the_nearest(workshop: Path) -> None:
    assert "lungcli runs list" in call(workshop, "runs", "reproduce", "nothing", check=2).stderr
