"""The options of the commands that the dashboard can start."""

from dataclasses import replace
from typing import Annotated, Literal, get_args

import msgspec

from lungcli.core.options import Group, Option, declared
from lungcli.core.recipe import OPTIONS, Metric, QatEpochs

Form = Literal["int8", "float16", "int8-weights"]

AXES = ("model", "size", "bits", "method", "temperature", "alpha", "learning_rate")
"""What a search can vary, in the order in which it is drawn; all but `bits` are fields of the recipe."""

NAME = Option(
    "Output",
    "Name of the run; made up if left out",
    names=("--name",),
    label="Name",
    metavar="NAME",
    field="name",
    default="",
)


class Quantization(msgspec.Struct, frozen=True, kw_only=True):
    """The options of `lungcli quantize`."""

    source: Annotated[
        str, Option("Net", "A float model", argument=True, label="Model", metavar="RUN|FILE", choices_from="models")
    ]
    form: Annotated[Form, Option("Compression", "int8: small and fast; others: small only", names=("--to",))] = "int8"
    max_int8_drop: Annotated[
        float,
        Option("Compression", "Largest drop, float to quantized", 0, 1, names=("--max-int8-drop", "--max-drop")),
    ] = 0.01
    min_agreement: Annotated[float, Option("Compression", "Share of findings to stay", 0, 1)] = 0.99
    metric: Annotated[
        Metric,
        Option("Compression", "Or sensitivity, worst-institution, accuracy, macro-f1, kappa", metavar="FIGURE"),
    ] = "balanced-accuracy"
    qat_epochs: QatEpochs = 0
    data: Annotated[
        str,
        Option(
            "Data", "The model's own data set, if left out", names=("--data", "-d"), metavar="NAME", choices_from="data"
        ),
    ] = ""
    calibrate_on: Annotated[str, Option("Data", "For an adopted model: pictures, unlabelled", metavar="FOLDER")] = ""
    output: Annotated[
        str, Option("Output", "Where to write; beside the model, if left out", names=("--output", "-o"), metavar="FILE")
    ] = ""
    overwrite: Annotated[bool, Option("Output", "Replace an existing file")] = False


_EXCLUDED_GROUPS: dict[str, tuple[Group, ...]] = {
    "train": ("Distillation", "Compression"),
    "distill": ("Compression",),
    "search": ("Compression",),
}


def options(command: str) -> tuple[Option, ...]:
    """Return the options of `train`, `distill`, `compress`, `search` or `quantize`, group by group.

    A run's name is not among them: see `NAME`.
    """
    by_field = declared(Quantization) if command == "quantize" else dict(OPTIONS)
    if command in ("distill", "compress", "search"):
        # A recipe may name the student, and so does an existing study.
        default = msgspec.NODEFAULT if command == "distill" else ""
        by_field["model"] = replace(by_field["model"], names=("--student", "-s"), label="Student", default=default)
    if command == "distill":
        by_field["teacher"] = replace(by_field["teacher"], default=msgspec.NODEFAULT)
    if command == "search":
        del by_field["folds"], by_field["fold"], by_field["start"]
    groups = [group for group in get_args(Group) if group not in _EXCLUDED_GROUPS.get(command, ())]
    return tuple(option for group in groups for option in by_field.values() if option.group == group)
