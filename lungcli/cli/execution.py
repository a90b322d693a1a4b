"""Working on one run to its end, shown as it goes; the first Ctrl-C stops it after the batch at hand."""

import contextlib
from collections.abc import Callable, Iterator
from types import FrameType

from lungcli.cli import console, progress, signals
from lungcli.core.errors import InterruptedRunError
from lungcli.core.runs import Run


def execute(run: Run) -> None:
    """Work on `run` to its end, showing it. Raises InterruptedRunError after Ctrl-C, and what `compress.work` does."""
    from lungcli.datasets import splits
    from lungcli.pipeline import jobs, stages

    with progress.preparing(f"reading {run.recipe.data}") as advance:
        found = stages.load_run_data(run.recipe, advance)
    if run.recipe.protocol == "random":
        console.warn("a random split puts slices of the same body on both sides: its figures flatter")
    console.info(
        f"run {run.name}: {len(found.split.train)} slices to train on, {len(found.split.val)} to choose by, "
        f"{len(found.split.test)} to judge by ({splits.in_words(found.split)}, {found.split.digest[:8]})"
    )
    events = jobs.execute(run, found)
    with graceful_interrupt() as stopped, contextlib.closing(events), progress.shown() as show:
        for event in events:
            show(event)
            if stopped():
                raise InterruptedRunError(
                    f"stopped; the work is saved in the run {run.name!r}",
                    f"go on with: lungcli runs resume '{run.name}'",
                )


@contextlib.contextmanager
def graceful_interrupt() -> Iterator[Callable[[], bool]]:
    """Let the first Ctrl-C (SIGTERM, SIGHUP) ask to stop after this batch; a second one stops at once."""
    asked = False

    def ask(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        del number, frame
        if asked:
            raise KeyboardInterrupt
        asked = True
        # An error here would come up wherever the work is, and pass for one of its own.
        with contextlib.suppress(OSError):
            console.info("stopping after this batch; once more to stop at once")

    # Heard as well where a script's `&` has it ignored: the dashboard asks by it, whoever started the run.
    before = signals.install_handlers(ask, also=("SIGINT",))
    try:
        yield lambda: asked
    finally:
        signals.restore_handlers(before)
