"""Latency of the same weights in other hands: torch eager, onnxruntime alone, OpenVINO in float and, by NNCF, in int8.

Run: python -m tests.benchmarks.peers RUN     (a compression; its student and its int8 file, batch 1, two threads)

Each engine is timed in turns with the others and computes with the same number of threads. ResNet18 at 224 pixels in
eager torch is what a compression starts from. OpenVINO and NNCF are timed where they are installed (pip install
openvino nncf); what is not there is said and left out.
"""

import importlib
import importlib.util
import io
import logging
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from lungcli.modelfile import model_file, model_paths
from lungcli.training import checkpoint, loop, nets
from tests.benchmarks import machine

THREADS = 2
TURNS = 10
CALLS = 60
WARM_UP = 15
CALIBRATION = 100

Call = Callable[[], object]


def main() -> None:
    """Measure and print."""
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    student, int8 = (model_paths.resolve(f"{sys.argv[1]}/{stage}") for stage in ("student", "int8"))
    card = model_file.read_card(student)
    torch.set_num_threads(THREADS)
    rng = np.random.default_rng(0)
    slices = rng.integers(0, 256, (CALIBRATION, card.size, card.size), dtype=np.uint8)
    calls = {
        "torch eager, ResNet18 at 224 px": eager("resnet18", 224),
        f"torch eager, {card.model}": eager(card.model, card.size, student.parent / loop.BEST),
        "ours, float32": ours(student, slices),
        "onnxruntime alone, float32": alone(student, slices),
        **openvino(student, slices),
        "ours, int8": ours(int8, slices),
        "onnxruntime alone, int8": alone(int8, slices),
    }
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(TURNS):
        for name, call in calls.items():
            times[name] += milliseconds(call)
    p50 = {name: statistics.median(taken) for name, taken in times.items()}
    fastest = min(p50.values())
    machine.state()
    machine.say(f"{card.model}, {card.size} px, batch 1, {THREADS} threads, {TURNS * CALLS} calls each in turns, p50")
    for name, value in p50.items():
        p90 = float(np.percentile(times[name], 90))
        machine.say(f"{name:<34} {value:7.3f} ms  p90 {p90:7.3f} ms  {value / fastest:6.2f}× the fastest")
    size = student.stat().st_size, int8.stat().st_size
    machine.say(f"float32 {size[0] / 1e6:.2f} MB, int8 {size[1] / 1e6:.2f} MB")


def eager(name: str, size: int, weights: Path | None = None) -> Call:
    """Judge one slice in torch, without gradients."""
    net = nets.build(name, 3, size)
    if weights:
        checkpoint.load_weights(weights, net)
    net.eval()
    tensor = torch.rand(1, 1, size, size) * 255

    def call() -> object:
        with torch.inference_mode():
            return net(tensor)

    return call


def ours(path: Path, slices: NDArray[np.uint8]) -> Call:
    """Judge one slice as `lungcli predict` does once it has prepared it."""
    model = model_file.load(path, THREADS)
    return lambda: model.logits(slices[:1])


def alone(path: Path, slices: NDArray[np.uint8]) -> Call:
    """Judge one slice with the runtime as it comes."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(["logits"], {"slice": slices[:1, None]})


def openvino(path: Path, slices: NDArray[np.uint8]) -> dict[str, Call]:
    """Judge one slice with OpenVINO in float, and in int8 as NNCF quantizes the same net after training."""
    if importlib.util.find_spec("openvino") is None:
        machine.say("OpenVINO is not installed and left out: pip install openvino nncf")
        return {}
    vino = importlib.import_module("openvino")
    read = vino.Core().read_model(str(path))
    read.reshape([1, 1, *slices.shape[1:]])
    found = {"OpenVINO, float32": compiled(vino, read, slices)}
    if importlib.util.find_spec("nncf") is None:
        machine.say("NNCF is not installed, so OpenVINO's int8 is left out: pip install nncf")
        return found
    logging.disable(logging.WARNING)
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        nncf = importlib.import_module("nncf")
        data = nncf.Dataset(list(slices[:, None, None]))
        quantized = nncf.quantize(read, data, subset_size=len(slices))
    return {**found, "OpenVINO, int8 by NNCF": compiled(vino, quantized, slices)}


def compiled(vino: Any, net: Any, slices: NDArray[np.uint8]) -> Call:
    """Compile a net for one slice at a time on the CPU."""
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": THREADS, "INFERENCE_PRECISION_HINT": "f32"}
    request = vino.compile_model(net, "CPU", settings).create_infer_request()
    return lambda: request.infer([slices[:1, None]])


def milliseconds(call: Call) -> list[float]:
    """Time of each call of one turn, after some that do not count: threads of another engine may still be spinning."""
    taken = []
    for number in range(WARM_UP + CALLS):
        start = time.perf_counter()
        call()
        if number >= WARM_UP:
            taken.append((time.perf_counter() - start) * 1000)
    return taken


if __name__ == "__main__":
    main()
