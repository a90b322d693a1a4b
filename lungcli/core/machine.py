"""What this machine's processor can do, read without importing anything heavy."""

import functools
import os
import platform
from pathlib import Path


@functools.cache
def _cpuinfo() -> dict[str, str]:
    """First processor's fields of Linux' `/proc/cpuinfo`; empty elsewhere."""
    path = Path("/proc/cpuinfo")
    if not path.is_file():
        return {}
    first = path.read_text(errors="replace").partition("\n\n")[0]
    fields = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in fields}


def cpu_name() -> str:
    """Name of the processor as the system gives it."""
    return _cpuinfo().get("model name") or platform.processor() or platform.machine()


def cpu_flags() -> frozenset[str] | None:
    """Instruction sets of the processor in Linux' spelling (`avx512_bf16`); None where they cannot be read."""
    fields = _cpuinfo()
    listed = fields.get("flags") or fields.get("Features")
    return frozenset(listed.split()) if listed else None


def cores() -> int:
    """Count the processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
