"""A network from elsewhere: adopting it, its int8 file beside onnxruntime alone, and what it costs as a teacher.

Run: python -m tests.benchmarks.adoption [SIDE] [SLICES] [ROUNDS]     (default: 224 pixels, 240 drawn slices, 5 rounds)
"""

import os
import random
import statistics
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch
import torchvision

from lungcli.core import runs
from lungcli.core.events import EpochDone
from lungcli.modelfile import model_file
from tests.benchmarks import machine

CALLS = 200
SAID = ("--classes", "benign,malignant,normal", "--scale", "imagenet", "--resize", "lungs", "--activation", "logits")
GOALS = {"adopt": 2.0, "int8": 1.05, "teacher": 1.3}


def main() -> None:
    """Measure and print."""
    side, slices, rounds = (int(text) for text in (*sys.argv[1:4], *("224", "240", "5")[len(sys.argv) - 1 :]))
    machine.state()
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch)
        os.environ["LUNGCLI_HOME"] = str(home / "home")
        source = exported(home / "mobilenetv2.onnx", side)
        taken = statistics.median(adopting(source, home / f"home-{number}") for number in range(rounds))
        machine.say(f"adopting a MobileNetV2 of {side} px, cold: {taken:.2f} s (goal {GOALS['adopt']} s)")
        lungcli("models", "adopt", source, "--name", "mine", *SAID)
        lungcli("data", "phantom", "--slices", slices)
        lungcli("quantize", "mine", "--calibrate-on", home / "home" / "data" / "phantom" / "slices")
        ratio, same_threads = beside_onnxruntime(home / "home" / "models" / "mine.int8.onnx", rounds)
        machine.say(f"its int8 file through lungcli ÷ onnxruntime alone: {ratio:.3f} (goal {GOALS['int8']})")
        machine.say(f"  where its threads do not spin between slices either: {same_threads:.3f}")
        ratio = as_teacher(home, side, rounds)
        machine.say(f"an epoch with it as teacher ÷ with the same net in torch: {ratio:.2f} (goal {GOALS['teacher']})")


def lungcli(*arguments: object, home: Path | None = None) -> None:
    """Run the command; it must end well."""
    environment = os.environ | ({"LUNGCLI_HOME": str(home)} if home else {})
    command = [sys.executable, "-m", "lungcli", *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    # A check that fails at chance level is no matter here.
    if done.returncode not in (0, 5):
        raise SystemExit(done.stderr)


def exported(to: Path, side: int) -> Path:
    """Write a MobileNetV2 of torchvision as torch does."""
    net = torchvision.models.mobilenet_v2(weights=None, num_classes=3).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(net, (torch.zeros(1, 3, side, side),), to, dynamo=False)
    return to


def adopting(source: Path, home: Path) -> float:
    """Seconds that the command takes in a new home, to which the file is unknown."""
    return machine.seconds(lambda: lungcli("models", "adopt", source, "--name", "mine", *SAID, home=home))


def beside_onnxruntime(file: Path, rounds: int) -> tuple[float, float]:
    """Time of a slice through lungcli over that of the runtime alone on the same file, as it comes and set as ours."""
    model = model_file.load(file)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = model.threads
    alone, set_as_ours = (
        onnxruntime.InferenceSession(str(file), chosen, providers=["CPUExecutionProvider"])
        for chosen in (options, model_file.session_options(model.threads))
    )
    slices = np.random.default_rng(0).integers(0, 256, (1, model.card.size, model.card.size), dtype=np.uint8)

    feeds = {"slice": slices[:, None]}
    calls: tuple[Callable[[], object], ...] = (
        lambda: model.logits(slices),
        lambda: alone.run(["logits"], feeds),
        lambda: set_as_ours.run(["logits"], feeds),
    )
    taken: dict[Callable[[], object], list[float]] = {call: [] for call in calls}
    for _ in range(4 * rounds):
        # What ran just before counts: its threads spin on, and the caches are its.
        for call in random.sample(calls, len(calls)):
            taken[call].append(turn(call))
    ours, first, second = map(statistics.median, taken.values())
    return ours / first, ours / second


def turn(call: Callable[[], object]) -> float:
    """Median seconds of a call, after some that do not count: threads of another session may still be spinning."""
    return statistics.median([machine.seconds(call) for _ in range(CALLS)][CALLS // 4 :])


def as_teacher(home: Path, side: int, rounds: int) -> float:
    """Time of an epoch that is distilled from a model file over that of one from the same net in torch, in turns."""
    usual = ("--size", side, "--epochs", 1, "--data", "phantom", "--device", "cpu")
    lungcli("train", "--model", "mobilenetv2", *usual, "--name", "teacher")
    lungcli("export", "teacher", "--output", home / "teacher.onnx")
    lungcli("models", "adopt", home / "teacher.onnx", "--name", "adopted-teacher")
    rates: dict[str, list[float]] = {"teacher": [], "adopted-teacher": []}
    for number in range(rounds):
        for teacher, seen in rates.items():
            name = f"of-{teacher}-{number}"
            lungcli("distill", "-t", teacher, "-s", "shufflenetv2", *usual, "--seed", number, "--name", name)
            epochs = [event for event in runs.events(runs.load(name)) if isinstance(event, EpochDone)]
            seen.append(epochs[-1].images_per_second)
    return statistics.median(rates["teacher"]) / statistics.median(rates["adopted-teacher"])


if __name__ == "__main__":
    main()
