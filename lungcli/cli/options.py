"""Command-line options: those of a recipe, made from its declared fields, and others that several commands share."""

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from lungcli.cli import complete
from lungcli.core import commands, settings
from lungcli.core.errors import UsageError
from lungcli.core.options import Option
from lungcli.core.recipe import OPTIONS


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Values of a command's declared options by field, and what the user typed of all its options."""

    values: Mapping[str, Any]
    typed: frozenset[str]

    @property
    def chosen(self) -> dict[str, Any]:
        """Values of the options that the user typed."""
        return {field: value for field, value in self.values.items() if field in self.typed}

    @property
    def given(self) -> dict[str, Any]:
        """What the user typed, with the only data set there is and the usual teacher; `recipe.make` fills in the rest.

        Raises UsageError where there is no data set, or none is named of several.
        """
        from lungcli.datasets import manifest

        data = {} if "data" in self.typed else {"data": manifest.only()}
        return data | {field: self.values[field] for field in ("teacher",) if field in self.values} | self.chosen


def with_options_of(
    command: str, several: tuple[str, ...] = ()
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Pass the options declared for `command` to a function as its first argument, `Settings`.

    Options of the fields `several` are repeatable: lists of texts, to be checked by the function. The decorated
    function raises UsageError for a number out of range.
    """
    options = commands.options(command)

    def decorate(work: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(work)
        def run(context: typer.Context, **given: Any) -> None:
            values = {option.field: given.pop(option.field) for option in options}
            for option in options:
                if reason := option.problem(values[option.field]):
                    raise UsageError(f"{option.names[0]} {reason}")
            typed = frozenset(field for field in context.params if _is_typed(field, context))
            work(Settings(values=values, typed=typed), **given)

        _, *own_parameters = inspect.signature(work).parameters.values()
        first = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
        declared_parameters = [_parameter(option, option.many or option.field in several) for option in options]
        rest = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own_parameters]
        vars(run)["__signature__"] = inspect.Signature([first, *declared_parameters, *rest])
        return run

    return decorate


def typer_option(option: Option, metavar: str | None = None) -> Any:
    """Return the Typer option or argument for a declared option."""
    facts = ", ".join(filter(None, (option.default_text and f"default {option.default_text}", option.range)))
    text = f"{option.help} [{facts}]" if facts else option.help
    metavar = metavar or option.metavar
    completion = complete.methods if option.field == "method" else complete.BY_CHOICES.get(option.choices_from)
    if option.argument:
        return typer.Argument(metavar=metavar, help=text, rich_help_panel=option.group, autocompletion=completion)
    return typer.Option(
        *option.names,
        metavar=metavar,
        help=text,
        show_default=False,
        rich_help_panel=option.group,
        autocompletion=completion,
    )


def _parameter(option: Option, many: bool) -> inspect.Parameter:
    metavar = "X|LOW:HIGH" if many and option.kind is float else None
    kind = list[str] if many else str if option.free else option.kind
    default: Any = inspect.Parameter.empty
    if option.default is not msgspec.NODEFAULT:
        default = list(option.default) if option.many else [] if many else option.default
    return inspect.Parameter(
        option.field,
        inspect.Parameter.KEYWORD_ONLY,
        default=default,
        annotation=Annotated[kind, typer_option(option, metavar)],
    )


def _is_typed(field: str, context: typer.Context) -> bool:
    source = context.get_parameter_source(field)
    return source is not None and source.name != "DEFAULT"


def _threads(context: typer.Context, value: int) -> int:
    """Return the number of threads as typed, else that of the settings."""
    if _is_typed("threads", context) or context.resilient_parsing:
        return value
    return int(settings.current("threads").value)


def in_panel(panel: str, text: str, *names: str, **settings: Any) -> Any:
    """Return an option under a heading of the help page, with its help; `settings` are further ones of Typer."""
    return typer.Option(*names, help=text, rich_help_panel=panel, **settings)


def model_argument(text: str) -> Any:
    """Return the argument that names a model, with its help."""
    return typer.Argument(autocompletion=complete.models, metavar="MODEL", help=text)


def data_option(text: str) -> Any:
    """Return the option that names a data set, with its help."""
    return in_panel("Data", text, "--data", "-d", autocompletion=complete.data_sets, metavar="NAME")


Name = Annotated[str, typer_option(commands.NAME)]
RecipeName = Annotated[
    str,
    in_panel(
        "Net",
        "Settings to start from: `lungcli recipes list`.",
        "--recipe",
        metavar="NAME|FILE",
        autocompletion=complete.recipes,
    ),
]
SplitSeed = Annotated[int, typer_option(OPTIONS["split_seed"])]
Notify = Annotated[str, in_panel("Output", "Command to run at the end; `bell`: ring", "--notify", metavar="COMMAND")]
LogTo = Annotated[
    Path | None, in_panel("Output", "Curves for TensorBoard (extra `tensorboard`)", "--log-to", metavar="FOLDER")
]
Devices = Annotated[
    int, in_panel("Hardware", "GPUs, or processes, to share a batch.", "--devices", metavar="N", min=1, max=1024)
]
Threads = Annotated[
    int, in_panel("Hardware", "CPU threads; 0: one a core.", "--threads", min=0, max=1024, callback=_threads)
]
Model = Annotated[
    str,
    in_panel(
        "Net",
        "Run, RUN/STAGE or .onnx file; `bundled` if left out.",
        "--model",
        "-m",
        metavar="MODEL",
        autocompletion=complete.models,
    ),
]
Json = Annotated[bool, in_panel("Output", "Print JSON.", "--json")]
