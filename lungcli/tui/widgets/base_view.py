"""What the views share: a line that says what goes on, work in threads that can be stopped, a narrow layout."""

import time
from collections.abc import Callable
from typing import ClassVar, TypeVar

from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import DataTable, Static
from textual.worker import get_current_worker

from lungcli.core.errors import LungcliError
from lungcli.core.formatting import plain
from lungcli.datasets.files import Advance
from lungcli.tui import NARROW

T = TypeVar("T")

WORK = "work"

_BAR = 24
# A thread that tells of every slice would keep the screen busier than the work.
_BETWEEN_TELLING = 0.1


class Cancelled(Exception):  # noqa: N818
    """The user ended a piece of work."""


class Empty(Static, can_focus=True):
    """What stands where there is nothing to show yet, and says what to type."""


class View(Vertical):
    """A part of the dashboard. Work goes to threads through `start`; its outcome comes back on the screen's thread."""

    DEFAULT_CSS = """
    View { height: 1fr; }
    View .status { height: auto; max-height: 3; padding: 0 1; color: $text-muted; }
    View .panel { border: round $border; border-title-color: $text-accent; border-title-style: bold; }
    View .panel:focus-within { border: round $accent; }
    View .panel:focus { border: round $accent; }
    View DataTable > .datatable--fixed { background: $surface; color: $foreground; }
    View DataTable { scrollbar-size-horizontal: 1; scrollbar-size-vertical: 1; background: transparent; }
    View Empty { display: none; width: 1fr; height: 1fr; padding: 1 2; }
    View Empty { content-align: center middle; text-align: center; }
    View.-empty Empty { display: block; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "Cancel", id="view.cancel", tooltip="End the work that goes on", show=False),
    ]

    class Done(Message):
        """Work is complete; `deliver` takes its outcome in."""

        bubble = False

        def __init__(self, deliver: Callable[[], None]) -> None:
            super().__init__()
            self.deliver = deliver

    class Progress(Message):
        """So much of the work is done."""

        bubble = False

        def __init__(self, what: str, done: int, total: int) -> None:
            super().__init__()
            self.what, self.done, self.total = what, done, total

    class Failed(Message):
        """Work ended with an error that the user can understand, or was cancelled (no `error`)."""

        bubble = False

        def __init__(self, error: LungcliError | None) -> None:
            super().__init__()
            self.error = error

    def status(self, text: str | Text) -> None:
        """Say something in the view's last line."""
        for line in self.query(".status").results(Static):
            line.update(Text(plain(text)) if isinstance(text, str) else text)

    def hollow(self, *, empty: bool) -> None:
        """Show the empty state or the view itself, and keep the keys working in either."""
        self.set_class(empty, "-empty")
        focused = self.screen.focused
        if focused is None or self in focused.ancestors:
            self.call_after_refresh(self.query(Empty if empty else DataTable).first().focus)

    def resting(self) -> str | Text:
        """Return what the last line says while nothing goes on."""
        return ""

    def start(self, job: Callable[[], T], done: Callable[[T], None], group: str = WORK) -> None:
        """Run `job` in a thread and hand its outcome to `done`; a job of the same group that goes on is ended."""

        def work() -> None:
            worker = get_current_worker()
            if worker.is_cancelled:
                return
            try:
                outcome = job()
            except Cancelled:
                self.post_message(self.Failed(None))
            except LungcliError as error:
                self.post_message(self.Failed(error))
            except OSError as error:
                self.post_message(self.Failed(LungcliError(str(error), "check that the files are still there")))
            else:
                if not worker.is_cancelled:
                    self.post_message(self.Done(lambda: done(outcome)))

        self.run_worker(work, thread=True, group=group, exclusive=True)

    def telling(self) -> Callable[[str, int, int], None]:
        """Return what work in a thread calls as it goes on: what it does, how much is done, of how much.

        It raises Cancelled once the user ended the work.
        """
        worker = get_current_worker()
        told = 0.0

        def tell(what: str, done: int, total: int) -> None:
            nonlocal told
            if worker.is_cancelled:
                raise Cancelled
            if (moment := time.monotonic()) - told >= _BETWEEN_TELLING:
                told = moment
                self.post_message(self.Progress(what, done, total))

        return tell

    def advance(self, what: str) -> Advance:
        """Return what work in a thread that does one thing calls as it goes on (see `telling`)."""
        tell = self.telling()
        return lambda done, total: tell(what, done, total)

    def fail(self, error: LungcliError) -> None:
        """Show an error as a message."""
        hint = f"\n{plain(error.hint)}" if error.hint else ""
        self.notify(f"{plain(error.message)}{hint}", severity="error", markup=False)

    def tell(self, text: str) -> None:
        """Show a message that goes away by itself."""
        self.notify(plain(text), markup=False)

    def tell_later(self, text: str) -> None:
        """Show a message, said by work in a thread."""
        self.post_message(self.Done(lambda: self.tell(text)))

    def busy(self) -> bool:
        """Say whether work that can be cancelled goes on."""
        return any(worker.group == WORK and worker.node is self and worker.is_running for worker in self.workers)

    def action_cancel(self) -> None:
        """End the work that goes on."""
        if self.busy():
            self.workers.cancel_group(self, WORK)
            self.status("cancelled")

    def on_resize(self, event: events.Resize) -> None:
        """Lay out for a narrow terminal below 100 columns."""
        self.set_class(event.size.width < NARROW, "-narrow")

    def on_view_done(self, event: Done) -> None:
        """Take the outcome of a job in."""
        event.deliver()

    def on_view_progress(self, event: Progress) -> None:
        """Show how far the work is."""
        if self.busy():
            self.status(bar(event.what, event.done, event.total))

    def on_view_failed(self, event: Failed) -> None:
        """Say why work ended."""
        if event.error is not None:
            self.fail(event.error)
            self.status(self.resting())


def bar(what: str, done: int, total: int) -> Text:
    """Draw a line of progress that says how to end it."""
    share = done / total if total else 0.0
    full = round(_BAR * share)
    return Text.assemble(
        f"{plain(what)} ",
        ("█" * full, "green"),
        ("░" * (_BAR - full), "dim"),
        f" {share:4.0%}",
        ("  esc ends it", "dim"),
    )
