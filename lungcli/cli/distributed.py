"""Doing a command's work on several devices: `--devices N`, or torchrun around the command."""

import os
import signal
import sys
from collections.abc import Callable

import typer

from lungcli.cli import console

# `training.torchrun.NOTE`: reading it here loads no torch.
_NOTE = "LUNGCLI_EXIT_CODE_FILE"


def share(devices: int, device: str, work: Callable[[], None]) -> None:
    """Do `work`, alone or with others: as rank 0 lead it, as another follow it, with `devices` > 1 start the ranks.

    `device` is the recipe's: `auto`, `cpu`, `cuda`… Raises UsageError when there are not so many, and what `work` does.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ:
        _take_part(work)
    elif devices > 1:
        from lungcli.training import torchrun

        torchrun.require(devices, device)
        # An error that is shown in full ends a process with 1, and would do so after every restart.
        restarts = 0 if console.ConsoleOptions.debug else torchrun.RESTARTS
        raise typer.Exit(torchrun.launch(devices, sys.argv[1:], restarts))
    else:
        work()


def final(code: int) -> int:
    """Return the exit code for an end that starting again would not change.

    Torchrun starts all again after any code but 0, so under `--devices` the launcher reads `code` from a file.
    """
    note = os.environ.get(_NOTE)
    if not note or os.environ.get("RANK") != "0":
        return code
    from pathlib import Path

    Path(note).write_text(str(code))
    return 0


def _take_part(work: Callable[[], None]) -> None:
    if os.environ["RANK"] != "0":
        _be_silent()
    from lungcli.training import distributed

    if distributed.process_group().rank == 0:
        if again := int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")):
            console.warn(f"a device was lost; all start again from the last checkpoint (restart {again})")
        with distributed.rank_zero():
            work()
        return
    with distributed.worker():
        _follow()


def _follow() -> None:
    """Train what rank 0 announces. Signals are for rank 0 meanwhile: it ends the step for all."""
    from lungcli.core import runs
    from lungcli.pipeline import stages
    from lungcli.training import distributed

    for told in distributed.reported_runs():
        before = {number: signal.signal(number, signal.SIG_IGN) for number in _signals()}
        run = runs.load(told.run)
        for _ in stages.train(run, told.stage, stages.load_run_data(run.recipe)):
            pass
        for number, handler in before.items():
            signal.signal(number, handler)


def _be_silent() -> None:
    """Say nothing, and end at once at a signal: there is nothing to save here."""
    for number in _signals():
        signal.signal(number, signal.SIG_DFL)
    if not console.ConsoleOptions.debug:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        os.close(nowhere)


def _signals() -> list[signal.Signals]:
    return [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
