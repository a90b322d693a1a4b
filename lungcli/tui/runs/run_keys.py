"""Keys that keep runs in order: stop, resume, rename, tag, delete and take back."""

import signal
from collections.abc import Callable
from typing import ClassVar

from textual.binding import Binding, BindingType

from lungcli.core import run_trash, runs
from lungcli.core.errors import LungcliError, UsageError
from lungcli.core.formatting import plain
from lungcli.core.runs import Run
from lungcli.tui.jobs import processes
from lungcli.tui.jobs.processes import Job
from lungcli.tui.runs.run_list import RunList
from lungcli.tui.runs.run_watcher import RunWatcher
from lungcli.tui.widgets.base_view import View
from lungcli.tui.widgets.dialogs import Ask, Confirm
from lungcli.views.units import size

# Seconds that a run has to stop by itself before its process is killed.
_GRACE = 4.0

RUN = Binding.Group("the run under the cursor")


class RunKeys(View):
    """What keys do to the run under the cursor. Each shows what it did, or why it could not."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("x", "stop", "Stop", tooltip="save and stop; once more: at once", group=RUN),
        Binding("r", "resume", "Resume", tooltip="go on where it was cut off", group=RUN),
        Binding("n", "rename", "Rename", show=False, group=RUN),
        Binding("number_sign", "tag", "Tag", show=False, tooltip="words to find the run by", group=RUN),
        Binding("d,delete", "delete", "Delete", show=False, tooltip="to the trash; u takes it back", group=RUN),
        Binding("u", "undo", "Undo", show=False, tooltip="take back the run that was deleted last", group=RUN),
        Binding(
            "E", "empty_trash", "Empty trash", show=False, tooltip="delete for good what lies in the trash", group=RUN
        ),
        Binding("y", "copy", "Copy name", show=False, tooltip="the run's name, to the clipboard", group=RUN),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.watcher, self.listing = RunWatcher(), RunList()
        self._asked_to_stop: set[str] = set()
        self._jobs: list[tuple[str, Job]] = []

    def on_mount(self) -> None:
        self.set_interval(1.0, self._report_failures)

    def refresh_all(self) -> None:
        """Read and show all runs again at once: given by the view."""
        raise NotImplementedError

    def _act(self, action: Callable[[Run], str]) -> None:
        current = self.listing.current
        if current is None:
            self.warn("there is no run here")
            return

        def act() -> str:
            run = self.watcher.run(current.name)
            if run is None:
                raise UsageError(f"the run {current.name!r} is damaged: {current.problem}", "look into its folder")
            return action(run)

        self._report(act)

    def _report(self, act: Callable[[], str]) -> None:
        try:
            self.tell(act())
        except LungcliError as error:
            self.fail(error)
        self.refresh_all()

    def action_stop(self) -> None:
        """The first time: save and stop. The second time: at once, after a question."""
        current = self.listing.current
        if current is None or current.name not in self._asked_to_stop or current.state != "running":
            self._act(self._stop)
            return
        question = f"Stop {plain(current.name)} at once? Work since its last checkpoint is lost."
        self.ask(Confirm(question, "Stop it"), lambda _: self._act(self._stop_at_once))

    def _stop(self, run: Run) -> str:
        pid = processes.signal_worker(run, signal.SIGINT)
        self._asked_to_stop.add(run.name)
        return f"asked {run.name} (process {pid}) to save and stop; press x again to stop it at once"

    def _stop_at_once(self, run: Run) -> str:
        pid = processes.signal_worker(run, signal.SIGTERM)
        self.set_timer(_GRACE, lambda: self._kill(run))
        return f"stopping {run.name} (process {pid}) at once"

    def _kill(self, run: Run) -> None:
        try:
            pid = processes.signal_worker(run, processes.KILL)
        except LungcliError:
            return  # It has stopped, as asked.
        self.tell(f"ended process {pid} of {run.name}: it did not stop by itself")

    def action_resume(self) -> None:
        self._act(self._resume)

    def _resume(self, run: Run) -> str:
        state = runs.state(run)
        if state == "running":
            raise UsageError(f"the run {run.name!r} is being worked on already", "nothing to resume")
        if state == "done":
            raise UsageError(f"the run {run.name!r} is done", "start another one: key 2")
        self._asked_to_stop.discard(run.name)
        self._jobs.append((run.name, processes.start(["runs", "resume", run.name])))
        return f"going on with {run.name}"

    def _report_failures(self) -> None:
        ended = [(name, job) for name, job in self._jobs if processes.state(job) != "running"]
        for name, job in ended:
            self._jobs.remove((name, job))
            if failure := processes.failure(job):
                self.notify(f"{plain(name)}: {plain(failure)}", severity="error", markup=False, timeout=15)

    def action_rename(self) -> None:
        if current := self.listing.current:
            self.ask(Ask("Another name for this run:", current.name), self._rename)

    def _rename(self, name: str) -> None:
        def rename(run: Run) -> str:
            if name in ("", run.name):
                return "the name stays"
            return f"{run.name} is called {run_trash.rename(run, name).name} now"

        self._act(rename)
        self.listing.select(name)

    def action_tag(self) -> None:
        if current := self.listing.current:
            question = Ask("Tags, separated by spaces:", " ".join(current.tags))
            self.ask(question, lambda tags: self._act(lambda run: self._tag(run, tags)))

    def _tag(self, run: Run, words: str) -> str:
        tags = tuple(words.replace("#", " ").replace(",", " ").split())
        run_trash.tag(run.folder, tags)
        self.watcher.touch(run.name)
        return f"tags of {run.name}: {' '.join(tags) or 'none'}"

    def action_delete(self) -> None:
        if current := self.listing.current:
            name = plain(current.name)
            question = f"Delete the run {name} and its models? It goes to the trash: u takes it back, E empties that."
            self.ask(Confirm(question, "Delete"), lambda _: self._act(self._delete))

    def _delete(self, run: Run) -> str:
        run_trash.move_to_trash(run)
        return f"deleted {run.name}; u takes it back"

    def action_undo(self) -> None:
        self._report(self._undelete)

    def _undelete(self) -> str:
        trashed = run_trash.trashed_runs()
        if not trashed:
            raise UsageError("the trash is empty", "nothing was deleted")
        return f"{run_trash.restore_from_trash(trashed[-1])} is back"

    def action_empty_trash(self) -> None:
        """Ask, naming how much there is, then delete for good what lies in the trash."""
        count = len(run_trash.trashed_runs())
        if not count:
            self.tell("the trash is empty")
            return
        content = f"{count} run{'' if count == 1 else 's'}, {size(run_trash.trash_size())}"

        def empty() -> str:
            run_trash.empty_trash()
            return f"the trash is empty now: {content} freed"

        question = f"Empty the trash? {content} would be gone for good."
        self.ask(Confirm(question, "Empty it"), lambda _: self._report(empty))

    def action_copy(self) -> None:
        if current := self.listing.current:
            self.app.copy_to_clipboard(current.name)
            self.tell(f"copied {current.name}")
