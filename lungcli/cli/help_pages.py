"""Pages of `--help`: examples first, commands and options in panels, no word cut however narrow the terminal is."""

import re
import shutil
import textwrap
from collections.abc import Callable, Iterable, Sequence
from typing import Any, get_args

import typer
from typer.core import TyperCommand, TyperGroup
from typer.models import CommandFunctionType

from lungcli.core import names
from lungcli.core.errors import UsageError
from lungcli.core.options import Group as OptionGroup

NARROWEST, WIDEST = 40, 100
COMMAND_PANELS = ("Predict", "Train and compress", "Measure", "Data", "Watch", "Help and settings")
# Panels that only one command has come between these.
_FIRST_PANELS = ("Arguments", *get_args(OptionGroup)[:-2])
_LAST_PANELS = (*get_args(OptionGroup)[-2:], "Options")
_LONGEST_NAME = 26
# What other programs call these commands.
_SYNONYMS = {
    "rm": "remove",
    "delete": "remove",
    "ls": "list",
    "info": "show",
    "continue": "resume",
    "validate": "check",
}

Record = tuple[str, str]


# Depending on its version, Typer passes and raises classes of click or of its own copy of it.
_WRONG_USAGE: type[Any] = typer.BadParameter.__mro__[1]


class Command(TyperCommand):
    """A command whose page of help has panels."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Read the arguments. Raises UsageError where they are wrong."""
        try:
            return super().make_context(info_name, args, parent, **extra)
        except _WRONG_USAGE as error:
            raise _wrong_usage(error, info_name, parent) from error

    def get_help(self, ctx: Any) -> str:
        """Return the page, as wide as the terminal."""
        return _page(self, ctx, {})

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Name arguments as they are named in the page, those that may be left out in brackets."""
        return _usage(self, ctx)


class Group(TyperGroup):
    """A command with subcommands, in panels."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Read the arguments. Raises UsageError where they are wrong; where there are none, the page is shown."""
        given = bool(args)
        try:
            return super().make_context(info_name, args, parent, **extra)
        except _WRONG_USAGE as error:
            if not given:
                raise
            raise _wrong_usage(error, info_name, parent) from error

    def get_help(self, ctx: Any) -> str:
        """Return the page, as wide as the terminal."""
        panels: dict[str, list[Record]] = {}
        for name, command in self.commands.items():
            panel = getattr(command, "rich_help_panel", None)
            # Typer has placeholders for what was not given.
            title = panel if isinstance(panel, str) else "Commands"
            if not command.hidden:
                panels.setdefault(title, []).append((name, _parts(command.help or "")[0].rstrip(".")))
        return _page(self, ctx, {title: panels[title] for title in (*COMMAND_PANELS, "Commands") if title in panels})

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Say that a command follows."""
        return [*_usage(self, ctx), "COMMAND …"]

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command. Raises UsageError with the nearest where there is none."""
        unknown = args and args[0] not in self.commands and not args[0].startswith("-")
        if unknown and not ctx.resilient_parsing:
            wanted = _SYNONYMS.get(args[0], args[0])
            raise UsageError(
                f"`{ctx.command_path}` has no command {args[0]!r}", names.suggestion(wanted, self.commands)
            )
        return super().resolve_command(ctx, args)


def _wrong_usage(error: Any, name: str | None, parent: Any) -> UsageError:
    message = error.format_message().rstrip(".")
    command = f"{parent.command_path} {name}" if parent else name
    return UsageError(message[:1].lower() + message[1:], f"see `{command} --help`")


class App(typer.Typer):
    """A Typer program whose commands have such pages."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"cls": Group, "rich_markup_mode": None, "no_args_is_help": True} | settings)

    def command(self, name: str | None = None, **settings: Any) -> Callable[[CommandFunctionType], CommandFunctionType]:
        """As Typer's."""
        return super().command(name, cls=Command, **settings)


def columns() -> int:
    """Return how wide a page is."""
    return max(NARROWEST, min(WIDEST, shutil.get_terminal_size().columns))


def paragraph(text: str, width: int, indent: str = "") -> str:
    """Wrap a text at spaces only, so that `--learning-rate` and `near-duplicate` stay whole."""
    return textwrap.fill(
        text, width, initial_indent=indent, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def example(line: str, width: int) -> str:
    """Wrap a line of shell with backslashes; a comment that does not fit stands above its command."""
    if len(line) + 2 <= width:
        return f"  {line}"
    command, _, comment = line.partition("  # ")
    above = [paragraph(f"# {comment.strip()}", width, "  ")] if comment else []
    lines = paragraph(command.strip(), width - 8).split("\n")
    return "\n".join([*above, "  " + " \\\n      ".join(lines)])


def definitions(records: Sequence[Record], width: int) -> str:
    """Write names and, in a column beside them, what they are; a long name has its line."""
    column = max((len(name) for name, _ in records if len(name) <= _LONGEST_NAME), default=_LONGEST_NAME) + 4
    lines = []
    for name, text in records:
        body = paragraph(text, width, " " * column)
        fits = len(name) + 4 <= column
        lines.append(f"  {name:<{column - 2}}{body.lstrip()}" if fits else f"  {name}\n{body}")
    return "\n".join(lines)


def _page(command: "Command | Group", ctx: Any, command_panels: dict[str, list[Record]]) -> str:
    width = columns()
    panels: dict[str, list[Record]] = {}
    summary, body, examples = _parts(command.help or "")
    sections = [textwrap.fill(command.get_usage(ctx), width, subsequent_indent="  ", break_on_hyphens=False)]
    sections += [paragraph(summary, width, "  ")] if summary else []
    sections += ["\n".join(["Examples:", *(example(line, width) for line in examples)])] if examples else []
    sections += [paragraph(text, width, "  ") for text in body]
    for parameter in command.get_params(ctx):
        usual = "Arguments" if parameter.param_type_name == "argument" else "Options"
        # Whoever reads a command's page knows how to get it.
        if not getattr(parameter, "hidden", False) and (parameter.name != "help" or isinstance(command, Group)):
            panel = getattr(parameter, "rich_help_panel", None) or usual
            panels.setdefault(panel, []).append(_record(parameter))
    first, last = ([title for title in order if title in panels] for order in (_FIRST_PANELS, _LAST_PANELS))
    others = [title for title in panels if title not in (*first, *last)]
    shown = command_panels | {title: panels[title] for title in (*first, *others, *last)}
    return "\n\n".join(sections + [f"{title}:\n{definitions(records, width)}" for title, records in shown.items()])


def _parts(text: str) -> tuple[str, list[str], list[str]]:
    """Return the first sentence of a text, its other paragraphs, and the lines of its examples."""
    paragraphs = [part.strip("\n") for part in text.split("\n\n")]
    examples = [part for part in paragraphs if part.startswith("\b")]
    prose = [" ".join(part.split()) for part in paragraphs if not part.startswith("\b")]
    lines = [line.strip() for part in examples for line in re.sub(r"^\b\s*|Examples?:", "", part).split("\n")]
    return prose[0], prose[1:], [line for line in lines if line.strip("\b ")]


def _usage(command: "Command | Group", ctx: Any) -> list[str]:
    arguments = [item for item in command.get_params(ctx) if item.param_type_name == "argument"]
    named = ((_metavar(item), item.required or _metavar(item).startswith("[")) for item in arguments)
    return ["[OPTIONS]", *(name if plain else f"[{name}]" for name, plain in named)]


def _record(parameter: Any) -> Record:
    if parameter.param_type_name == "argument":
        name = _metavar(parameter)
    else:
        value = "" if parameter.is_flag else f" {_metavar(parameter)}"
        name = ", ".join(sorted([*parameter.opts, *parameter.secondary_opts], key=len)) + value
    facts = ", ".join(_facts(parameter))
    return name, " ".join(filter(None, ((parameter.help or "").rstrip("."), f"[{facts}]" if facts else "")))


def _facts(parameter: Any) -> Iterable[str]:
    """Yield what is to be known of a parameter, but for those that a declared option has in its text already."""
    if getattr(parameter, "envvar", None):
        yield f"or {parameter.envvar}=1"
    if parameter.show_default and parameter.default not in (None, "", []) and not isinstance(parameter.default, bool):
        yield f"default {parameter.default}"
    low, high = getattr(parameter.type, "min", None), getattr(parameter.type, "max", None)
    if high is not None:
        yield f"{low:g} to {high:g}"
    elif low:
        yield f"at least {low:g}"
    if parameter.required:
        yield "required"


def _metavar(parameter: Any) -> str:
    if parameter.metavar:
        return str(parameter.metavar)
    if choices := getattr(parameter.type, "choices", None):
        return "|".join(map(str, choices))
    if parameter.param_type_name == "argument":
        return str(parameter.name).upper()
    return {"i": "N", "f": "X"}.get(str(parameter.type.name)[0], "TEXT")
