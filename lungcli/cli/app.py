"""The command `lungcli`: its commands, its help, and its exit codes."""

import contextlib
import gc
import sys
import warnings
from collections.abc import Callable
from typing import Annotated

import typer

from lungcli import __version__
from lungcli.cli import (
    benchmark,
    calibrate,
    compare,
    config,
    console,
    dashboard,
    data,
    data_combine,
    data_download,
    demo,
    distributed,
    doctor,
    evaluate,
    export,
    help_pages,
    help_topics,
    models,
    predict,
    quantize,
    recipes,
    runs,
    runs_reproduce,
    search,
    serve,
    signals,
    train,
    welcome,
)
from lungcli.core import errors

EXIT_CODES: tuple[tuple[type[errors.LungcliError], int], ...] = (
    (errors.UsageError, 2),
    (errors.ModelFileError, 3),
    (errors.UnreadableInputError, 4),
    (errors.GateNotMetError, 5),
    (errors.NetworkError, 7),
    (errors.InterruptedRunError, 130),
    (errors.LostRankError, 1),
    (errors.LungcliError, 1),
)

HELP = """\
Small lung CT classifiers: train, distil, quantize, measure, predict.

\b
Examples:
  lungcli predict scan.png                # a model comes with the program
  lungcli data import slices.zip          # one folder for each class
  lungcli compress --student mobilenetv2  # teacher, student, int8, a table
  lungcli compare                         # size, latency, accuracy
  lungcli dashboard                       # watch it live, full screen

Classes: benign, malignant, normal. Research software, not a medical device.
"""

COMMANDS: dict[str, tuple[Callable[..., None] | typer.Typer, ...]] = {
    "Predict": (predict.predict, demo.demo, serve.serve, export.export),
    "Train and compress": (train.compress, train.train, train.distill, quantize.quantize, search.search, recipes.app),
    "Measure": (evaluate.evaluate, compare.compare, calibrate.calibrate, benchmark.benchmark),
    "Data": (data.app,),
    "Watch": (dashboard.dashboard, runs.app, models.app),
    "Help and settings": (doctor.doctor, config.app, help_topics.help_),
}
"""Every command, in the panels of the help."""

app = help_pages.App(
    help=HELP,
    context_settings={"help_option_names": ["-h", "--help"]},
    invoke_without_command=True,
    no_args_is_help=False,
)
data.app.command()(data_combine.combine)
data.app.command()(data_download.download)
runs.app.command()(runs_reproduce.reproduce)
for panel, members in COMMANDS.items():
    for member in members:
        if isinstance(member, typer.Typer):
            app.add_typer(member, rich_help_panel=panel)
        else:
            app.command(member.__name__.rstrip("_"), rich_help_panel=panel)(member)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"lungcli {__version__}")
        raise typer.Exit


@app.callback()
def _global_options(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only data, warnings and errors.")] = False,
    no_color: Annotated[bool, typer.Option("--no-color", help="No colours (as NO_COLOR=1).")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    del version
    console.ConsoleOptions.quiet, console.ConsoleOptions.colour, console.ConsoleOptions.debug = (
        quiet,
        not no_color,
        debug,
    )
    if context.invoked_subcommand is None:
        welcome.show()


def main() -> None:
    """Run the command line; errors become a message and an exit code."""
    if not sys.warnoptions:
        # Warnings of libraries, such as of Pillow about a damaged tag, help no user.
        warnings.simplefilter("ignore")
    if not console.prepare_streams():
        console.warn("stdout is closed: what would be printed there is lost")
    signals.install_default_handlers()
    try:
        code = signals.flush_or_devnull(_code())
        signals.exit_on_next_signal(code)
    except KeyboardInterrupt:
        # A second signal, after the work has stopped at the first.
        code = signals.INTERRUPTED
        signals.exit_on_next_signal(code)
    # Spares a last search for reference cycles in all modules, an eighth of a cold start.
    gc.freeze()
    sys.exit(code)


def _code() -> int:
    try:
        app(prog_name="lungcli")
    except SystemExit as ending:
        if isinstance(ending.__context__, BrokenPipeError):
            return distributed.launcher_exit_code(signals.BROKEN_PIPE)
        if ending.code == signals.INTERRUPTED:
            # Stopped while a bar was about to be drawn, the cursor is still hidden.
            with contextlib.suppress(OSError):
                console.err().show_cursor()
            _report_error("stopped", "finished work is kept; run the same command again to continue")
        return distributed.launcher_exit_code(
            ending.code if isinstance(ending.code, int) else int(ending.code is not None)
        )
    except Exception as error:
        if console.ConsoleOptions.debug:
            raise
        if isinstance(error, errors.LostRankError):
            console.warn(error.message)
            return 1
        _report_error(*_in_words(error))
        return distributed.launcher_exit_code(next((code for kind, code in EXIT_CODES if isinstance(error, kind)), 1))
    return distributed.launcher_exit_code(1)


def _in_words(error: Exception) -> tuple[str, str]:
    """Return message and hint of an error; of an unexpected one also what was being done, as `errors.during` noted."""
    if isinstance(error, errors.LungcliError):
        return error.message, error.hint
    if isinstance(error, OSError):
        where = f" ({error.filename})" if error.filename else ""
        message = f"the system refused: {error.strerror or error}{where}"
        return message, "finished work is kept; mend that and run the same command again"
    notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
    if message := errors.shortage(error):
        return f"{message}{notes}", "close other programs, or use less memory: a smaller --micro-batch or --size"
    hint = "this is a bug; please report it with the output of lungcli --debug …"
    return f"unexpected {type(error).__name__}: {error}{notes}", hint


def _report_error(message: str, hint: str) -> None:
    # The terminal may be gone.
    with contextlib.suppress(OSError):
        console.error(message, hint)
