"""Keys that keep runs in order: stop, resume, rename, tag, delete and take back."""

import time
from collections.abc import Callable
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.widget import Widget

from lungcli.core.errors import LungcliError, UsageError
from lungcli.core.formatting import plain
from lungcli.core.runs import Run
from lungcli.tui.jobs import processes
from lungcli.tui.jobs.processes import Job
from lungcli.tui.runs import run_actions
from lungcli.tui.runs.run_list import RunList
from lungcli.tui.runs.run_watcher import Watcher
from lungcli.tui.widgets.dialogs import Ask, Confirm

_PATIENCE = 4.0


class Keeping(Widget):
    """What the view of runs does to the run under the cursor. Each deed says what it did, or why it did not."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("x", "stop", "Stop", tooltip="save and stop; once more: at once"),
        Binding("r", "resume", "Resume", tooltip="go on where it was cut off"),
        Binding("n", "rename", "Rename", show=False),
        Binding("number_sign", "tag", "Tag", show=False, tooltip="words to find the run by"),
        Binding("d,delete", "delete", "Delete", show=False, tooltip="to the trash; u takes it back"),
        Binding("u", "undo", "Undo", show=False, tooltip="take back the run that was deleted last"),
        Binding("E", "empty_trash", "Empty trash", show=False, tooltip="delete for good what lies in the trash"),
        Binding("y", "copy", "Copy name", show=False, tooltip="the run's name, to the clipboard"),
    ]
    watcher: Watcher
    listing: RunList
    # What brings the screen up to date: given by the view.
    show_list: Callable[[], None]
    select: Callable[[], None]

    def on_mount(self) -> None:
        """Begin with nothing asked."""
        self._asked: set[str] = set()
        self._jobs: list[tuple[str, Job]] = []
        self.set_interval(1.0, self._reap)

    def act(self, deed: Callable[[Run], str]) -> None:
        """Do something to the run under the cursor, and say what came of it."""
        current = self.listing.current
        if current is None:
            self.app.notify("there is no run here", severity="warning")
            return

        def done() -> str:
            run = self.watcher.run(current.name)
            if run is None:
                raise UsageError(f"the run {current.name!r} is damaged: {current.problem}", "look into its folder")
            return deed(run)

        self._say(done)

    def refresh_all(self) -> None:
        """Look again at once."""
        self.watcher.look()
        self.watcher.work(0.05)
        self.show_list()
        self.select()

    def action_stop(self) -> None:
        """The first time: save and stop. The second time: at once, after a question."""
        current = self.listing.current
        if current is None or current.name not in self._asked or current.state != "running":
            self.act(self._stop)
            return
        question = f"Stop {plain(current.name)} at once? Work since its last checkpoint is lost."
        self.app.push_screen(Confirm(question, "Stop it"), self._stop_at_once)

    def _stop(self, run: Run) -> str:
        said = run_actions.stop(run)
        self._asked.add(run.name)
        return said

    def _stop_at_once(self, yes: bool | None) -> None:
        if not yes:
            return

        def deed(run: Run) -> str:
            said = run_actions.stop_at_once(run)
            until = time.monotonic() + _PATIENCE
            self.set_timer(_PATIENCE, lambda: self._kill(run, until))
            return said

        self.act(deed)

    def _kill(self, run: Run, until: float) -> None:
        del until
        try:
            pid = processes.kill(run)
        except LungcliError:
            return  # It has stopped, as asked.
        self.app.notify(f"ended process {pid} of {run.name}: it did not stop by itself", markup=False)

    def action_resume(self) -> None:
        """Go on with the run."""

        def deed(run: Run) -> str:
            said, job = run_actions.resume(run)
            self._asked.discard(run.name)
            self._jobs.append((run.name, job))
            return said

        self.act(deed)

    def _reap(self) -> None:
        """Say of resumed jobs that failed why they did."""
        for name, job in [*self._jobs]:
            state = processes.state(job)
            if state != "running":
                self._jobs.remove((name, job))
                if state.startswith("failed"):
                    said = plain(processes.complaint(job.log))
                    self.app.notify(f"{name}: {state}: {said}", severity="error", markup=False, timeout=15)

    def action_rename(self) -> None:
        """Ask for another name."""
        if current := self.listing.current:
            self.app.push_screen(Ask("Another name for this run:", current.name), self._rename)

    def _rename(self, name: str | None) -> None:
        if name is not None:
            self.act(lambda run: run_actions.rename(run, name))
            self.listing.select(name)

    def action_tag(self) -> None:
        """Ask for tags."""
        if current := self.listing.current:
            self.app.push_screen(Ask("Tags, separated by spaces:", " ".join(current.tags)), self._tag)

    def _tag(self, tags: str | None) -> None:
        if tags is None:
            return

        def deed(run: Run) -> str:
            said = run_actions.tag(run, tags)
            self.watcher.touch(run.name)
            return said

        self.act(deed)

    def action_delete(self) -> None:
        """Ask, then move the run to the trash."""
        if current := self.listing.current:
            name = plain(current.name)
            question = f"Delete the run {name} and its models? It goes to the trash: u takes it back, E empties that."
            self.app.push_screen(Confirm(question, "Delete"), self._delete)

    def _delete(self, yes: bool | None) -> None:
        if yes:
            self.act(run_actions.put_away)

    def action_undo(self) -> None:
        """Take the run that was deleted last out of the trash."""
        self._say(run_actions.take_back)

    def action_empty_trash(self) -> None:
        """Ask, saying how much there is, then delete for good what lies in the trash."""
        gone = run_actions.in_trash()
        if not gone:
            self.app.notify("the trash is empty", markup=False)
            return
        question = f"Empty the trash? {gone} would be gone for good."
        self.app.push_screen(Confirm(question, "Empty it"), self._empty_trash)

    def _empty_trash(self, yes: bool | None) -> None:
        if yes:
            self._say(run_actions.empty_trash)

    def _say(self, deed: Callable[[], str]) -> None:
        """Do something, and say what came of it."""
        try:
            self.app.notify(plain(deed()), markup=False)
        except LungcliError as error:
            hint = f"\n{plain(error.hint)}" if error.hint else ""
            self.app.notify(f"{plain(error.message)}{hint}", severity="error", markup=False)
        self.refresh_all()

    def action_copy(self) -> None:
        """Copy the run's name."""
        if current := self.listing.current:
            self.app.copy_to_clipboard(current.name)
            self.app.notify(f"copied {plain(current.name)}", markup=False)
