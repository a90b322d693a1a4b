"""Latency of model files on this machine, the models taking turns call by call; what was measured last is kept."""

import contextlib
import datetime
import importlib.metadata
import platform
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from lungcli.core import cpu, paths, versioned
from lungcli.core.errors import LungcliError
from lungcli.datasets.files import Advance
from lungcli.modelfile import model_file
from lungcli.modelfile.model_file import Model

MOST_RUNS = 1000
_INSTRUCTIONS = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
_SLICES = 8
# Of one core. A machine at rest is below; a training beside the measurement takes whole cores.
_BUSY = 0.25


class Measurement(msgspec.Struct, frozen=True, kw_only=True):
    """Time from prepared slices to logits, in milliseconds a call of `batch` slices, over `n` calls.

    `bytes` is the size of the model file, `threads` how many the runtime may use, `load` how many cores other processes
    used meanwhile.
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
    load: float = 0.0

    @property
    def disturbed(self) -> bool:
        """Whether so much else ran that the times are too high."""
        return self.load > _BUSY


class KeptLatency(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured of a model file last, when, and on which machine."""

    measured: datetime.datetime
    machine: dict[str, str]
    measurement: Measurement


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
    before = _Usage()
    times = _take_turns(loaded, inputs, seconds, advance)
    load = before.others()
    return tuple(_measurement(model, each, batch, load) for model, each in zip(loaded, times, strict=True))


class _Usage:
    """Processor time of this machine and of this process, from when it is made on."""

    def __init__(self) -> None:
        self._all, self._own, self._time = _busy_seconds(), time.process_time(), time.perf_counter()

    def others(self) -> float:
        """How many cores other processes used since."""
        all_seconds, own = _busy_seconds() - self._all, time.process_time() - self._own
        return max(0.0, all_seconds - own) / max(1e-3, time.perf_counter() - self._time)


def _busy_seconds() -> float:
    """Seconds that the cores of this machine have worked; what guests used is part of `user`."""
    import psutil

    times: dict[str, float] = psutil.cpu_times()._asdict()
    return sum(seconds for name, seconds in times.items() if name not in ("idle", "iowait", "guest", "guest_nice"))


def keep(files: Sequence[Path], measurements: Sequence[Measurement]) -> None:
    """Keep what was measured of model files with all cores, a slice a call; none where it cannot be written."""
    for path, measurement in zip(files, measurements, strict=True):
        content = KeptLatency(measured=datetime.datetime.now(datetime.UTC), machine=machine(), measurement=measurement)
        with contextlib.suppress(LungcliError, OSError):
            versioned.write(_kept_in(path), content)


def kept(path: Path) -> Measurement | None:
    """What was measured last of a model file as it is now, on a processor such as this machine's."""
    try:
        content = versioned.read_or(_kept_in(path), KeptLatency, None)
    except (LungcliError, OSError):
        return None
    return content.measurement if content and content.machine.get("cpu") == cpu.name() else None


def _kept_in(path: Path) -> Path:
    """Where the latency of a model file is kept: it goes with a renamed run, and not with a file written anew."""
    status = path.stat()
    return paths.home() / "latencies" / f"{status.st_mtime_ns:x}-{status.st_size:x}.json"


def machine() -> dict[str, str]:
    """Describe what a measurement was taken on; `flags` are the instruction sets that decide how fast nets run."""
    return {
        "cpu": cpu.name(),
        "cores": f"{cpu.physical_cores()} ({cpu.logical_cores()} logical)",
        "flags": " ".join(flag for flag in _INSTRUCTIONS if flag in (cpu.flags() or ())),
        "system": f"{platform.system()} {platform.machine()}",
        "onnxruntime": importlib.metadata.version("onnxruntime"),
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


def _measurement(model: Model, times: Sequence[float], batch: int, load: float) -> Measurement:
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
        load=round(load, 2),
    )


def _noise(batch: int, size: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, size=(_SLICES, batch, size, size), dtype=np.uint8)
