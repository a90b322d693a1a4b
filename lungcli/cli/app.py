"""The command `lungcli`: its commands, its help, and its exit codes."""

import contextlib
import gc
import sys
import warnings
from typing import Annotated

import typer

from lungcli import __version__
from lungcli.cli import (
    benchmark,
    calibrate,
    compare,
    console,
    dashboard,
    data,
    data_combine,
    data_download,
    distributed,
    evaluate,
    export,
    models,
    options,
    predict,
    quantize,
    recipes,
    runs,
    runs_reproduce,
    search,
    serve,
    signals,
    train,
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

HELP = """\b
Examples:
  lungcli data phantom                          draw a synthetic data set, to try everything
  lungcli data download iqothnccd               download a published data set, every file checked
  lungcli data import ~/slices.zip              import your own slices, near-duplicates grouped
  lungcli compress --student mobilenetv2        teacher, student, int8, and a table that compares them
  lungcli predict scan.png                      predict a slice, or several: lungcli predict *.dcm
  lungcli compare                               all models: size, latency, accuracy with intervals
  lungcli dashboard                             watch runs live, full screen

lungcli trains, distils, quantizes and measures small lung CT classifiers (benign, malignant, normal).
Research software, not a medical device.
"""

app = typer.Typer(
    help=HELP,
    rich_markup_mode=None,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
data.app.command()(data_combine.combine)
data.app.command()(data_download.download)
runs.app.command()(runs_reproduce.reproduce)
app.add_typer(data.app, name="data")
app.add_typer(runs.app, name="runs")
app.add_typer(models.app, name="models")
app.add_typer(recipes.app, name="recipes")
for command in (
    train.train,
    train.distill,
    quantize.quantize,
    train.compress,
    search.search,
    compare.compare,
    evaluate.evaluate,
    calibrate.calibrate,
    benchmark.benchmark,
    predict.predict,
    export.export,
    dashboard.dashboard,
    serve.serve,
):
    app.command(cls=options.Command)(command)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"lungcli {__version__}")
        raise typer.Exit


@app.callback()
def _global_options(
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
    except errors.LostRankError as error:
        if console.ConsoleOptions.debug:
            raise
        console.warn(error.message)
        return 1
    except errors.LungcliError as error:
        if console.ConsoleOptions.debug:
            raise
        _report_error(error.message, error.hint)
        return distributed.launcher_exit_code(next(code for kind, code in EXIT_CODES if isinstance(error, kind)))
    except OSError as error:
        if console.ConsoleOptions.debug:
            raise
        where = f" ({error.filename})" if error.filename else ""
        _report_error(
            f"the system refused: {error.strerror or error}{where}",
            "finished work is kept; mend that and run the same command again",
        )
    except MemoryError as error:
        if console.ConsoleOptions.debug:
            raise
        _report_error(
            f"out of memory{_notes(error)}",
            "close other programs, or use less memory: a smaller --micro-batch or --size",
        )
    except Exception as error:
        if console.ConsoleOptions.debug:
            raise
        _report_error(
            f"unexpected {type(error).__name__}: {error}{_notes(error)}",
            "this is a bug; please report it with the output of lungcli --debug …",
        )
    return distributed.launcher_exit_code(1)


def _report_error(message: str, hint: str) -> None:
    # The terminal may be gone.
    with contextlib.suppress(OSError):
        console.error(message, hint)


def _notes(error: BaseException) -> str:
    """Say what was being done when an unexpected error was raised, as `errors.during` has noted it."""
    return "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
