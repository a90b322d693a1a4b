"""The command `lungcli`: its parts, its help, and what its errors become."""

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
    compress,
    console,
    dashboard,
    data,
    data_download,
    distill,
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
  lungcli data phantom                          make a synthetic data set, to try everything
  lungcli data download iqothnccd               fetch a published data set, every file checked
  lungcli data import ~/slices.zip              take in your own slices, look-alikes kept together
  lungcli compress --student mobilenetv2        teacher, student, int8, and an honest table
  lungcli predict scan.png                      a verdict, or several: lungcli predict *.dcm
  lungcli compare                               every model: size, speed, accuracy, intervals
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
data.app.command()(data_download.download)
runs.app.command()(runs_reproduce.reproduce)
app.add_typer(data.app, name="data")
app.add_typer(runs.app, name="runs")
app.add_typer(models.app, name="models")
app.add_typer(recipes.app, name="recipes")
for command in (
    train.train,
    distill.distill,
    quantize.quantize,
    compress.compress,
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
def _manners(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only data and errors.")] = False,
    no_color: Annotated[bool, typer.Option("--no-color", help="No colours (as NO_COLOR=1).")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error came from.")] = False,
) -> None:
    del version
    console.ConsoleOptions.quiet, console.ConsoleOptions.colour, console.ConsoleOptions.debug = (
        quiet,
        not no_color,
        debug,
    )


def main() -> None:
    """Run the command line; every foreseen error becomes one clear line and an exit code."""
    if not sys.warnoptions:
        # What libraries have to say to programmers, such as Pillow of a damaged tag, helps no user.
        warnings.simplefilter("ignore")
    signals.install_default_handlers()
    try:
        code = signals.flush_or_devnull(_code())
        signals.exit_on_next_signal(code)
    except KeyboardInterrupt:
        # Asked to stop when it was ending anyway, after a job that had heard it before.
        code = signals.INTERRUPTED
        signals.exit_on_next_signal(code)
    # Python would look for cycles in all modules once more, an eighth of a cold start.
    gc.freeze()
    sys.exit(code)


def _code() -> int:
    try:
        app(prog_name="lungcli")
    except SystemExit as ending:
        if isinstance(ending.__context__, BrokenPipeError):
            return distributed.final(signals.BROKEN_PIPE)
        if ending.code == signals.INTERRUPTED:
            # Stopped while a bar was about to be drawn, nobody else would show the cursor again.
            with contextlib.suppress(OSError):
                console.err().show_cursor()
            _tell("stopped", "what was finished is kept; the same command does the rest")
        return distributed.final(ending.code if isinstance(ending.code, int) else int(ending.code is not None))
    except errors.LostRankError as error:
        if console.ConsoleOptions.debug:
            raise
        console.warn(error.message)
        return 1
    except errors.LungcliError as error:
        if console.ConsoleOptions.debug:
            raise
        _tell(error.message, error.hint)
        return distributed.final(next(code for kind, code in EXIT_CODES if isinstance(error, kind)))
    except OSError as error:
        if console.ConsoleOptions.debug:
            raise
        where = f" ({error.filename})" if error.filename else ""
        _tell(f"the system refused: {error.strerror or error}{where}", "nothing that was finished is lost")
    except MemoryError as error:
        if console.ConsoleOptions.debug:
            raise
        _tell(f"out of memory{_notes(error)}", "close other programs, or take less at once: --micro-batch, --size")
    except Exception as error:
        if console.ConsoleOptions.debug:
            raise
        _tell(
            f"unforeseen {type(error).__name__}: {error}{_notes(error)}",
            "this is a bug; please report it with the output of --debug",
        )
    return distributed.final(1)


def _tell(message: str, hint: str) -> None:
    # The terminal may be gone, and then there is nobody to tell.
    with contextlib.suppress(OSError):
        console.error(message, hint)


def _notes(error: BaseException) -> str:
    """Say what was being done when an error came up that nobody foresaw, as `errors.during` has noted it."""
    return "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
