"""The form that starts jobs, as values: its fields, what is wrong with them, and the command line they stand for."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import get_args

import msgspec

from lungcli.core import commands, names
from lungcli.core.errors import LungcliError
from lungcli.core.options import Option
from lungcli.core.recipe import Drawn

# No form has --recipe, whose values those of a form would hide, or --devices, which job schedulers start.
KINDS = ("compress", "train", "distill", "quantize")


def of_kind(kind: str) -> tuple[Option, ...]:
    """The fields of one kind of job, in order."""
    return commands.options(kind) + (() if kind == "quantize" else (commands.NAME,))


def is_needed(field: Option) -> bool:
    """Whether a field cannot be left empty; with no recipe to name the net, the form has to."""
    return field.default is msgspec.NODEFAULT or field.field == "model"


def about(field: Option) -> str:
    """What a field is, and its range."""
    return f"{field.help} ({field.range})" if field.range else field.help


def arguments(kind: str, values: Mapping[str, str]) -> tuple[str, ...]:
    """The command line of the form without `lungcli`; what is as usual is left out."""
    words = [kind]
    for field in of_kind(kind):
        value = values.get(field.field, "").strip()
        if not value or (value == field.default_text and not is_needed(field)):
            continue
        if field.kind is bool:
            words.append(field.names[0])
        elif field.argument:
            words.append(value)
        else:
            words += [word for item in _items(field, value) for word in (field.names[0], item)]
    return tuple(words)


def _items(field: Option, value: str) -> list[str]:
    """The values of an option that may be given several times, else the one value."""
    return [name.strip() for name in value.split(",") if name.strip()] if field.many else [value]


def command(kind: str, values: Mapping[str, str]) -> str:
    """The command as one types it in a shell."""
    return shlex.join(("lungcli", *arguments(kind, values)))


def problems(kind: str, values: Mapping[str, str], known: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """What is wrong with the form, by field, on a machine with the names `known`; nothing where it can be started."""
    problems = {}
    for field in of_kind(kind):
        value = values.get(field.field, "").strip()
        if problem := _problem(field, value, known) or _conflict(field, value, values):
            problems[field.field] = problem
    return problems


def _conflict(field: Option, value: str, values: Mapping[str, str]) -> str:
    """What is wrong with a value only because of those of other fields."""
    if field.field != "fold" or value in ("", "0"):
        return ""
    folds = values.get("folds", "").strip() or "0"
    if folds == "0":
        is_file = values.get("protocol", "").strip() not in ("", *get_args(Drawn))
        return "" if is_file else "say how many folds there are"
    return f"there are {folds} folds" if folds.isdecimal() and int(value) > int(folds) else ""


def _problem(field: Option, value: str, known: Mapping[str, tuple[str, ...]]) -> str:
    if not value:
        return "needed" if is_needed(field) else ""
    if field.field == "name":
        try:
            names.checked(value, "run")
        except LungcliError as error:
            return error.hint
        return ""
    if field.choices_from in ("nets", "teachers", "runs", "data", "lesions"):
        return next(
            filter(None, (_unknown(name, known.get(field.choices_from, ())) for name in _items(field, value))), ""
        )
    if field.field == "protocol":
        missing = value.endswith(".json") and not Path(value).is_file()
        return f"there is no file {value}" if missing else ""
    if field.kind not in (int, float):
        return ""
    try:
        return field.problem(field.kind(value))
    except ValueError:
        return f"{value!r} is no {'whole number' if field.kind is int else 'number'}"


def _unknown(value: str, known: tuple[str, ...]) -> str:
    spellings = {names.spelling(name) for name in known}
    if names.spelling(value) in spellings or names.spelling(value.partition("/")[0]) in spellings:
        return ""
    return f"unknown; {names.suggestion(value, known)}" if known else "there is none yet: lungcli data phantom"
