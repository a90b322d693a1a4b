"""All folds as typed: stopped in the second, gone on with, and pooled."""

import json
import signal
import subprocess
import time
from pathlib import Path

import msgspec
import pytest

from lungcli.cli import cross_validation as folds
from lungcli.core.errors import GateNotMetError
from lungcli.core.runs import Run
from lungcli.pipeline import cross_validation
from tests.cli.conftest import LUNGCLI, SMALL, call, draw_phantoms, environment
from tests.pipeline.test_cross_validation import compressed

pytestmark = pytest.mark.long

TRAIN = ["train", "--model", "ownmodel", *SMALL, "--epochs", "1", "--folds", "3", "--name", "cv"]


def test_an_interrupted_fold_is_resumed_by_the_same_command(tmp_path: Path) -> None:
    draw_phantoms(tmp_path, "--slices", 72)
    first, second = (tmp_path / "runs" / f"cv-fold{number}" for number in (1, 2))
    with subprocess.Popen(
        [LUNGCLI, *TRAIN], env=environment(tmp_path), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        deadline = time.monotonic() + 120
        while not (second / "events.jsonl").exists():
            assert time.monotonic() < deadline
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, output = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "fold 1 of 3: balanced accuracy train 0." in output
    assert "run the same command again: finished folds are skipped" in output
    before = (first / "train" / "model.onnx").stat().st_mtime_ns

    done = call(tmp_path, *TRAIN)

    assert "3 folds, one run each: cv-fold1 to cv-fold3; 1 finished already" in done.stderr
    assert "run cv-fold1:" not in done.stderr
    assert (first / "train" / "model.onnx").stat().st_mtime_ns == before
    assert "all 3 folds" in done.stdout
    assert "over folds" in done.stdout
    assert "evaluated on 72 slices of" in done.stderr
    assert "synthetic data" in done.stderr
    listed = json.loads(call(tmp_path, "runs", "list", "--json").stdout)["runs"]
    assert [(run["name"], run["state"]) for run in listed] == [(f"cv-fold{i}", "done") for i in (1, 2, 3)]


def test_impossible_folds_start_no_run(workshop: Path) -> None:
    for count, why in ((2, "2 folds are not possible"), (19, "and 19 folds need at least 19"), (-1, "folds is -1")):
        done = call(workshop, "train", "--model", "ownmodel", *SMALL, "--folds", count, "--name", "none", check=2)
        assert why in done.stderr
    assert "none-fold" not in call(workshop, "runs", "list").stdout


def finished(number: int, int8: str) -> Run:
    run = compressed(number, int8)
    return msgspec.structs.replace(run, info=msgspec.structs.replace(run.info, state="done"))


GOLDEN = """\
all 2 folds
teacher base student int8
balanced 1.000 0.333 1.000 0.833
accuracy [1.000, 1.000] [.000, .500] [1.000, 1.000] [.500, 1.000]
over folds 1.000 ±.000 0.333 ±.000 1.000 ±.000 0.833 ±.236
[1.000, 1.000] [.333, .333] [1.000, 1.000] [.667, 1.000]
"""


@pytest.fixture
def pooled(monkeypatch: pytest.MonkeyPatch) -> list[Run]:
    """Two folds that lose .333 and nothing."""
    runs = [finished(1, "bbmmbb"), finished(2, "bbmmnn")]
    monkeypatch.setattr(cross_validation, "start", lambda *_: runs)
    return runs


@pytest.mark.usefixtures("narrow")
def test_the_table_and_the_gate_are_of_all_folds(pooled: list[Run], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(GateNotMetError, match="gate not met: quantization"):
        folds.run_folds("compress", [run.recipe for run in pooled], "cv")
    shown = capsys.readouterr()
    lines = [" ".join(line.split()) for line in shown.out.splitlines()]
    assert max(len(line.rstrip()) for line in shown.out.splitlines()) <= 80
    assert lines[:6] == GOLDEN.splitlines()
    assert [line.split()[:2] for line in lines if line.startswith(("to ", "p "))] == [
        ["to", "teacher"],
        ["p", "bootstrap"],
        ["p", "McNemar"],
        ["to", "base"],
        ["p", "bootstrap"],
        ["p", "McNemar"],
    ]
    assert "evaluated on 12 slices of 6 near-duplicate groups, " in shown.err
    assert "treats slices as independent" in shown.err
    assert "distillation check passed: student minus teacher is +0.000" in shown.err
    assert "quantization check failed: int8 minus student is -0.167" in shown.err


def test_each_institution_is_left_out_once(home: Path) -> None:
    for name, seed in (("north", 1), ("south", 2)):
        draw_phantoms(home, "--slices", 45, "--seed", seed, "--name", name)

    done = call(
        home, "train", "--model", "ownmodel", *SMALL, "--epochs", "1", "--data", "south", "--data", "north",
        "--protocol", "institution", "--name", "cv",
    )  # fmt: skip

    assert "south, north are combined as 'north+south'" in done.stderr
    assert "2 folds, one run each: cv-fold1 to cv-fold2" in done.stderr
    assert "fold 2 of 2, without south: balanced accuracy" in done.stderr
    assert "train by institution, the worst first" in done.stdout
    rows = [line.split()[:3] for line in done.stdout.splitlines() if line.startswith(("north ", "south "))]
    assert sorted(row[:2] for row in rows) == [["north", "45"], ["south", "45"]]
    assert "each institution was tested by the models that were trained and chosen without it" in done.stderr
    again = call(home, "evaluate", "cv")
    assert "train by institution, the worst first" in again.stdout
    pooled = json.loads(call(home, "evaluate", "cv", "--json").stdout)
    assert len(pooled["stages"][0]["institutions"]) == 2
    assert "cv has 2 folds, each with models of its own" in call(home, "evaluate", "cv", "--stress", check=2).stderr
    split = call(home, "data", "split", "north+south", "--protocol", "institution")
    assert "test (south)" in split.stdout
    assert "no tested institution in another" in split.stderr


def test_a_single_institution_cannot_be_left_out(workshop: Path) -> None:
    done = call(workshop, "train", "--model", "ownmodel", *SMALL, "--protocol", "institution", check=2)

    assert "leaving one institution out takes 2 to 20 of them, and 'phantom' has 1" in done.stderr
    assert "lungcli data combine A B --name AB" in done.stderr
