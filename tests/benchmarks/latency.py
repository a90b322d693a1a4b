"""Latency of one slice: torch eager float32, lungcli's wrapper, and onnxruntime alone on the same int8 file.

Run: python -m tests.benchmarks.latency [INT8 MODEL]     (default: the newest model)
"""

import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import onnxruntime
import torch

from lungcli.modelfile import model_file, model_paths
from lungcli.training import nets
from tests.benchmarks import machine

TURNS = 10
CALLS = 100
WARM_UP = 20


def main() -> None:
    """Measure and print."""
    path = model_paths.resolve(sys.argv[1]) if len(sys.argv) > 1 else model_paths.bundled()
    model = model_file.load(path)
    card = model.card
    torch.set_num_threads(model.threads)
    eager = nets.build(card.model, len(card.classes), card.size)
    eager.eval()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = model.threads
    alone = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    slices = np.random.default_rng(0).integers(0, 256, (1, card.size, card.size), dtype=np.uint8)
    tensor, array = torch.from_numpy(slices[:, None]).float(), slices[:, None]

    def through_torch() -> object:
        with torch.inference_mode():
            return eager(tensor)

    actions: tuple[Callable[[], object], ...] = (
        through_torch,
        lambda: model.logits(slices),
        lambda: alone.run(["logits"], {"slice": array}),
    )
    times: list[list[float]] = [[], [], []]
    for _ in range(TURNS):
        for taken, action in zip(times, actions, strict=True):
            taken += _milliseconds(action)
    p50 = [statistics.median(taken) for taken in times]
    machine.state()
    machine.say(
        f"{card.model} {card.precision}, {card.size} px, {model.threads} threads, {TURNS * CALLS} calls each, p50"
    )
    machine.say(f"torch eager float32 {p50[0]:.2f} ms, lungcli {p50[1]:.3f} ms, onnxruntime alone {p50[2]:.3f} ms")
    machine.say(f"eager ÷ lungcli: {p50[0] / p50[1]:.1f}×, lungcli ÷ onnxruntime alone: {p50[1] / p50[2]:.3f}×")


def _milliseconds(action: Callable[[], object]) -> list[float]:
    """Time of each call of one turn.

    Turns are of many calls, since threads of one runtime that wait by spinning would slow the next one's first calls.
    """
    taken = []
    for call in range(WARM_UP + CALLS):
        start = time.perf_counter()
        action()
        if call >= WARM_UP:
            taken.append((time.perf_counter() - start) * 1000)
    return taken


if __name__ == "__main__":
    main()
