"""Distributed training of two gloo processes: their numbers, signals and failures."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import msgspec
import numpy as np
import psutil
import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

import lungcli
from lungcli.core import recipe as recipes
from lungcli.core.errors import UsageError
from lungcli.core.events import BatchDone, EpochDone, Event
from lungcli.core.recipe import Recipe
from lungcli.training import checkpoint, distributed, loop, nets, torchrun
from lungcli.training.distributed import ProcessGroup
from lungcli.training.losses import criteria
from tests.cli.conftest import LUNGCLI, call, draw_phantoms, environment
from tests.training.test_loop import material

# One process of pytest, so that what the tests share is trained once.
pytestmark = [pytest.mark.xdist_group("ranks"), pytest.mark.long]

RECIPE = recipes.make(
    data="d",
    model="ownmodel",
    size=64,
    epochs=2,
    batch=8,
    micro_batch=4,
    device="cpu",
    precision="float32",
    threads=1,
    warmup=0.5,
)
NORMALISED = msgspec.structs.replace(RECIPE, model="shufflenetv2-x0.5", epochs=1)
# Batches have seven slices: micro-batches of 4 and 3, one per rank, or of 3, 3 and 1, two of them for the second rank.
# A sum of three depends on its order, and early steps of AdamW are as long for a gradient of pure rounding as for any
# other, so there the rate is tiny: losses and running statistics are then those of nearly one net.
RECIPES = {
    "plain": RECIPE,
    "normalised": NORMALISED,
    "in-threes": msgspec.structs.replace(NORMALISED, micro_batch=3, learning_rate=1e-6),
}
# Largest difference of losses and weights of two ranks from those of one.
TOLERANCE = {"plain": 0.0, "normalised": 1e-5, "in-threes": 5e-3}

EXAMPLES = Path(lungcli.__file__).parent / "bundled" / "examples"
TRAIN = ["train", "--model", "ownmodel", "--data", "phantom", "--size", "64", "--batch", "8", "--patience", "0"]
ALIKE = ["--epochs", "6", "--precision", "float32", "--device", "cpu", "--threads", "1", "--micro-batch", "4"]


def train(folder: Path, recipe: Recipe) -> list[Event]:
    found = material()
    torch.manual_seed(recipe.seed)
    net = nets.build(recipe.model, 3, recipe.size)
    criterion = criteria.label_loss(recipe, torch.from_numpy(found.labels[found.train]), 3)
    return list(loop.train("train", net, criterion, recipe, found, folder))


def figures(events: list[Event]) -> list[tuple[float, float]]:
    """Losses of all steps, and those of the validation part."""
    return [
        (event.loss, getattr(event, "validation_loss", 0.0))
        for event in events
        if isinstance(event, BatchDone | EpochDone)
    ]


@given(st.integers(1, 300), st.integers(0, 80), st.integers(1, 9))
def test_every_slice_of_a_batch_belongs_to_one_rank_in_order(count: int, at_a_time: int, size: int) -> None:
    if count < size:
        with pytest.raises(UsageError, match="can't be shared"):
            distributed.shard_slices(count, at_a_time, 0, size)
        return
    each = [distributed.shard_slices(count, at_a_time, rank, size) for rank in range(size)]
    assert all(each)
    rows = [row for parts in each for part in parts for row in range(count)[part]]
    assert rows == list(range(count))


@given(st.integers(1, 300), st.integers(1, 80), st.integers(1, 9))
def test_micro_batches_are_the_same_for_any_number_of_ranks(count: int, at_a_time: int, size: int) -> None:
    alone = distributed.shard_slices(count, at_a_time, 0, 1)
    if len(alone) >= size:
        shared = [part for rank in range(size) for part in distributed.shard_slices(count, at_a_time, rank, size)]
        assert shared == alone


def test_a_single_process_shares_nothing() -> None:
    net = torch.nn.Linear(1, 1)
    assert distributed.process_group().size == 1
    assert distributed.distributed_data_parallel(net, torch.device("cpu"), 0, (0, 0)) is net
    assert distributed.micro_batch(32, torch.device("cpu")) == 0
    assert list(distributed.shard_range(range(0, 130, 64))) == [0, 64, 128]


@pytest.mark.parametrize(("batch", "size", "part"), [(32, 1, 0), (32, 2, 16), (33, 2, 17), (32, 3, 11), (2, 2, 1)])
def test_a_recipe_for_several_cpu_ranks_has_one_micro_batch_for_each(batch: int, size: int, part: int) -> None:
    with mock.patch.object(distributed, "process_group", return_value=ProcessGroup(size=size)):
        assert distributed.micro_batch(batch, torch.device("cpu")) == part
        assert distributed.micro_batch(batch, torch.device("cuda")) == 0
        # Then each rank has one part of the batch, and they differ by a slice at most.
        parts = [distributed.shard_slices(batch, part, rank, size) for rank in range(size)]
        assert [len(own) for own in parts] == [1] * size


@given(st.integers(0, 1000), st.integers(1, 9))
def test_evaluation_drops_no_slice_and_doubles_none(count: int, size: int) -> None:
    starts = range(0, count, 64)
    met: list[int] = []
    for rank in range(size):
        with mock.patch.object(distributed, "process_group", lambda rank=rank: ProcessGroup(rank=rank, size=size)):
            met += distributed.shard_range(starts)
    assert met == list(starts)


@pytest.fixture(scope="session")
def by_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder that `together` has left, run by two ranks; rank 1 had the folder `worker` in it for its own."""
    folder = tmp_path_factory.mktemp("two")
    asked = os.environ | {"PYTHONPATH": str(Path(lungcli.__file__).parents[1])}
    command = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "tests.training.together"]
    subprocess.run([sys.executable, "-m", *command, folder], env=asked, check=True, timeout=400)
    return folder


def test_two_ranks_equal_one_rank_with_both_micro_batches(by_two: Path, tmp_path: Path) -> None:
    """Bit for bit without batch normalisation; with it, running statistics are composed in another order of sums."""
    for name, recipe in RECIPES.items():
        expected = figures(train(tmp_path / "alone" / name, recipe))
        found = json.loads((by_two / name / "figures.json").read_bytes())
        ours, theirs = (load_file(home / name / "best.safetensors") for home in (by_two, tmp_path / "alone"))
        assert ours.keys() == theirs.keys()
        apart = max(float((ours[key] - theirs[key]).abs().max()) for key in ours)
        print(f"{name}: weights {apart:.1e}, figures {np.abs(np.array(found) - np.array(expected)).max():.1e}")
        np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE[name])
        assert apart <= TOLERANCE[name]


def test_only_rank_0_writes(by_two: Path) -> None:
    """Each rank had a folder of its own to train in."""
    kept = {loop.BEST, checkpoint.EPOCH_CHECKPOINT, "figures.json"}
    for name in RECIPES:
        assert {path.name for path in (by_two / name).iterdir()} == kept
    assert not [path for path in (by_two / "worker").rglob("*") if path.is_file()]


def test_a_failure_of_a_worker_is_reported_by_rank_0(by_two: Path) -> None:
    told = json.loads((by_two / "failed.json").read_text())
    assert told == ["LungcliError", "device 1: there is no data set 'd'", "import it here too"]


@pytest.fixture(scope="session")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a data set and a run of one process."""
    home = tmp_path_factory.mktemp("alone")
    draw_phantoms(home, "--slices", 72)
    call(home, *TRAIN, *ALIKE, "--name", "run")
    return home


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A home with the same data set, and what is known of nets."""
    draw_phantoms(tmp_path, "--slices", 72)
    return tmp_path


def weights(home: Path) -> bytes:
    return (home / "runs" / "run" / "train" / "best.safetensors").read_bytes()


def happened(home: Path) -> list[str]:
    path = home / "runs" / "run" / "events.jsonl"
    return [json.loads(line)["type"] for line in path.read_text().splitlines()] if path.exists() else []


def started(home: Path, *more: str) -> "subprocess.Popen[str]":
    """Start the training on two devices and wait until it is amid its second epoch."""
    command: list[str | Path] = [LUNGCLI, *TRAIN, *ALIKE, "--name", "run", "--devices", "2", *more]
    process = subprocess.Popen(
        command, env=environment(home), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait(lambda: "epoch-done" in happened(home) or process.poll() is not None)
    assert process.poll() is None, process.communicate()
    return process


def wait(until: Callable[[], bool], seconds: float = 400) -> None:
    deadline = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def workers(process: "subprocess.Popen[str]") -> list[psutil.Process]:
    """Both ranks, in order."""
    return sorted(psutil.Process(process.pid).children(recursive=True), key=lambda each: each.environ()["RANK"])


@pytest.mark.parametrize("rank", [pytest.param(0, marks=pytest.mark.long), 1])
def test_a_killed_rank_restarts_all_from_the_checkpoint(alone: Path, own: Path, rank: int) -> None:
    process = started(own)
    there = workers(process)
    assert len(there) == 2
    there[rank].kill()
    _, said = process.communicate(timeout=400)
    assert process.returncode == 0, said
    assert "restart 1" in said
    assert "Traceback" not in said
    assert weights(own) == weights(alone)
    kinds = happened(own)
    assert kinds.count("run-started") == 2
    assert kinds[-1] == "run-done"
    assert not any(each.is_running() for each in there)


@pytest.mark.long
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM], ids=lambda stop: stop.name)
def test_a_signal_saves_and_one_process_resumes(alone: Path, own: Path, stop: signal.Signals) -> None:
    process = started(own)
    there = workers(process)
    process.send_signal(stop)
    _, said = process.communicate(timeout=400)
    assert process.returncode == 130, said
    assert "to continue: lungcli runs resume 'run'" in said
    assert "Traceback" not in said
    assert not any(each.is_running() for each in there)
    assert happened(own)[-1] == "run-stopped"
    more = ["--devices", "2"] if stop is signal.SIGTERM else []
    call(own, "runs", "resume", "run", *more)
    assert weights(own) == weights(alone)


@pytest.mark.long
def test_no_rank_outlives_its_launcher(own: Path) -> None:
    process = started(own)
    there = workers(process)
    process.kill()
    process.communicate()
    psutil.wait_procs(there, timeout=120)
    assert not any(each.is_running() for each in there)


TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "lungcli"]


@pytest.mark.long
def test_torchrun_around_the_command_is_the_same_training(alone: Path, own: Path) -> None:
    done = subprocess.run(
        [*TORCHRUN, *TRAIN, *ALIKE, "--name", "run"],
        env=environment(own),
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert weights(own) == weights(alone)
    assert happened(own).count("run-started") == 1
    assert (done.stdout + done.stderr).count("model file: ") == 1


LAUNCH = """
import sys
from lungcli.core.errors import LungcliError
from lungcli.training import torchrun
try:
    torchrun.launch(2, sys.argv[1:], restarts=0)
except LungcliError as error:
    print(error.message, error.hint, sep="\\n")
"""


@pytest.mark.long
@pytest.mark.parametrize("rank", [0, 1])
def test_a_device_that_fails_after_all_restarts_is_named(own: Path, rank: int) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", LAUNCH, *TRAIN, *ALIKE, "--name", "run"],
        env=environment(own),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait(lambda: "epoch-done" in happened(own) or process.poll() is not None)
    there = workers(process)
    there[rank].kill()
    told, said = process.communicate(timeout=400)
    assert process.returncode == 0, said
    assert told.splitlines()[-2:] == [
        f"device {rank} failed (exit code -9), also after 0 restarts",
        "the last checkpoint is kept: lungcli runs list names the run, lungcli runs resume RUN goes on",
    ]
    assert not any(each.is_running() for each in there)


def test_an_error_is_one_line_and_ends_all_ranks(own: Path) -> None:
    victim = next((own / "data" / "phantom" / "slices").rglob("*.png"))
    victim.unlink()
    done = call(own, *TRAIN, *ALIKE, "--devices", "2", check=4)
    assert done.stderr.count("error: ") == 1
    assert "Traceback" not in done.stderr
    assert "restart" not in done.stderr


def test_devices_that_are_not_there_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    torchrun.require_devices(2, "auto")
    torchrun.require_devices(8, "cpu")
    with pytest.raises(UsageError, match="has 2 GPUs, not 4"):
        torchrun.require_devices(4, "cuda")
    with pytest.raises(UsageError, match="is a single one"):
        torchrun.require_devices(2, "cuda:1")


def test_the_slurm_example_is_sound() -> None:
    path = EXAMPLES / "slurm.sh"
    subprocess.run(["bash", "-n", path], check=True)
    text = path.read_text()
    assert text.startswith("#!/bin/bash\n")
    for option in ("--nodes=", "--ntasks-per-node=1", "--gpus-per-node=", "--signal=TERM@"):
        assert f"#SBATCH {option}" in text
    assert_torchrun_takes(text[text.index("torch.distributed.run") :].replace("\\\n", "").split()[1:])


def test_the_kubernetes_example_is_sound() -> None:
    service, job = yaml.safe_load_all((EXAMPLES / "kubernetes.yaml").read_text())
    assert (service["apiVersion"], service["kind"]) == ("v1", "Service")
    assert service["spec"]["clusterIP"] == "None"
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")
    spec, pod = job["spec"], job["spec"]["template"]["spec"]
    assert spec["completionMode"] == "Indexed"
    assert spec["completions"] == spec["parallelism"] == 2
    assert pod["restartPolicy"] in ("Never", "OnFailure")
    assert pod["subdomain"] == service["metadata"]["name"]
    assert service["spec"]["selector"]["job-name"] == job["metadata"]["name"]
    (container,) = pod["containers"]
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    assert all(isinstance(each, str) for each in [*container["command"], *container["args"]])
    assert_torchrun_takes(container["args"])


def assert_torchrun_takes(arguments: list[str]) -> None:
    """Torchrun knows the options of an example, and lungcli the command and options behind them."""
    from torch.distributed.run import parse_args
    from typer.main import get_command

    from lungcli.cli.app import program

    for number in ("$SLURM_NNODES", "$SLURM_GPUS_ON_NODE"):
        arguments = [each.strip('"').replace(number, "2") for each in arguments]
    found = parse_args(arguments)  # type: ignore[no-untyped-call]
    assert found.module
    assert found.training_script == "lungcli"
    assert found.rdzv_backend == "c10d"
    name, *options = found.training_script_args
    command = get_command(program()).commands[name]  # type: ignore[attr-defined]
    command.make_context(name, list(options))
