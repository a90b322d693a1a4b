"""The device, precision and threads that training computes with."""

import contextlib
import ctypes
import sys
from dataclasses import dataclass

import msgspec
import torch

from lungcli.core import cpu
from lungcli.core.errors import UsageError
from lungcli.core.recipe import Precision, Recipe
from lungcli.training import distributed

# Of malloc.h of glibc, and the largest value that the second takes
_M_MMAP_MAX, _M_TRIM_THRESHOLD = -4, -1
_ALL = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ComputeSettings:
    """A device, the precision of convolutions and matrix products on it, and the CPU threads used."""

    device: torch.device
    precision: Precision
    threads: int

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        """Context in which the net computes in this precision; weights and sums stay float32."""
        if self.precision == "float32":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)


def resolve(recipe: Recipe) -> Recipe:
    """Write the choices of `choose_compute` into `recipe`, so that the run can be repeated. Raises UsageError."""
    compute = choose_compute(recipe)
    device = str(compute.device) if distributed.process_group().size == 1 else compute.device.type
    micro_batch = recipe.micro_batch or distributed.micro_batch(recipe.batch, compute.device)
    return msgspec.structs.replace(
        recipe, device=device, precision=compute.precision, threads=compute.threads, micro_batch=micro_batch
    )


def choose_compute(recipe: Recipe) -> ComputeSettings:
    """Resolve `auto`: CUDA, then MPS, then CPU; bfloat16 where it is computed natively.

    On CPUs without AVX512-BF16 or AMX bfloat16 is emulated and slower than float32. Of several ranks each takes a GPU
    of its own, or its share of the cores. Raises UsageError.
    """
    device = _device(recipe.device)
    if device.type == "cuda" and distributed.process_group().size > 1:
        device = torch.device("cuda", torch.cuda.current_device())
    precision = recipe.precision
    if precision == "auto":
        precision = "bfloat16" if _native_bfloat16(device) else "float32"
    threads = recipe.threads or torch.get_num_threads()
    if distributed.process_group().size > 1:
        threads = min(threads, max(1, cpu.logical_cores() // distributed.process_group().local_size))
    torch.set_num_threads(threads)
    if device.type == "cpu":
        _keep_freed_memory()
    return ComputeSettings(device=device, precision=precision, threads=threads)


def _keep_freed_memory() -> None:
    """Let glibc keep what a batch has freed for the next: given back, every page costs a fault to get again.

    At 256 px a MobileNetV2 spends more than a quarter of its processor time on these faults
    (`tests/benchmarks/training.py`).
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        # musl has no such setting
        if hasattr(libc, "mallopt"):
            libc.mallopt(_M_MMAP_MAX, 0)
            libc.mallopt(_M_TRIM_THRESHOLD, _ALL)


def _device(name: str) -> torch.device:
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device(next(kind for kind in ("cuda", "mps", "cpu") if available[kind]))
    if not available.get(name.partition(":")[0], False):
        usable = ", ".join(kind for kind, there in available.items() if there)
        raise UsageError(f"there is no device {name!r} on this machine", f"use --device auto, or one of: {usable}")
    return torch.device(name)


def _native_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    flags = cpu.flags() or frozenset()
    return device.type == "cpu" and bool(flags & {"avx512_bf16", "amx_bf16"})
