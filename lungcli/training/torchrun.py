"""Starting one process per device with torchrun, which also restarts them and passes signals on."""

import contextlib
import logging
import os
from collections.abc import Iterator, Sequence

import psutil
import torch
from torch.distributed import run
from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

from lungcli.core import cpu, paths
from lungcli.core.errors import LungcliError, UsageError

RESTARTS = 3
EXIT_CODE_VARIABLE = "LUNGCLI_EXIT_CODE_FILE"
"""Variable naming the file for the exit code of rank 0: torchrun would restart every rank after one that is not 0."""

INTERRUPTED = 130


def require_devices(devices: int, device: str) -> None:
    """Raise UsageError when this machine has no `devices` of the kind that `device` (a recipe's) means."""
    gpus = torch.cuda.device_count()
    if device == "mps" or ":" in device:
        raise UsageError(f"--device {device} is a single one, not {devices}", "use --device cpu or --device cuda")
    if device != "cpu" and 0 < gpus < devices:
        raise UsageError(
            f"this machine has {gpus} GPU{'s' * (gpus > 1)}, not {devices}", f"use --devices {gpus}, or --device cpu"
        )


def launch(devices: int, arguments: Sequence[str], restarts: int = RESTARTS) -> int:
    """Run `python -m lungcli` with `arguments`, one process per device; return the exit code of rank 0.

    When a rank is lost, all restart from the last checkpoint, at most `restarts` times. Signals are passed on, and no
    process outlives this call. Raises LungcliError when restarts do not help.
    """
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cpu.physical_cores() // devices)))
    # Seconds to finish a batch and write a checkpoint before processes are killed.
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", "60")
    # Torchrun would print a traceback and a table beside the message of rank 0.
    logging.disable(logging.CRITICAL)
    with paths.scratch("ranks") as scratch, _killing_children():
        exit_code_file = scratch / "exit-code"
        os.environ[EXIT_CODE_VARIABLE] = str(exit_code_file)
        options = ["--standalone", "--nproc-per-node", str(devices), "--max-restarts", str(restarts)]
        try:
            run.main([*options, "--log-dir", str(scratch), "-m", "lungcli", *arguments])
        except ChildFailedError as error:
            rank, failure = error.get_first_failure()
            raise LungcliError(
                f"device {rank} failed (exit code {failure.exitcode}), also after {restarts} restarts",
                "the last checkpoint is kept: lungcli runs list names the run, lungcli runs resume RUN goes on",
            ) from error
        except SignalException:
            return INTERRUPTED
        return int(exit_code_file.read_text()) if exit_code_file.exists() else 0


@contextlib.contextmanager
def _killing_children() -> Iterator[None]:
    """Kill the remaining child processes: a second Ctrl-C ends torchrun's own waiting."""
    try:
        yield
    finally:
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
