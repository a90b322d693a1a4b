"""The view that starts jobs: a form, the command it stands for, and the jobs that were started here."""

from dataclasses import dataclass
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Horizontal, Vertical, VerticalScroll
from textual.message import Message
from textual.suggester import SuggestFromList
from textual.widgets import Button, Input, Label, Select, Static

from lungcli.core import registry, runs
from lungcli.core.errors import LungcliError
from lungcli.core.formatting import plain
from lungcli.core.options import Option
from lungcli.modelfile import model_paths
from lungcli.tui.jobs import job_form, processes
from lungcli.tui.jobs.processes import Job

_JOBS_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class _Started:
    job: Job
    command: str
    ended: bool = False
    asked: bool = False


def _known() -> dict[str, tuple[str, ...]]:
    """Names that a field can mean, by what they are of."""
    from lungcli.datasets import manifest

    nets = tuple(registry.NETS)
    files = tuple(name for name in model_paths.files() if name != model_paths.BUNDLED and not name.endswith("/int8"))
    trained = [name for name in runs.known() if any(file.startswith(f"{name}/") for file in files)]
    return {"nets": nets, "teachers": (*nets, *trained), "data": tuple(manifest.known()), "models": files}


class StartView(Container):
    """Everything that `lungcli compress`, `train`, `distill` and `quantize` take, checked while it is typed."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "begin", "Start", tooltip="start the command below in a process of its own"),
        Binding("ctrl+y", "copy", "Copy command", tooltip="the command below, to the clipboard"),
        Binding("ctrl+x", "stop", "Stop job", tooltip="the job started last: save and stop; once more: end it"),
        Binding("escape", "leave", "Runs", tooltip="back to the runs"),
    ]

    class Began(Message):
        """A job was started."""

    def __init__(self) -> None:
        super().__init__()
        self._kind = "compress"
        self._values: dict[str, str] = {}
        self._known = _known()
        self._started: list[_Started] = []
        self._wrong: dict[str, str] = {}
        self._preset()

    def compose(self) -> ComposeResult:
        """The kind of job, its fields, the command, the buttons, the jobs."""
        with Horizontal(classes="field"):
            yield Label("Job")
            yield Select(
                [(kind, kind) for kind in job_form.KINDS], value=self._kind, allow_blank=False, compact=True, id="kind"
            )
        yield VerticalScroll(*self._lines(), id="form", can_focus=False)
        with Vertical(id="start-below"):
            yield Static(id="start-command")
            with Horizontal(id="start-buttons"):
                yield Button("Start (^s)", id="begin", variant="primary", compact=True)
                yield Button("Copy command (^y)", id="copy", compact=True)
            yield Static(id="start-jobs")

    def on_mount(self) -> None:
        """Say what is missing, and look after the jobs."""
        self._check()
        self.set_interval(1.0, self._look_after)

    def on_show(self) -> None:
        """Data sets and runs may have come since."""
        self._known = _known()
        self._check()

    def _preset(self) -> None:
        """Take a data set that is there where the usual one is not; a model is quantized with its own."""
        usual = {field.field: field.default_text for field in job_form.of_kind(self._kind)}["data"]
        known = self._known["data"]
        if not usual:
            self._values.pop("data", None)
        elif known and usual not in known:
            self._values.setdefault("data", known[0])

    def _lines(self) -> list[Horizontal]:
        return [
            Horizontal(
                Label(f"{field.label}{' *' if job_form.is_needed(field) else ''}"),
                self._box(field),
                Static(Text(job_form.about(field)), classes="about", id=f"about-{field.field}"),
                classes="field",
            )
            for field in job_form.of_kind(self._kind)
        ]

    def _box(self, field: Option) -> Input | Select[str]:
        value = self._values.get(field.field, field.default_text)
        choices = field.values or self._known.get(field.choices_from, ())
        if field.kind is bool or (field.values and not field.free):
            options = [("no", ""), ("yes", "yes")] if field.kind is bool else [(choice, choice) for choice in choices]
            return Select(options, value=value, allow_blank=False, compact=True, name=field.field)
        suggester = SuggestFromList(choices, case_sensitive=False) if choices else None
        return Input(value, placeholder=", ".join(choices[:3]), suggester=suggester, compact=True, name=field.field)

    async def on_select_changed(self, event: Select.Changed) -> None:
        """Another kind of job has other fields."""
        if event.select.id != "kind":
            self._values[str(event.select.name)] = str(event.value)
            self._check()
            return
        if event.value == self._kind:
            return
        # What is usual for one kind of job may not be for another.
        usual = {field.field: field.default_text for field in job_form.of_kind(self._kind)}
        self._values = {name: value for name, value in self._values.items() if value != usual.get(name)}
        self._kind = str(event.value)
        self._preset()
        form = self.query_one("#form")
        await form.remove_children()
        await form.mount(*self._lines())
        self._wrong = {}
        self._check()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Check while it is typed."""
        self._values[str(event.input.name)] = event.value
        self._check()

    def on_input_submitted(self) -> None:
        """Enter goes to the next field; only the button and its key start."""
        self.app.action_focus_next()

    def _check(self) -> bool:
        """Say beside each field what is wrong with it, and show the command."""
        wrong = job_form.problems(self._kind, self._values, self._known)
        for field in job_form.of_kind(self._kind):
            if wrong.get(field.field) == self._wrong.get(field.field):
                continue
            for about in self.query(f"#about-{field.field}").results(Static):
                about.update(Text(wrong.get(field.field, job_form.about(field))), layout=False)
                about.set_class(field.field in wrong, "wrong")
        self._wrong = wrong
        command = Text(overflow="fold")
        command.append("$ ", style="dim")
        command.append(plain(job_form.command(self._kind, self._values)), style="bold")
        self.query_one("#start-command", Static).update(command)
        self.query_one("#begin", Button).disabled = bool(wrong)
        return not wrong

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """The buttons do what their keys do."""
        if event.button.id == "begin":
            self.action_begin()
        else:
            self.action_copy()

    def action_begin(self) -> None:
        """Start the job, if the form is in order."""
        if not self._check():
            wrong = job_form.problems(self._kind, self._values, self._known)
            said = "; ".join(f"{name}: {why}" for name, why in wrong.items())
            self.app.notify(said, title="not yet", severity="error", markup=False)
            return
        try:
            job = processes.start(job_form.arguments(self._kind, self._values))
        except LungcliError as error:
            self.app.notify(f"{error.message}; {error.hint}", severity="error", markup=False)
            return
        self.post_message(self.Began())
        self._started.append(_Started(job=job, command=job_form.command(self._kind, self._values)))
        self.app.notify("started; it goes on when the dashboard is left. Key 1 or Esc: watch it", markup=False)
        self._look_after()

    def action_copy(self) -> None:
        """Copy the command."""
        self.app.copy_to_clipboard(job_form.command(self._kind, self._values))
        self.app.notify("copied", timeout=1.5)

    def action_stop(self) -> None:
        """Stop the job that was started last: first by asking, then for good."""
        alive = [i for i, started in enumerate(self._started) if processes.state(started.job) == "running"]
        if not alive:
            self.app.notify("no job started here is running", severity="warning")
            return
        started = self._started[alive[-1]]
        processes.interrupt(started.job, hard=started.asked)
        self._started[alive[-1]] = _Started(job=started.job, command=started.command, asked=True)
        said = "ending it" if started.asked else "asked it to save and stop; once more ends it"
        self.app.notify(said, markup=False)

    def action_leave(self) -> None:
        """Back to the runs."""
        self.app.set_focus(None)
        self.app.call_later(self.app.run_action, "view('runs')")

    def _look_after(self) -> None:
        """Show how the jobs stand, and say once why one failed."""
        text = Text(no_wrap=True, overflow="ellipsis")
        for i, started in enumerate(self._started):
            state = processes.state(started.job)
            if state != "running" and not started.ended:
                self._started[i] = _Started(job=started.job, command=started.command, ended=True)
                if state.startswith("failed"):
                    said = plain(processes.complaint(started.job.log))
                    self.app.notify(
                        said, title=f"{started.job.command[0]} {state}", severity="error", markup=False, timeout=20
                    )
        for started in self._started[-_JOBS_SHOWN:]:
            last = "".join(processes.last_words(started.job.log))
            text.append(f"{processes.state(started.job):<9} ", style="bold")
            text.append(f"{plain(started.command)}  ")
            text.append(f"{plain(last)}\n", style="dim")
        self.query_one("#start-jobs", Static).update(text)
