"""The main job as typed: every stage, the table, the gate, going on after a stop."""

import hashlib
import json
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.cli.conftest import COMPRESS, LUNGCLI, RUN, SMALL, TEACHER, Done, call, draw_phantoms, environment

pytestmark = pytest.mark.long

TRAIN = ["train", "--model", "ownmodel", "--data", "phantom", *SMALL, "--epochs", "8", "--patience", "0"]


def test_compress_reports_its_stages_and_ends_with_the_table(made: tuple[Path, Done]) -> None:
    home, done = made
    for stage in ("teacher", "base", "student", "int8"):
        assert f"{stage}: " in done.stderr
        assert (home / "runs" / RUN / stage / "model.onnx").is_file()
    for title in ("size", "p50", "balanced", "malignant", "to baseline"):
        assert title in done.stdout
    assert "layers run on integers" in done.stderr
    assert "distillation check passed: student minus teacher is " in done.stderr
    assert "quantization check passed: int8 minus student is " in done.stderr
    assert "synthetic data" in done.stderr


def test_compress_repeats_no_finished_stage(own_workshop: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (own_workshop / "runs" / RUN).glob("*/model.onnx")}
    done = call(own_workshop, *COMPRESS)
    assert f"resuming the run '{RUN}'" in done.stderr
    assert "epoch  " not in done.stderr
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_the_gate_fails_with_its_own_code(own_workshop: Path) -> None:
    """A teacher that was always right cannot be followed within 0.02."""
    run = own_workshop / "runs" / RUN
    recipe = run / "recipe.toml"
    recipe.write_text(recipe.read_text().replace("max_drop = 1.0", "max_drop = 0.02"))
    path = run / "teacher" / "evaluation.json"
    perfect = json.loads(path.read_text())
    perfect["probabilities"] = [[float(k == label) for k in range(3)] for label in perfect["labels"]]
    path.write_text(json.dumps(perfect))
    done = call(own_workshop, *COMPRESS[:-1], "0.02", check=5)
    assert "distillation check failed: student minus teacher is -" in done.stderr
    assert "quantization check passed: int8 minus student is " in done.stderr
    assert "error: gate not met: distillation; the files are kept" in done.stderr
    assert json.loads(call(own_workshop, "models", "card", RUN).stdout)["failed_checks"] == ["distillation"]


def test_a_finished_run_is_not_resumed_and_an_unfinished_one_not_offered(own_workshop: Path) -> None:
    done = call(own_workshop, "runs", "resume", RUN)
    assert done.stderr == f"the run '{RUN}' is finished already, so nothing was done\n"
    info = own_workshop / "runs" / RUN / "run.json"
    info.write_text(info.read_text().replace('"done"', '"failed"'))
    for command in (["predict", "-m", "compress", "x.png"], ["distill", "-t", "compress", "-s", "ownmodel"]):
        assert RUN not in call(own_workshop, *command, check=2).stderr


def test_a_model_that_nobody_should_use_is_warned_about(own_workshop: Path, slices: list[Path]) -> None:
    """Two epochs teach nothing, and a failed check is remembered."""
    done = call(own_workshop, *COMPRESS)
    assert f"warning: {RUN} is not shown to be better than chance" in done.stderr
    assert "next: train it longer or on more slices, as in --epochs 6" in done.stderr
    assert (
        f"{RUN}/int8: is not shown to be better than chance"
        in call(own_workshop, "predict", "-m", RUN, slices[0]).stderr
    )


def test_figures_are_in_the_model_file(workshop: Path) -> None:
    card = json.loads(call(workshop, "models", "card", RUN).stdout)
    assert card["precision"] == "int8"
    assert card["stage"] == "int8"
    assert card["teacher"] == TEACHER
    assert card["int8"]["int8_nodes"] == card["int8"]["nodes"] == 6
    assert card["figures"]["part"] == "test"
    assert set(card["figures"]["estimates"]["balanced_accuracy"]) == {"value", "low", "high"}
    assert card["data"]["synthetic"] is True
    assert card["split"]["protocol"] == "grouped"
    assert card["versions"]["lungcli"]


def digest(home: Path, run: str) -> str:
    return hashlib.sha256((home / "runs" / run / "train" / "best.safetensors").read_bytes()).hexdigest()


@pytest.fixture(scope="session")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Digest of the weights of a training that nobody stopped."""
    home = tmp_path_factory.mktemp("unbroken")
    draw_phantoms(home, "--slices", 72)
    call(home, *TRAIN, "--name", "unbroken", "--seed", "7")
    return digest(home, "unbroken")


@pytest.mark.parametrize(
    "stop",
    [signal.SIGINT, *(pytest.param(each, marks=pytest.mark.long) for each in (signal.SIGTERM, signal.SIGKILL))],
    ids=lambda stop: stop.name,
)
def test_an_interrupted_compression_resumes_to_the_same_weights(
    unbroken: str, tmp_path: Path, stop: signal.Signals
) -> None:
    home, name = tmp_path, f"broken {stop.name}"
    draw_phantoms(home, "--slices", 72)
    command = [*TRAIN, "--name", name, "--seed", "7"]
    with subprocess.Popen(
        [LUNGCLI, *command], env=environment(home), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        events = home / "runs" / name / "events.jsonl"
        deadline = time.monotonic() + 60
        while not (events.exists() and events.read_text().count("batch-done") >= 8):
            assert time.monotonic() < deadline
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        process.send_signal(stop)
        _, output = process.communicate(timeout=60)
    if stop is signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == 130, output
        assert f"to continue: lungcli runs resume '{name}'" in output
    assert not (home / "runs" / name / "train" / "model.onnx").exists()
    listed = json.loads(call(home, "runs", "list", "--json").stdout)["runs"]
    assert [(item["name"], item["state"]) for item in listed] == [(name, "stopped")]
    call(home, "runs", "resume", name)
    assert digest(home, name) == unbroken


def test_runs_are_listed_shown_and_removed(own_workshop: Path) -> None:
    assert RUN in call(own_workshop, "runs", "list").stdout
    shown = call(own_workshop, "runs", "show", RUN).stdout
    assert "epoch   2/2" in shown
    facts = json.loads(call(own_workshop, "runs", "show", RUN, "--json").stdout)
    assert facts["state"] == "done"
    assert facts["recipe"]["epochs"] == 2
    assert len(facts["epochs"]) == 6
    call(own_workshop, "runs", "remove", RUN, "--yes")
    assert RUN not in call(own_workshop, "runs", "list").stdout


def test_a_random_split_is_warned_about(own_workshop: Path) -> None:
    done = call(own_workshop, "train", "--model", "ownmodel", *SMALL, "--split", "random", "--name", "Zufall ä [1]")
    assert "figures on it are too high" in done.stderr
    compared = call(own_workshop, "compare", "Zufall ä [1]", "--seconds", 0)
    assert "random split: training has slices of the same bodies" in compared.stderr


def test_a_final_fit_learns_from_the_test_part_and_has_the_figures_of_the_run_before_it(own_workshop: Path) -> None:
    done = call(own_workshop, "compress", "--final", RUN)
    assert " and 0 test slices (the grouped split with seed 0, its test part trained on too, " in done.stderr
    assert f"evaluate: take over the figures of {RUN}" in done.stderr
    assert f"measured on {RUN}, of the same recipe without these slices" in done.stderr
    assert "check" not in done.stderr
    before, after = (json.loads(call(own_workshop, "models", "card", run).stdout) for run in (RUN, f"{RUN}-final"))
    assert after["figures"] == {**before["figures"], "of_run": RUN}
    assert after["training_slices"]["count"] == 72
    refused = call(own_workshop, "evaluate", f"{RUN}-final", check=2)
    assert "trained on the test part of 'phantom' as well, so no slices are left" in refused.stderr
    refused = call(own_workshop, "compress", "--final", RUN, "--epochs", "3", check=2)
    assert f"--final takes every setting from '{RUN}', and --epochs is another" in refused.stderr
