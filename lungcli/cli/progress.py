"""Progress: bars on a terminal, a plain line per epoch elsewhere."""

import contextlib
import time
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING

from lungcli.cli import console
from lungcli.core.events import (
    BatchDone,
    BatchLowered,
    EpochDone,
    Event,
    RateLowered,
    StageDone,
    StageStarted,
    StrategyDone,
    StrategyStarted,
)
from lungcli.views import units
from lungcli.views.run_progress import RunProgress
from lungcli.views.units import number

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn

    from lungcli.modelfile.model_card import ModelCard

# In a log, often enough to see that work goes on.
_SECONDS_BETWEEN_LINES = 10.0


@contextlib.contextmanager
def preparing(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show the progress of countable work; yields `advance(done, total)`. Quick work shows nothing in a log."""
    if not _on_terminal():
        yield _logging(what)
        return
    from rich import progress

    with _bars(progress.MofNCompleteColumn(), progress.TimeRemainingColumn()) as bars:
        task = bars.add_task(console.plain(what), total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)


@contextlib.contextmanager
def predicting(total: int | None) -> Iterator[Callable[[], None]]:
    """Show the number of pictures predicted, the rate and the time left, on a terminal; yields what to call after each.

    A `total` of None is unknown. Data may be printed meanwhile.
    """
    if not _on_terminal() or total == 1:
        yield lambda: None
        return
    import sys

    from rich import progress

    columns = (progress.MofNCompleteColumn(), "{task.fields[rate]}", progress.TimeRemainingColumn())
    began, done = time.monotonic(), 0
    # Data for a file or pipe must not be drawn around the bar.
    with _bars(*columns, redirect_stdout=sys.stdout.isatty()) as bars:
        task = bars.add_task("predicting", total=total, rate="")

        def advance() -> None:
            nonlocal done
            done += 1
            # Frames and members of .zip files are not counted beforehand.
            new_total = None if total is None else max(total, done)
            rate = units.images_per_second(done, time.monotonic() - began)
            bars.update(task, total=new_total, completed=done, rate=rate)

        yield advance


@contextlib.contextmanager
def transferring(what: str) -> Iterator[tuple[Callable[[int, int], None], Callable[[int, int], None]]]:
    """Show how a file is downloaded and then read; yields `moved(done, total)` in bytes and `reading(done, total)`."""
    rate = _Rate()
    if not _on_terminal():
        yield _logging(what, rate), _logging(f"checking and reading {what}")
        return
    with _bars("{task.fields[note]}") as bars:
        task = bars.add_task(console.plain(what), total=None, note="")

        def moved(done: int, total: int) -> None:
            bars.update(task, completed=done, total=total or None, note=rate(done, total))

        def reading(done: int, total: int) -> None:
            about = f"checking and reading {console.plain(what)}"
            bars.update(task, description=about, completed=done, total=total, note=f"{done}/{total}")

        yield moved, reading


@contextlib.contextmanager
def showing_events() -> Iterator[Callable[[Event], None]]:
    """Show the events of a run as they come; yields a function to call with each."""
    if not _on_terminal():
        yield _log_events()
        return
    from rich import progress

    columns = (progress.TaskProgressColumn(), progress.TimeRemainingColumn(), "{task.fields[note]}")
    with _bars(*columns, words="{task.description:<22}") as bars:
        task = bars.add_task("", total=None, note="")
        whole = bars.add_task("whole run", total=1.0, note="", visible=False)
        run = RunProgress()

        def show(event: Event) -> None:
            nonlocal run
            run = run.after(event)
            bars.update(whole, completed=run.share, note=run.in_words(), visible=len(run.stages) > 1)
            match event:
                case StageStarted():
                    bars.reset(task, total=None, description=event.stage, note="")
                case BatchDone():
                    note = f"loss {number(event.loss)}  {number(event.images_per_second, 0)} images/s"
                    where = f"{event.stage} epoch {event.epoch}"
                    bars.update(task, total=event.batches, completed=event.batch, description=where, note=note)
                case StrategyStarted():
                    bars.update(task, total=event.strategies, completed=event.number - 1, note=event.strategy)
                case _:
                    pass
            _report_event(event)

        yield show


def _on_terminal() -> bool:
    return console.err().is_terminal and not console.ConsoleOptions.quiet


def _bars(
    *columns: "ProgressColumn | str", words: str = "{task.description}", redirect_stdout: bool = True
) -> "Progress":
    """Make bars that disappear at the end, with `words` before each and `columns` behind it; texts are formats."""
    from rich import progress

    behind = [progress.TextColumn(item, markup=False) if isinstance(item, str) else item for item in columns]
    before = progress.TextColumn(words, markup=False), progress.BarColumn()
    return progress.Progress(*before, *behind, console=console.err(), transient=True, redirect_stdout=redirect_stdout)


def _log_events() -> Callable[[Event], None]:
    """Report events in a log, and every ten seconds how far the run is."""
    run, last = RunProgress(), time.monotonic()

    def show(event: Event) -> None:
        nonlocal run, last
        run = run.after(event)
        _report_event(event)
        if run.stages and time.monotonic() - last > _SECONDS_BETWEEN_LINES:
            last = time.monotonic()
            console.info(f"  {run.stage}: {run.in_words()}")

    return show


def show_and_return_card(events: Generator[Event, None, "ModelCard"]) -> "ModelCard":
    """Show the events as they come, and return the model card they end with."""
    with contextlib.closing(events), showing_events() as show:
        while True:
            try:
                show(next(events))
            except StopIteration as end:
                card: ModelCard = end.value
                return card


def _report_event(event: Event) -> None:
    match event:
        case StageStarted():
            console.info(f"{event.stage}: {event.about}", style="bold")
        case EpochDone():
            console.info(epoch_line(event))
        case StrategyDone():
            console.info(f"  {event.strategy}: {event.about}")
        case StageDone():
            console.info(f"{event.stage}: done, {event.about}")
        case RateLowered():
            console.warn(
                f"{event.why}: epoch {event.epoch} again, with the learning rate at {event.learning_rate:.3g} "
                f"(halved {event.times} of at most 3 times)"
            )
        case BatchLowered():
            console.warn(f"{event.why}: epoch {event.epoch} again, with {event.slices} slices in memory at once")
        case _:
            pass


def epoch_line(event: EpochDone) -> str:
    """One epoch in one line."""
    sensitivity = "" if event.sensitivity is None else f"  sensitivity {number(event.sensitivity)}"
    return (
        f"  epoch {event.epoch:>3}/{event.epochs}  loss {number(event.loss, 4)}  validation "
        f"{number(event.validation_loss, 4)}  balanced {number(event.balanced_accuracy)}{sensitivity}  "
        f"{number(event.images_per_second, 1)} images/s"
        f"{'  best' if event.best else ''}"
    )


class _Rate:
    def __init__(self) -> None:
        self._began: tuple[int, float] | None = None

    def __call__(self, done: int, total: int) -> str:
        # What is begun anew has no speed yet.
        if self._began is None or done < self._began[0]:
            self._began = (done, time.monotonic())
        return units.transfer(done, total, self._began[0], time.monotonic() - self._began[1])


def _logging(what: str, note: Callable[[int, int], str] = "{} of {}".format) -> Callable[[int, int], None]:
    last = time.monotonic()

    def advance(done: int, total: int) -> None:
        nonlocal last
        text = note(done, total)
        if time.monotonic() - last > _SECONDS_BETWEEN_LINES:
            last = time.monotonic()
            console.info(f"{what}: {text}")

    return advance
