"""What this machine's processor is and can do."""

import contextlib
import functools
import os
import platform
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
# Bytes of fenv_t in glibc on x86-64, and where in it the register MXCSR lies; its bits that take denormals for 0.
_ENVIRONMENT, _MXCSR, _FLUSH = 32, 28, 0x8040


def flags() -> frozenset[str] | None:
    """Instruction sets of the processor; None where they are unknown (anything but Linux on x86)."""
    for key, value in _cpuinfo():
        if key == "flags":
            return frozenset(value.split())
    return None


def has_vnni() -> bool | None:
    """Say whether int8 products add up in 32 bits without overflow (VNNI or AMX); None where unknown."""
    instruction_sets = flags()
    return (
        None if instruction_sets is None else not instruction_sets.isdisjoint({"avx512_vnni", "avx_vnni", "amx_int8"})
    )


def name() -> str:
    """Model name of the processor."""
    return next((value for key, value in _cpuinfo() if key == "model name"), "") or platform.processor() or "unknown"


def load() -> float | None:
    """How many cores were busy on average in the last minute, with work that waited; None where unknown."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def peak_memory() -> int | None:
    """The most bytes of memory that this process has had; None where unknown."""
    try:
        import resource
    except ImportError:
        return None
    # macOS counts bytes, other systems kibibytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if platform.system() == "Darwin" else 1024)


def logical_cores() -> int:
    """Cores this process may run on, hyper-threads included."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def physical_cores() -> int:
    """Cores this process may run on, a pair of hyper-threads counted once where the system reports them."""
    packages = [value for key, value in _cpuinfo() if key == "physical id"]
    cores = [value for key, value in _cpuinfo() if key == "core id"]
    distinct = len(set(zip(packages, cores, strict=False)))
    return min(distinct, logical_cores()) if distinct else logical_cores()


@contextlib.contextmanager
def denormals_as_zero() -> Iterator[None]:
    """Take numbers nearer to 0 than 1.2e-38 for 0, in this thread and in those it starts meanwhile.

    One costs a processor of Intel as much as 140 others, so that the time of a net would depend on its slice. Only
    Linux on x86-64 can be set so from here; processors of ARM have no such cost. ONNX Runtime's own option,
    `session.set_denormal_as_zero`, reaches no thread but that which starts the first session of a process.
    """
    if (environments := _environments()) is None:
        yield
        return
    set_environment, usual, with_zeros = environments
    set_environment(with_zeros)
    try:
        yield
    finally:
        set_environment(usual)


# Kept, since asking for it before each slice takes a small net 2 % of its time.
@functools.cache
def _environments() -> tuple[Callable[[bytes], object], bytes, bytes] | None:
    """How to set the floating-point environment of a thread, the usual one, and that with denormals taken for 0."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return None
    # 10 ms, which a list of runs has no use for.
    import ctypes

    try:
        # One that keeps Python's lock: to take it again is what waits, where many threads run nets.
        libm = ctypes.PyDLL("libm.so.6")
    except OSError:
        return None
    held = ctypes.create_string_buffer(_ENVIRONMENT)
    libm.fegetenv(held)
    register = int.from_bytes(held.raw[_MXCSR:], "little") | _FLUSH
    return libm.fesetenv, held.raw, held.raw[:_MXCSR] + register.to_bytes(_ENVIRONMENT - _MXCSR, "little")


@functools.cache
def _cpuinfo() -> tuple[tuple[str, str], ...]:
    try:
        text = _CPUINFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ()
    pairs = (line.partition(":") for line in text.splitlines())
    return tuple((key.strip(), value.strip()) for key, _, value in pairs)
