"""The view that starts jobs: a form, the command it stands for, and the jobs that were started here."""

import shlex
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.message import Message
from textual.suggester import SuggestFromList
from textual.widgets import Button, Input, Label, Select, Static

from lungcli.core import registry, runs
from lungcli.core.errors import LungcliError
from lungcli.core.formatting import plain
from lungcli.core.options import Option
from lungcli.core.recipe import DRAWN_LESIONS
from lungcli.modelfile import model_paths
from lungcli.tui.jobs import job_form, processes
from lungcli.tui.jobs.processes import Job
from lungcli.tui.widgets.base_view import View

_JOBS_SHOWN = 5


def _known_names() -> dict[str, tuple[str, ...]]:
    """The names on this machine that a field may hold, by their kind (see `Option.known`)."""
    from lungcli.datasets import manifest

    nets = tuple(registry.NETS)
    files = tuple(
        name for name in model_paths.files() if name != model_paths.BUNDLED and not name.endswith(("/int8", ".int8"))
    )
    trained = [name for name in runs.known() if any(file.startswith(f"{name}/") for file in files)]
    return {
        "nets": nets,
        "teachers": (*nets, *model_paths.adopted(), *trained),
        "runs": tuple(trained),
        "data": tuple(manifest.existing()),
        "lesions": tuple(dict.fromkeys([*manifest.existing(), DRAWN_LESIONS])),
        "models": files,
    }


class StartView(View):
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
        self._known = _known_names()
        self._jobs: list[Job] = []
        self._ended: set[Path] = set()
        self._asked_to_stop: set[Path] = set()
        self._problems: dict[str, str] = {}
        self._preset()

    def compose(self) -> ComposeResult:
        with Horizontal(classes="field"):
            yield Label("Job")
            yield Select(
                [(kind, kind) for kind in job_form.KINDS], value=self._kind, allow_blank=False, compact=True, id="kind"
            )
        yield VerticalScroll(*self._lines(), id="form", can_focus=False)
        with Vertical(id="start-below"):
            yield Static(id="start-hint")
            yield Static(id="start-command")
            with Horizontal(id="start-buttons"):
                yield Button("Start (^s)", id="begin", variant="primary", compact=True)
                yield Button("Copy command (^y)", id="copy", compact=True)
            yield Static(id="start-jobs")

    def on_mount(self) -> None:
        self._check()
        self.set_interval(1.0, self._show_jobs)

    def on_show(self) -> None:
        """Data sets and runs may have come since."""
        self._known = _known_names()
        self._check()

    def _defaults(self) -> dict[str, str]:
        return {field.field: field.default_text for field in job_form.of_kind(self._kind)}

    def _preset(self) -> None:
        """Choose a data set that is there; a model is quantized with its own."""
        if self._kind == "quantize":
            self._values.pop("data", None)
        elif names := self._known["data"]:
            self._values.setdefault("data", names[0])

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
        usual = self._defaults()
        self._values = {name: value for name, value in self._values.items() if value != usual.get(name)}
        self._kind = str(event.value)
        self._preset()
        form = self.query_one("#form")
        await form.remove_children()
        await form.mount(*self._lines())
        self._problems = {}
        self._check()

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """Write out what the field is for, which its line may have no room for."""
        fields = {field.field: field for field in job_form.of_kind(self._kind)}
        field = fields.get(event.widget.name or "")
        self.query_one("#start-hint", Static).update(Text(f"{field.label}: {job_form.about(field)}" if field else ""))

    def on_input_changed(self, event: Input.Changed) -> None:
        self._values[str(event.input.name)] = event.value
        self._check()

    def on_input_submitted(self) -> None:
        """Enter goes to the next field; only the button and its key start."""
        self.app.action_focus_next()

    def _check(self) -> bool:
        """Show beside each field what is wrong with it, and the command; return whether nothing is."""
        problems = job_form.problems(self._kind, self._values, self._known)
        for field in job_form.of_kind(self._kind):
            if problems.get(field.field) == self._problems.get(field.field):
                continue
            for about in self.query(f"#about-{field.field}").results(Static):
                about.update(Text(problems.get(field.field, job_form.about(field))), layout=False)
                about.set_class(field.field in problems, "wrong")
        self._problems = problems
        command = Text(overflow="fold")
        command.append("$ ", style="dim")
        command.append(plain(job_form.command(self._kind, self._values)), style="bold")
        self.query_one("#start-command", Static).update(command)
        self.query_one("#begin", Button).disabled = bool(problems)
        return not problems

    def on_button_pressed(self, event: Button.Pressed) -> None:
        if event.button.id == "begin":
            self.action_begin()
        else:
            self.action_copy()

    def action_begin(self) -> None:
        if not self._check():
            labels = {field.field: field.label for field in job_form.of_kind(self._kind)}
            problems = "; ".join(f"{labels[name]}: {problem}" for name, problem in self._problems.items())
            self.notify(problems, title="not yet", severity="error", markup=False)
            return
        try:
            self._jobs.append(processes.start(job_form.arguments(self._kind, self._values)))
        except LungcliError as error:
            self.fail(error)
            return
        self.post_message(self.Began())
        self.tell("started; it goes on when the dashboard is left. Key 1 or Esc: watch it")
        self._show_jobs()

    def action_copy(self) -> None:
        self.app.copy_to_clipboard(job_form.command(self._kind, self._values))
        self.notify("copied", timeout=1.5)

    def action_stop(self) -> None:
        """Stop the job that was started last: first by asking, then for good."""
        job = next((job for job in reversed(self._jobs) if processes.state(job) == "running"), None)
        if job is None:
            self.warn("no job started here is running")
            return
        hard = job.log in self._asked_to_stop
        processes.interrupt(job, hard=hard)
        self._asked_to_stop.add(job.log)
        self.tell("ending it" if hard else "asked it to save and stop; once more ends it")

    def action_leave(self) -> None:
        self.app.set_focus(None)
        self.app.call_later(self.app.run_action, "view('runs')")

    def _show_jobs(self) -> None:
        for job in self._jobs:
            if processes.state(job) != "running" and job.log not in self._ended:
                self._ended.add(job.log)
                if failure := processes.failure(job):
                    self.notify(plain(failure), title=job.command[0], severity="error", markup=False, timeout=20)
        text = Text(no_wrap=True, overflow="ellipsis")
        for job in self._jobs[-_JOBS_SHOWN:]:
            text.append(f"{processes.state(job):<9} ", style="bold")
            text.append(f"{plain(shlex.join(('lungcli', *job.command)))}  ")
            text.append(f"{plain(''.join(processes.last_lines(job.log)))}\n", style="dim")
        self.query_one("#start-jobs", Static).update(text)
