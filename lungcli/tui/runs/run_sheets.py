"""What is read of whole runs in a thread and shown over the view; what reads it is loaded when it is wanted first."""

from collections.abc import Callable

from rich.console import RenderableType

from lungcli.core.formatting import plain
from lungcli.core.runs import Run
from lungcli.tui.runs.run_row import Row
from lungcli.tui.widgets.base_view import View
from lungcli.tui.widgets.dialogs import Sheet


def open_run(view: View, run: Run, row: Row) -> None:
    """Show everything about a run."""

    def job() -> list[RenderableType]:
        from lungcli.tui.runs import run_report

        return run_report.parts(run, row)

    _show(view, plain(run.name), job)


def compare(view: View, before: Run, after: Run) -> None:
    """Show what tells `after` from `before`."""

    def job() -> list[RenderableType]:
        from lungcli.tui.runs import run_comparison

        return run_comparison.parts(before, after)

    _show(view, f"{plain(before.name)} → {plain(after.name)}", job)


def describe_model(view: View, run: Run, take: Callable[[str], None]) -> None:
    """Hand `take` a line about the last model of a run."""

    def job() -> str:
        from lungcli.tui.runs import run_report

        return run_report.model_line(run)

    view.start(job, take, group="model")


def _show(view: View, title: str, job: Callable[[], list[RenderableType]]) -> None:
    def show(parts: list[RenderableType]) -> None:
        view.app.push_screen(Sheet(title, *parts))

    view.start(job, show, group="open")
