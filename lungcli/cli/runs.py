"""`lungcli runs`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from lungcli.cli import complete, console, distributed, help_pages, options
from lungcli.core import names, paths, recipe, runs
from lungcli.core.errors import UsageError
from lungcli.core.events import EpochDone, RunFailed
from lungcli.core.runs import Run

app = help_pages.App(name="runs", help="Runs: list, show, resume, reproduce, remove.")

RunName = Annotated[str, typer.Argument(metavar="RUN", autocompletion=complete.runs)]
Form = Annotated[
    Literal["csv", "tensorboard"],
    typer.Option("--to", help="csv: a line an epoch; tensorboard: what TensorBoard shows (extra `tensorboard`)."),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output", "-o", metavar="PATH", help="File of the table, or TensorBoard's folder of runs; stdout if left out."
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace existing files.")]


@app.command("list")
def list_(json: options.Json = False) -> None:
    """List the runs, the newest last."""
    readable_runs, problems = runs.readable()
    for problem in problems:
        console.warn(problem.message)
    if json:
        console.print_json({"runs": [_summary(run) for run in readable_runs]})
        return
    if not readable_runs:
        console.info("there are no runs yet; start one: lungcli compress --student mobilenetv2")
        return
    console.print_table(
        ("run", "state", "kind", "net", "teacher", "data", "changed (UTC)"),
        [
            (
                console.plain(run.name),
                runs.state(run),
                run.info.kind,
                console.plain(run.recipe.model),
                console.plain(" + ".join(run.recipe.teachers)) or "–",
                console.plain(run.recipe.data),
                f"{run.info.changed:%Y-%m-%d %H:%M}",
            )
            for run in readable_runs
        ],
    )


@app.command()
def show(name: RunName, json: options.Json = False) -> None:
    """Show state, recipe and epochs of a run."""
    from lungcli.cli import progress

    run = runs.load(name)
    happened = list(runs.events(run))
    epochs = [event for event in happened if isinstance(event, EpochDone)]
    if json:
        console.print_json(_summary(run) | {"recipe": run.recipe, "epochs": epochs})
        return
    console.out().print(f"{console.plain(run.name)}: {run.info.kind}, {runs.state(run)}", style="bold")
    console.out().print(console.plain(run.folder), soft_wrap=True)
    console.print_text(recipe.as_toml(run.recipe))
    stage = ""
    for event in epochs:
        if event.stage != stage:
            stage = event.stage
            console.out().print(console.plain(stage), style="bold")
        console.out().print(progress.epoch_line(event), soft_wrap=True)
    failed = [event for event in happened if isinstance(event, RunFailed)]
    if failed and runs.state(run) == "failed":
        console.warn(failed[-1].error)
    if runs.state(run) in ("stopped", "failed", "new"):
        console.info(f"to continue: lungcli runs resume '{run.name}'")


@app.command()
def export(name: RunName, form: Form = "csv", output: Output = None, overwrite: Overwrite = False) -> None:
    """Write the epochs of a run for other programs.

    A run may still be under way; `train --log-to FOLDER` keeps files for TensorBoard up to date by itself.

    \b
    Examples:
      lungcli runs export compress-mobilenetv2-mine --output epochs.csv
      lungcli runs export compress-mobilenetv2-mine --to tensorboard -o logs/
    """
    from lungcli.export import curves

    run = runs.load(name)
    if not output:
        if form == "tensorboard":
            raise UsageError("files for TensorBoard need a folder", "name one: --output logs/")
        console.print_text(curves.comma_separated(run))
        return
    target = output / run.name if form == "tensorboard" else output
    if target.exists() and not overwrite:
        raise UsageError(f"{target} exists already", "add --overwrite, or choose another --output")
    if form == "tensorboard":
        stages = [file.parent.name for file in curves.write_tensorboard(run, output)]
        if stages:
            console.info(f"written: {target}, the curves of {', '.join(stages)}")
            console.info(f"next: tensorboard --logdir '{output}'")
        else:
            console.info(f"the run {run.name!r} has no epochs yet, so nothing was written")
        return
    if output.is_dir():
        raise UsageError(f"{output} is a folder", f"name a file in it: --output '{output / 'epochs.csv'}'")
    paths.atomic_write(output, curves.comma_separated(run).encode())
    console.info(f"written: {output}")


@app.command()
def resume(name: RunName, devices: options.Devices = 1, log_to: options.LogTo = None) -> None:
    """Continue a run that was stopped, killed or failed."""
    from lungcli.cli import run_job
    from lungcli.modelfile import model_paths

    run = runs.load(name)
    models = (run.stage(stage) / model_paths.MODEL for stage in model_paths.stages(run))
    if runs.state(run) == "done" and all(path.is_file() for path in models):
        console.info(f"the run {run.name!r} is finished already, so nothing was done")
        return
    distributed.run_on_devices(devices, run.recipe.device, lambda: run_job.run_and_report(run, log_to))


@app.command()
def remove(name: RunName, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False) -> None:
    """Delete a run and its models."""
    # A damaged run, or one of a newer version, can be removed too.
    folder = names.find(name, runs.known(), "run", "see `lungcli runs list`")
    if not yes:
        typer.confirm(f"delete the run {folder.name!r} and its models?", abort=True, err=True)
    runs.remove(folder)
    console.info(f"removed the run {folder.name!r}")


def _summary(run: "Run") -> dict[str, object]:
    return {
        "name": run.name,
        "folder": str(run.folder),
        "state": runs.state(run),
        "kind": run.info.kind,
        "model": run.recipe.model,
        "teacher": run.recipe.teacher,
        "data": run.recipe.data,
        "split": run.info.split,
        "created": run.info.created,
        "changed": run.info.changed,
    }
