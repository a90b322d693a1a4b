"""The first run of a model file that is not known good: in a process of its own, with bounded memory and time.

A small file can describe a graph that fills any memory or never ends, and only running it tells. What one run takes,
all take: see `graph_rules` and `run`. Digests of files that have passed, and of those made here, are kept, so that each
is tried once. On Windows, which has no such limits, time alone is bounded.
"""

import contextlib
import functools
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lungcli.core import cpu, paths
from lungcli.core.errors import UsageError
from lungcli.modelfile import graph_rules, onnx_wire

if TYPE_CHECKING:
    import onnxruntime

# What it takes to load a file and to run it once on one thread, here and wherever it is used: memory is several times
# that of the largest registered net at 1,024 pixels; nobody waits for each slice as long as these seconds.
BASE_BYTES, BYTES_A_BYTE = 1 << 30, 6
MOST_SECONDS = 10
# A busy machine gives a process a share of its time only.
_MOST_WAITED = 3 * MOST_SECONDS
# Registered nets take 312 bytes a pixel; the runtime asks for more than it needs.
_RUN_BYTES, _RUN_BYTES_A_PIXEL = 128 << 20, 1280
_KNOWN = "known-models.txt"
_MOST_KNOWN = 1 << 22
REFUSED = 3


@functools.cache
def runtime_errors() -> tuple[type[Exception], ...]:
    """Return the exceptions of ONNX Runtime, which share no class of their own."""
    from onnxruntime.capi import onnxruntime_pybind11_state

    own = (error for error in vars(onnxruntime_pybind11_state).values() if isinstance(error, type))
    return (*(error for error in own if issubclass(error, Exception)), RuntimeError, ValueError)


def start(content: bytes, options: "onnxruntime.SessionOptions") -> "onnxruntime.InferenceSession":
    """Start the runtime on the CPU. Raises one of `runtime_errors`."""
    import onnxruntime

    with cpu.denormals_as_zero():
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def run(
    session: "onnxruntime.InferenceSession", outputs: Sequence[str] | None, feeds: Mapping[str, NDArray[Any]]
) -> list[NDArray[Any]]:
    """Return what a net gives, in a time that depends on no pixel. Raises one of `runtime_errors`."""
    with cpu.denormals_as_zero():
        values: list[NDArray[Any]] = session.run(outputs, feeds)
    return values


def require(content: bytes) -> None:
    """Load and run a model file, and remember it as good. Raises ValueError where it takes too much, or fails."""
    code, reason = in_process("lungcli.modelfile.trial_run", seconds=_MOST_WAITED, content=content)
    if code == REFUSED:
        raise ValueError(f"onnxruntime cannot run it: {reason}")
    if code:
        raise ValueError(
            f"to load it and to run it once takes more than {most_bytes(len(content)) >> 20:,} MB or {MOST_SECONDS} s"
        )
    remember(content)


def require_if_unknown(content: bytes) -> None:
    """Require that a model file, if not known good, keeps to `graph_rules` and passes its trial. Raises ValueError."""
    if not is_known(content):
        graph_rules.require(memoryview(content))
        require(content)


def is_known(content: bytes) -> bool:
    """Say whether a model file was made here, or has passed."""
    return onnx_wire.program_digest(memoryview(content)) in _known()


def remember(content: bytes) -> None:
    """Remember a model file as good."""
    digest = onnx_wire.program_digest(memoryview(content))
    if digest in _known():
        return
    _known().add(digest)
    # Where nothing can be written, a file is tried once a process.
    with contextlib.suppress(OSError, UsageError):
        paths.home().mkdir(parents=True, exist_ok=True)
        handle = os.open(paths.home() / _KNOWN, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        with os.fdopen(handle, "ab") as file:
            file.write(f"{digest}\n".encode())


def in_process(module: str, *arguments: str, seconds: float, content: bytes = b"") -> tuple[int, str]:
    """Run a module that calls `bound`, with `content` on stdin; return its exit code and what it wrote to stdout.

    It is ended after `seconds`. 0: done; REFUSED: it says why on stdout; any other: it took too much.
    """
    process = subprocess.Popen(  # noqa: S603 - a module of this program
        [sys.executable, "-P", "-m", module, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    with process:
        try:
            reason, _ = process.communicate(content, timeout=seconds)
        except subprocess.TimeoutExpired:
            reason = b""
        finally:
            process.kill()
    return process.returncode, reason.decode(errors="replace")


@functools.cache
def _known() -> set[str]:
    """Return the digests of files that are known good, for this process to add to."""
    try:
        return set(paths.read_regular(paths.home() / _KNOWN, _MOST_KNOWN).decode("ascii", "replace").split())
    except (OSError, UsageError):
        return set()


def serve() -> None:
    """Load the model file on stdin and run it once; end with a code and, where it fails, the reason on stdout."""
    import onnxruntime

    content = sys.stdin.buffer.read()
    # The runtime prints there as well, in several lines, when it tries again what has failed.
    said, sys.stdout = sys.stdout, sys.stderr
    bound(MOST_SECONDS)
    bound_memory(most_bytes(len(content)))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    try:
        session = start(content, options)
        fed = {}
        for item in session.get_inputs():
            # The batch is open; `model_file` refuses a file with another open dimension, or another type.
            shape = [side if isinstance(side, int) else 1 for side in item.shape]
            fed[item.name] = np.resize(np.arange(256, dtype=np.uint8), shape)
        bound_memory(_RUN_BYTES + _RUN_BYTES_A_PIXEL * sum(values.size for values in fed.values()), further=True)
        run(session, None, fed)
    except MemoryError:
        os._exit(1)
    except runtime_errors() as error:
        line = str(error).strip().partition("\n")[0][:500]
        said.write(line)
        said.flush()
        os._exit(1 if "bad_alloc" in line or "Failed to allocate memory" in line else REFUSED)
    # What the runtime would free at its end is gone with the process.
    os._exit(0)


def most_bytes(length: int) -> int:
    """Return how much memory a file of so many bytes may take."""
    return BASE_BYTES + BYTES_A_BYTE * length


def bound_memory(most: int, *, further: bool = False) -> None:
    """Let this process have no more memory, or no more than it has and so much `further`."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        if further:
            status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
            most += int(status.partition("VmData:")[2].split()[0]) << 10
        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        resource.setrlimit(resource.RLIMIT_DATA, (most if hard < 0 else min(most, hard), hard))


def bound(seconds: int, written: int = 0) -> None:
    """Let this process have no more time, and write no files longer than so many bytes."""
    try:
        import resource
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_FSIZE, (written, written))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    serve()
