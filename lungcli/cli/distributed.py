"""Running a command on several devices: with `--devices N`, or under torchrun."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import typer

from lungcli.cli import console
from lungcli.core import runs

# `training.torchrun.NOTE`: reading it here loads no torch.
_NOTE = "LUNGCLI_EXIT_CODE_FILE"


def run_on_devices(devices: int, device: str, work: Callable[[], None]) -> None:
    """Do `work` in this process, as one rank of several, or, with `devices` > 1, by starting the ranks.

    `device` is the recipe's: `auto`, `cpu`, `cuda`… Raises UsageError where devices are lacking, and as `work` does.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ:
        _run_as_rank(work)
    elif devices > 1:
        from lungcli.training import torchrun

        torchrun.require_devices(devices, device)
        # With --debug an error ends the process with 1, and would do so after every restart.
        restarts = 0 if console.ConsoleOptions.debug else torchrun.RESTARTS
        raise typer.Exit(torchrun.launch(devices, sys.argv[1:], restarts))
    else:
        work()


def launcher_exit_code(code: int) -> int:
    """Return the exit code of rank 0 for an end that a restart would not change.

    Torchrun restarts after any code but 0, so under `--devices` the launcher reads `code` from a file instead.
    """
    note = os.environ.get(_NOTE)
    if not note or os.environ.get("RANK") != "0":
        return code

    Path(note).write_text(str(code))
    return 0


def _run_as_rank(work: Callable[[], None]) -> None:
    if os.environ["RANK"] != "0":
        _silence_output()
    from lungcli.training import distributed

    if distributed.process_group().rank == 0:
        if again := int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")):
            console.warn(f"a device was lost; restarting all from the last checkpoint (restart {again})")
        with distributed.rank_zero():
            work()
        return
    with distributed.worker():
        _train_reported_runs()


def _train_reported_runs() -> None:
    """Train the runs that rank 0 reports. Only rank 0 handles signals meanwhile: it stops all ranks."""
    from lungcli.pipeline import stages
    from lungcli.training import distributed

    for report in distributed.reported_runs():
        before = {number: signal.signal(number, signal.SIG_IGN) for number in _signals()}
        run = runs.load(report.run)
        for _ in stages.train(run, report.stage, stages.load_run_data(run.recipe)):
            pass
        for number, handler in before.items():
            signal.signal(number, handler)


def _silence_output() -> None:
    """Print nothing, and exit at once at a signal: this rank has nothing to save."""
    for number in _signals():
        signal.signal(number, signal.SIG_DFL)
    if not console.ConsoleOptions.debug:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        os.close(nowhere)


def _signals() -> list[signal.Signals]:
    return [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
