"""The form that starts jobs, as values: its fields, what is wrong with them, and the command line they make."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import msgspec

from lungcli.core import names, registry
from lungcli.core import recipe as recipes
from lungcli.core.errors import LungcliError
from lungcli.core.recipe import Keep, Precision, Protocol, Recipe

KINDS = ("compress", "train", "distill", "quantize")
LEFT_OUT = {"compress": ("--recipe", "--devices"), "train": ("--devices",), "distill": ("--devices",)}
"""Options that no form has: a bundled recipe brings its own values, which those of a form would hide, and several
devices are what job schedulers start."""

CHOSEN = ("precisions", "methods", "forms", "metrics")
"""Choices outside of which there is nothing to type."""

_TRAINING = ("compress", "train", "distill")
_FORMS = ("int8", "float16", "int8-weights")
_METRICS = ("balanced-accuracy", "malignant-sensitivity", "macro-f1", "kappa", "accuracy")
_DEFAULT = Recipe(data="phantom", model="")


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One line of the form. `name` is the recipe's field, where it is one; `choices` come from `choices`."""

    name: str
    option: str
    label: str
    about: str
    kinds: tuple[str, ...] = _TRAINING
    usual: str = ""
    needed: bool = False
    choice: str = ""
    flag: bool = False


def _of_recipe(name: str, label: str, about: str, kinds: tuple[str, ...] = _TRAINING, option: str = "") -> Field:
    value = getattr(_DEFAULT, name)
    return Field(
        name=name,
        option=option or f"--{name.replace('_', '-')}",
        label=label,
        about=about,
        kinds=kinds,
        usual="" if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value),
        flag=isinstance(value, bool),
        choice={"protocol": "splits", "precision": "precisions", "keep": "epochs", "method": "methods"}.get(name, ""),
    )


_TEACHER = "nets to train or trained runs; several with commas"
_STUDENTS, _QUANTIZE = ("compress", "distill"), ("quantize",)

FIELDS: tuple[Field, ...] = (
    Field(
        name="model",
        option="--student",
        label="Student",
        about="the small net",
        needed=True,
        choice="nets",
        kinds=_STUDENTS,
    ),
    Field(
        name="model",
        option="--model",
        label="Net",
        about="what is trained",
        needed=True,
        choice="nets",
        kinds=("train",),
    ),
    Field(
        name="teacher",
        option="--teacher",
        label="Teacher",
        about=_TEACHER,
        usual="resnet18",
        choice="teachers",
        kinds=("compress",),
    ),
    Field(
        name="teacher",
        option="--teacher",
        label="Teacher",
        about=_TEACHER,
        needed=True,
        choice="teachers",
        kinds=("distill",),
    ),
    Field(
        name="source",
        option="",
        label="Model",
        about="a float model to make int8 of",
        needed=True,
        choice="models",
        kinds=_QUANTIZE,
    ),
    Field(name="data", option="--data", label="Data", about="data set to learn from", usual="phantom", choice="data"),
    _of_recipe("epochs", "Epochs", "most passes over the training part"),
    _of_recipe("size", "Size", "side of the slice in pixels"),
    _of_recipe("batch", "Batch", "slices a step"),
    _of_recipe("learning_rate", "Learning rate", "peak of AdamW"),
    _of_recipe("max_drop", "Max drop", "the gate: balanced accuracy that int8 may lose", ("compress",)),
    _of_recipe("prune", "Prune", "share of channels cut before teaching; 0: none", ("compress",)),
    _of_recipe(
        "qat_epochs", "QAT epochs", "fine-tune in int8 where nothing else holds; 0: don't", ("compress", "quantize")
    ),
    Field(name="form", option="--to", label="To", about="int8 is fast", usual="int8", choice="forms", kinds=_QUANTIZE),
    Field(
        name="max_drop",
        option="--max-drop",
        label="Max drop",
        about="the gate: what it may lose of the metric",
        usual="0.01",
        kinds=_QUANTIZE,
    ),
    Field(
        name="min_agreement",
        option="--min-agreement",
        label="Agreement",
        about="share of verdicts that must stay",
        usual="0.99",
        kinds=_QUANTIZE,
    ),
    Field(
        name="metric",
        option="--metric",
        label="Metric",
        about="what the gate looks at",
        usual="balanced-accuracy",
        choice="metrics",
        kinds=_QUANTIZE,
    ),
    _of_recipe("method", "Method", "it settles what is as usual below", _STUDENTS),
    _of_recipe("alpha", "Alpha", "share of the teacher in the loss", _STUDENTS),
    _of_recipe("temperature", "Temperature", "softens both nets in the loss", _STUDENTS),
    _of_recipe("protocol", "Split", "grouped, random (flatters), or a split file", option="--split"),
    _of_recipe("split_seed", "Split seed", "another seed, another split"),
    _of_recipe("folds", "Folds", "cross-validate: a run a fold; 0: one split"),
    _of_recipe("fold", "Fold", "train on this fold alone; 0: on all"),
    _of_recipe("seed", "Seed", "of weights, batches, augmentation"),
    _of_recipe("patience", "Patience", "epochs without a better one; 0: never stop"),
    _of_recipe("keep", "Keep", "which epoch: best by validation, or last"),
    _of_recipe("mixup", "Mixup", "strength of blending slices; 0: none"),
    _of_recipe("micro_batch", "Micro-batch", "slices in memory at once; 0: all"),
    _of_recipe("pretrained", "Pretrained", "ImageNet weights: a download"),
    _of_recipe("precision", "Precision", "bfloat16 where the processor has it"),
    _of_recipe("device", "Device", "auto, cpu, cuda or mps"),
    _of_recipe("threads", "Threads", "0: one a core"),
    Field(name="name", option="--name", label="Name", about="of the run; made up if left out"),
    Field(name="output", option="--output", label="Output", about="where to write; beside the model", kinds=_QUANTIZE),
    Field(
        name="data",
        option="--data",
        label="Data",
        about="the model's own, if left out",
        choice="data",
        kinds=_QUANTIZE,
    ),
    Field(
        name="overwrite",
        option="--overwrite",
        label="Overwrite",
        about="replace a file that is there",
        flag=True,
        kinds=_QUANTIZE,
    ),
)


def of_kind(kind: str) -> tuple[Field, ...]:
    """The fields of one kind of job, in order."""
    return tuple(field for field in FIELDS if kind in field.kinds)


def static_choices() -> dict[str, tuple[str, ...]]:
    """Choices that do not depend on what is on this machine."""
    return {
        "nets": tuple(registry.NETS),
        "splits": get_args(Protocol),
        "precisions": get_args(Precision),
        "epochs": get_args(Keep),
        "methods": tuple(registry.METHODS),
        "forms": _FORMS,
        "metrics": _METRICS,
    }


def arguments(kind: str, values: Mapping[str, str]) -> tuple[str, ...]:
    """The command line of the form without `lungcli`; what is as usual is left out."""
    found = [kind]
    for field in of_kind(kind):
        value = values.get(field.name, "").strip()
        if not value or (value == field.usual and not field.needed):
            continue
        if field.flag:
            found.append(field.option)
        elif not field.option:
            found.append(value)
        else:
            found += [part for each in _each(field, value) for part in (field.option, each)]
    return tuple(found)


def _each(field: Field, value: str) -> list[str]:
    """What an option that may be given several times is given."""
    return [name.strip() for name in value.split(",") if name.strip()] if field.name == "teacher" else [value]


def command(kind: str, values: Mapping[str, str]) -> str:
    """The command as one types it in a shell."""
    return shlex.join(("lungcli", *arguments(kind, values)))


def problems(kind: str, values: Mapping[str, str], choices: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """What is wrong with the form, by field; nothing where it can be started."""
    found = {}
    for field in of_kind(kind):
        value = values.get(field.name, "").strip()
        if said := _problem(field, value, choices) or _beside_others(field, value, values):
            found[field.name] = said
    return found


def _beside_others(field: Field, value: str, values: Mapping[str, str]) -> str:
    """What is wrong with a value only because of the others."""
    if field.name != "fold" or value in ("", "0"):
        return ""
    folds = values.get("folds", "").strip() or "0"
    if folds == "0":
        named = values.get("protocol", "").strip() not in ("", *get_args(Protocol))
        return "" if named else "say how many folds there are"
    return f"there are {folds} folds" if folds.isdecimal() and int(value) > int(folds) else ""


def _problem(field: Field, value: str, choices: Mapping[str, tuple[str, ...]]) -> str:
    if not value:
        return "needed" if field.needed else ""
    if field.name == "name":
        try:
            names.checked(value, "run")
        except LungcliError as error:
            return error.hint
        return ""
    if field.choice in ("nets", "teachers", "data"):
        known = choices.get(field.choice, ())
        return next(filter(None, (_unknown(name, known) for name in _each(field, value))), "")
    if field.name == "protocol":
        missing = value.endswith(".json") and not Path(value).is_file()
        return f"there is no file {value}" if missing else ""
    if field.name == "min_agreement":
        return _no_share(value)
    if field.flag or not hasattr(_DEFAULT, field.name):
        return ""
    return _out_of_range(field.name, value)


def _unknown(value: str, known: tuple[str, ...]) -> str:
    spelled = {names.spelling(name) for name in known}
    if names.spelling(value) in spelled or names.spelling(value.partition("/")[0]) in spelled:
        return ""
    return f"unknown; {names.suggestion(value, known)}" if known else "there is none yet: lungcli data phantom"


def _no_share(value: str) -> str:
    try:
        return "" if 0 <= float(value) <= 1 else f"{value} is outside 0 to 1"
    except ValueError:
        return f"{value!r} is no number"


def _out_of_range(name: str, value: str) -> str:
    wanted = type(getattr(_DEFAULT, name))
    try:
        number = wanted(value) if wanted in (int, float) else value
    except ValueError:
        return f"{value!r} is no {'whole number' if wanted is int else 'number'}"
    # A recipe is of one fold; how it stands to the number of folds is another question.
    beside = {"fold": 1} if name == "folds" and number else {"folds": 20} if name == "fold" and number else {}
    try:
        msgspec.convert({"data": "x", "model": "x", name: number, **beside}, recipes.Recipe)
    except (msgspec.ValidationError, ValueError) as error:
        return str(error).partition(" - at")[0]
    return ""
