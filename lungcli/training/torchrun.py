"""Starting the same command once a device, by torchrun: it starts them, restarts them, and passes signals on."""

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
"""Variable that names the file where rank 0 leaves its exit code: torchrun itself knows 0, and starts all again."""

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
    """Run `python -m lungcli` with `arguments`, once a device; return the exit code of rank 0.

    A rank that is lost makes all start again from the last checkpoint, at most `restarts` times. A signal is passed
    on, and no process outlives this call. Raises LungcliError when restarts don't help.
    """
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cpu.physical_cores() // devices)))
    # Saving takes as long as a batch and a file of the net's size; only then are processes ended by force.
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", "60")
    # Torchrun would print a traceback and a table beside what rank 0 has said.
    logging.disable(logging.CRITICAL)
    with paths.scratch("ranks") as scratch, _killing_children():
        note = scratch / "exit-code"
        os.environ[EXIT_CODE_VARIABLE] = str(note)
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
        return int(note.read_text()) if note.exists() else 0


@contextlib.contextmanager
def _killing_children() -> Iterator[None]:
    """End what is left of the processes below this one: a second Ctrl-C cuts torchrun's own waiting short."""
    try:
        yield
    finally:
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
