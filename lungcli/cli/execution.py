"""Executing a run while showing its progress; the first Ctrl-C stops it after the current batch."""

import contextlib
from collections.abc import Callable, Collection, Generator, Iterator
from pathlib import Path
from types import FrameType

from lungcli.cli import console, progress, signals
from lungcli.core.errors import InterruptedRunError
from lungcli.core.events import EpochDone, Event
from lungcli.core.runs import Run


def execute(run: Run, without: Collection[str] = (), log_to: Path | None = None) -> None:
    """Execute the stages of `run` but those `without`, and show their progress; TensorBoard's files go to `log_to`.

    Raises InterruptedRunError after Ctrl-C, and what `jobs.execute` does.
    """
    from lungcli.datasets import splits
    from lungcli.export import curves
    from lungcli.pipeline import jobs, stages

    log = curves.tensorboard_log(run, log_to) if log_to else None
    with progress.preparing(f"reading {run.recipe.data}") as advance:
        run_data = stages.load_run_data(run.recipe, advance)
    if warning := splits.leak_warning(run_data.manifest, run_data.split):
        console.warn(warning)
    console.info(
        f"run {run.name}: {len(run_data.split.train)} training, {len(run_data.split.val)} validation and "
        f"{len(run_data.split.test)} test slices ({splits.describe(run_data.split)}, {run_data.split.digest[:8]})"
    )
    follow(run, jobs.execute(run, run_data, without), f"to continue: lungcli runs resume '{run.name}'", log)


def follow(
    run: Run, events: Generator[Event, None, None], hint: str = "", log: Callable[[EpochDone], None] | None = None
) -> None:
    """Show the events of a run as they come, and log its epochs. Raises InterruptedRunError after Ctrl-C."""
    with graceful_interrupt() as stopped, contextlib.closing(events), progress.showing_events() as show:
        for event in events:
            show(event)
            if log and isinstance(event, EpochDone):
                log(event)
            if stopped():
                raise InterruptedRunError(f"stopped; the work is saved in the run {run.name!r}", hint)


@contextlib.contextmanager
def graceful_interrupt() -> Iterator[Callable[[], bool]]:
    """Stop after the current batch at the first Ctrl-C (SIGTERM, SIGHUP), at once at the second."""
    stop_requested = False

    def request_stop(number: int, frame: FrameType | None) -> None:
        nonlocal stop_requested
        del number, frame
        if stop_requested:
            raise KeyboardInterrupt
        stop_requested = True
        # An error raised here would surface wherever the work is, as if it were its own.
        with contextlib.suppress(OSError):
            console.info("stopping after this batch; press Ctrl-C again to stop at once")

    # SIGINT too, which a script's `&` ignores: the dashboard stops runs with it, whoever started them.
    before = signals.install_handlers(request_stop, also=("SIGINT",))
    try:
        yield lambda: stop_requested
    finally:
        signals.restore_handlers(before)
