"""What the views share: a status line, work in threads that can be cancelled, messages, a narrow layout."""

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, ClassVar, TypeVar

from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import Static
from textual.worker import get_current_worker

from lungcli.core.errors import LungcliError
from lungcli.core.formatting import plain
from lungcli.tui import NARROW, settings
from lungcli.views import bars

if TYPE_CHECKING:
    from lungcli.datasets.files import Advance
    from lungcli.tui.widgets.dialogs import Dialog

T = TypeVar("T")

WORK = "work"

_BAR = 24
# Seconds between two reports: one of every slice would keep the screen busier than the work.
_REPORT_EVERY = 0.1


class Cancelled(Exception):  # noqa: N818
    """The user cancelled a piece of work."""


class Empty(Static, can_focus=True):
    """Shown where there is nothing yet: what to type."""


class View(Vertical):
    """What a tab shows. Work goes to threads through `start`; its outcome comes back on the screen's thread."""

    DEFAULT_CSS = """
    View { height: 1fr; }
    View .status { height: auto; max-height: 3; padding: 0 1; color: $text-muted; }
    View .panel { border: round $border; border-title-color: $text-accent; border-title-style: bold; }
    View .panel:focus, View .panel:focus-within { border: round $accent; }
    View DataTable > .datatable--fixed { background: $surface; color: $foreground; }
    View DataTable { scrollbar-size-horizontal: 1; scrollbar-size-vertical: 1; background: transparent; }
    View Empty { display: none; width: 1fr; height: 1fr; padding: 1 2; }
    View Empty { content-align: center middle; text-align: center; }
    View.-empty Empty { display: block; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "Cancel", id="view.cancel", tooltip="Cancel the work that goes on", show=False),
    ]

    class Later(Message):
        """Work in a thread has an outcome; `deliver` takes it over on the screen's thread."""

        bubble = False

        def __init__(self, deliver: Callable[[], object]) -> None:
            super().__init__()
            self.deliver = deliver

    def status(self, text: str | Text) -> None:
        """Show a text in the view's last line."""
        for line in self.query(".status").results(Static):
            line.update(Text(plain(text)) if isinstance(text, str) else text)

    def show_empty(self, *, empty: bool) -> None:
        """Show the empty state or the view itself, and keep the keys working in either."""
        self.set_class(empty, "-empty")
        focused = self.screen.focused
        if focused is None or self in focused.ancestors:
            self.call_after_refresh(self.query("Empty" if empty else "DataTable").first().focus)

    def resting(self) -> str | Text:
        """What the last line says while nothing goes on."""
        return ""

    def start(self, job: Callable[[], T], done: Callable[[T], None], group: str = WORK) -> None:
        """Run `job` in a thread and hand its outcome to `done`; a job of the same group that goes on is cancelled."""

        def work() -> None:
            worker = get_current_worker()
            if worker.is_cancelled:
                return
            try:
                outcome = job()
            except Cancelled:
                return
            except LungcliError as error:
                self.later(partial(self._show_failure, error))
            except OSError as error:
                self.later(
                    partial(self._show_failure, LungcliError(str(error), "check that the files are still there"))
                )
            else:
                if not worker.is_cancelled:
                    self.later(partial(done, outcome))

        self.run_worker(work, thread=True, group=group, exclusive=True)

    def later(self, deliver: Callable[[], object]) -> None:
        """Have something done on the screen's thread, asked by work in another."""
        self.post_message(self.Later(deliver))

    def progress_callback(self) -> Callable[[str, int, int], None]:
        """Return what work in a thread calls as it goes on: what it does, how much is done, of how much.

        It raises Cancelled once the user cancelled the work.
        """
        worker = get_current_worker()
        last = 0.0

        def report(what: str, done: int, total: int) -> None:
            nonlocal last
            if worker.is_cancelled:
                raise Cancelled
            if (now := time.monotonic()) - last >= _REPORT_EVERY:
                last = now
                self.later(partial(self._show_progress, what, done, total))

        return report

    def advance(self, what: str) -> "Advance":
        """Return what work in a thread that does one thing calls as it goes on (see `progress_callback`)."""
        report = self.progress_callback()
        return lambda done, total: report(what, done, total)

    def fail(self, error: LungcliError) -> None:
        """Show an error as a message."""
        hint = f"\n{plain(error.hint)}" if error.hint else ""
        self.notify(f"{plain(error.message)}{hint}", severity="error", markup=False)

    def tell(self, text: str) -> None:
        """Show a message that goes away by itself."""
        self.notify(plain(text), markup=False)

    def warn(self, text: str) -> None:
        """Show a message about what could not be done; none for an empty `text`."""
        if text:
            self.notify(plain(text), severity="warning", markup=False)

    def tell_later(self, text: str) -> None:
        """Show a message from work in a thread."""
        self.later(partial(self.tell, text))

    def ask(self, dialog: "Dialog[T]", then: Callable[[T], object]) -> None:
        """Show a dialog, and call `then` with the answer if there is one."""

        def take(answer: T | None) -> None:
            if answer is not None:
                then(answer)

        self.app.push_screen(dialog, take)

    def remember(self, **changes: object) -> None:
        """Save settings of the dashboard (see `settings.Settings`)."""
        self.warn(settings.keep(**changes))

    def busy(self) -> bool:
        """Whether work that can be cancelled goes on."""
        return any(worker.group == WORK and worker.node is self and worker.is_running for worker in self.workers)

    def action_cancel(self) -> None:
        if self.busy():
            self.workers.cancel_group(self, WORK)
            self.status("cancelled")

    def on_resize(self, event: events.Resize) -> None:
        self.set_class(event.size.width < NARROW, "-narrow")

    def on_view_later(self, event: Later) -> None:
        event.deliver()

    def _show_progress(self, what: str, done: int, total: int) -> None:
        if self.busy():
            self.status(bar(what, done, total))

    def _show_failure(self, error: LungcliError) -> None:
        self.fail(error)
        self.status(self.resting())


def bar(what: str, done: int, total: int) -> Text:
    """Draw a line of progress that says how to cancel the work."""
    meter = bars.meter(done / total if total else 0.0, _BAR)
    return Text.assemble(f"{plain(what)} ", meter, ("  esc ends it", "dim"))
