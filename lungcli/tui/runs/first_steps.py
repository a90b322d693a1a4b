"""What a home without runs offers, a key each: a demonstration, phantom data, a download."""

from typing import ClassVar

from textual.binding import Binding, BindingType

from lungcli.core.errors import LungcliError
from lungcli.tui.jobs import processes
from lungcli.tui.runs.run_keys import RunKeys

EMPTY = """  No runs yet. A key each:

  M  demonstration: phantom slices, then a small
     net trained, distilled and quantized on them
  F  phantom slices alone, to try everything
  D  download a published data set
  2  choose everything yourself

  or in another terminal: lungcli compress --help"""

PHANTOM = ("data", "phantom", "--slices", "240")
DEMONSTRATION = (
    *("compress", "--student", "shufflenetv2-x0.5", "--teacher", "shufflenetv2", "--data", "phantom"),
    *("--size", "96", "--epochs", "12", "--name", "demonstration"),
)
_FIRST = ("demonstration", "phantom", "download")
_ALWAYS = ("undo", "empty_trash", "cancel", "clear")
GROUP = Binding.Group("first steps")


class FirstSteps(RunKeys):
    """Keys that work while there is no run."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("M", "demonstration", "Demo", tooltip="train a small net on phantoms, now", group=GROUP),
        Binding("F", "phantom", "Phantom data", tooltip="draw phantom slices", group=GROUP),
        Binding("D", "download", "Download", tooltip="choose a published data set", group=GROUP),
    ]

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """First steps are offered while there is no run, and everything else once there is one."""
        del parameters
        return action in _ALWAYS or (action in _FIRST) != bool(self.watcher.rows())

    def action_phantom(self) -> None:
        self._do("drawing phantom slices …", (PHANTOM,), "phantom slices are here: key 5 shows, key 2 trains")

    def action_demonstration(self) -> None:
        self._do("drawing phantom slices; the run appears here in a moment …", (PHANTOM, DEMONSTRATION), "")

    def _do(self, now: str, commands: tuple[tuple[str, ...], ...], then: str) -> None:
        """Do commands one after the other, the last one on its own; the dashboard may be left meanwhile."""

        def job() -> str:
            for command in commands:
                started = processes.start(command)
                if command is not commands[-1] or then:
                    started.process.wait()
                    if failure := processes.failure(started):
                        raise LungcliError(failure)
            return then

        self.tell(now)
        self.start(job, self.tell_if_any)

    def tell_if_any(self, text: str) -> None:
        """Show a message unless it is empty."""
        if text:
            self.tell(text)

    def action_download(self) -> None:
        self.app.call_later(self.app.run_action, "download")
