"""Latency of model files on this machine, the models taking turns call by call."""

import platform
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from lungcli.core import cpu
from lungcli.datasets.files import Advance
from lungcli.modelfile import model_file
from lungcli.modelfile.model_file import Model

MOST_RUNS = 1000
_INSTRUCTIONS = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
_SLICES = 8


class Measurement(msgspec.Struct, frozen=True, kw_only=True):
    """Time from prepared slices to logits, in milliseconds a call of `batch` slices, over `n` calls.

    `bytes` is the size of the model file, `threads` how many the runtime may use.
    """

    name: str
    p50: float
    p90: float
    p99: float
    mean: float
    n: int
    threads: int
    batch: int
    bytes: int


def benchmark(
    models: Sequence[Model | Path],
    seconds: float = 10.0,
    warmups: int = 20,
    threads: int = 0,
    batch: int = 1,
    advance: Advance | None = None,
) -> tuple[Measurement, ...]:
    """Time every model for `seconds` or 1,000 calls, whichever comes first, after `warmups` untimed calls.

    The models take turns call by call, so that whatever else the machine does slows all of them. The slices are
    noise, the same for all models of one size. `threads` is for models given as paths (0: one a physical core).
    `advance(done, total)` is called with the milliseconds spent after every turn, and may raise to stop.
    Raises ModelFileError for a path that is no model file.
    """
    loaded = [item if isinstance(item, Model) else model_file.load(item, threads) for item in models]
    inputs = [_noise(batch, model.card.size) for model in loaded]
    for model, slices in zip(loaded, inputs, strict=True):
        for turn in range(warmups):
            model.logits(slices[turn % _SLICES])
    times = _take_turns(loaded, inputs, seconds, advance)
    return tuple(_measurement(model, model_times, batch) for model, model_times in zip(loaded, times, strict=True))


def machine() -> dict[str, str]:
    """Describe what a measurement was taken on; `flags` are the instruction sets that decide how fast nets run."""
    return {
        "cpu": cpu.name(),
        "cores": f"{cpu.physical_cores()} ({cpu.logical_cores()} logical)",
        "flags": " ".join(flag for flag in _INSTRUCTIONS if flag in (cpu.flags() or ())),
        "system": f"{platform.system()} {platform.machine()}",
        "onnxruntime": onnxruntime.__version__,
        "python": platform.python_version(),
    }


def _take_turns(
    models: Sequence[Model], inputs: Sequence[NDArray[np.uint8]], seconds: float, advance: Advance | None
) -> tuple[list[float], ...]:
    """Return the milliseconds of every call, a list a model; each model gets the same number of calls, at least 1."""
    times: tuple[list[float], ...] = tuple([] for _ in models)
    budget = seconds * 1000 * len(models)
    spent = 0.0
    for turn in range(MOST_RUNS):
        for model, slices, model_times in zip(models, inputs, times, strict=True):
            start = time.perf_counter_ns()
            model.logits(slices[turn % _SLICES])
            model_times.append((time.perf_counter_ns() - start) / 1e6)
            spent += model_times[-1]
        if advance is not None:
            advance(round(min(spent, budget)), round(budget))
        if spent >= budget:
            break
    return times


def _measurement(model: Model, times: Sequence[float], batch: int) -> Measurement:
    p50, p90, p99 = (float(value) for value in np.percentile(times, [50, 90, 99]))
    return Measurement(
        name=model.path.stem,
        p50=p50,
        p90=p90,
        p99=p99,
        mean=float(np.mean(times)),
        n=len(times),
        threads=model.threads,
        batch=batch,
        bytes=model.path.stat().st_size,
    )


def _noise(batch: int, size: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, size=(_SLICES, batch, size, size), dtype=np.uint8)
