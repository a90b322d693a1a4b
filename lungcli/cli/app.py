"""The command `lungcli`: its commands, its help, and its exit codes."""

import contextlib
import functools
import gc
import os
import re
import sys
import warnings
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from lungcli import __version__
from lungcli.cli import console, distributed, help_pages, signals
from lungcli.core import errors, names

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

COMMANDS = {
    "Predict": ("predict", "demo", "serve", "export"),
    "Train and compress": ("compress", "train", "distill", "quantize", "search", "recipes"),
    "Measure": ("evaluate", "compare", "calibrate", "benchmark"),
    "Data": ("data",),
    "Watch": ("dashboard", "runs", "models"),
    "Help and settings": ("doctor", "config", "help"),
}
"""Every command, in the panels of the help."""

# Where a command is, if not in the module of its name as a function of that name; and more commands of a group, whose
# modules import the group's.
_PLACES = {
    "compress": ("train:compress",),
    "distill": ("train:distill",),
    "recipes": ("recipes:app",),
    "data": ("data:app", "data_combine:combine", "data_download:download"),
    "runs": ("runs:app", "runs_reproduce:reproduce"),
    "models": ("models:app",),
    "config": ("config:app",),
    "help": ("help_topics:help_",),
}


@functools.cache
def program(only: str = "") -> help_pages.App:
    """Build the program, with one command or all of them: what is not called is not imported."""
    app = help_pages.App(
        help=HELP,
        context_settings={"help_option_names": ["-h", "--help"]},
        invoke_without_command=True,
        no_args_is_help=False,
    )
    app.callback()(_global_options)
    for panel, members in COMMANDS.items():
        for name in members:
            if only in ("", name):
                command = _command(name)
                if isinstance(command, typer.Typer):
                    app.add_typer(command, rich_help_panel=panel)
                else:
                    app.command(name, rich_help_panel=panel)(command)
    return app


@functools.cache
def _command(name: str) -> Any:
    command, *others = (names.imported(f"lungcli.cli.{place}") for place in _PLACES.get(name, (f"{name}:{name}",)))
    for other in others:
        command.command()(other)
    return command


def _words() -> list[str]:
    """Return the arguments, or what the shell that asks to complete a word has before it."""
    if not os.environ.get("_LUNGCLI_COMPLETE"):
        return sys.argv[1:]
    typed = os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS", "")
    return re.split(r"\s", typed)[1:-1]


def _called(words: Sequence[str]) -> str:
    """Return the command that is called; nothing where the page or the names of others may be asked for."""
    name = next((item for item in words if item not in ("--quiet", "-q", "--no-color", "--debug")), "")
    return name if name != "help" and any(name in members for members in COMMANDS.values()) else ""


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"lungcli {__version__}")
        raise typer.Exit


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
        from lungcli.cli import welcome

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
        program(_called(_words()))(prog_name="lungcli")
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
