"""`lungcli train`, `lungcli distill` and `lungcli compress`."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from lungcli.cli import complete, distributed, options, quantize
from lungcli.core.commands import Quantization
from lungcli.core.errors import UsageError
from lungcli.core.runs import Kind

From = Annotated[
    str,
    options.in_panel(
        "Net",
        "Teacher; without a student it is quantized itself.",
        "--from",
        metavar="MODEL",
        autocompletion=complete.teachers,
    ),
]

Final = Annotated[
    str,
    options.in_panel(
        "Data", "Run, or folds, to repeat on all slices", "--final", metavar="RUN", autocompletion=complete.runs
    ),
]


@options.with_options_of("train", several=("data",))
def train(
    settings: options.Settings,
    name: options.Name = "",
    devices: options.Devices = 1,
    notify: options.Notify = "",
    log_to: options.LogTo = None,
) -> None:
    """Train a net on a data set, and evaluate it on the test part.

    With --devices N the result is that of one device, but for rounding and dropout. On a CPU, batch normalisation sees
    the slices of each process alone, as with --micro-batch at an Nth of the batch.

    \b
    Examples:
      lungcli train --model resnet18 --data phantom
      lungcli train --model resnet18 --data phantom --folds 5
      lungcli train -m resnet18 -d NORTH -d SOUTH --protocol institution
      lungcli train --model resnet18 --data phantom --devices 2
    """
    _run(devices, settings, notify, lambda: _start("train", settings, name, log_to))


@options.with_options_of("distill", several=("data",))
def distill(
    settings: options.Settings,
    name: options.Name = "",
    devices: options.Devices = 1,
    notify: options.Notify = "",
    log_to: options.LogTo = None,
) -> None:
    """Distil one or several teachers into a small student.

    A teacher that was trained on another split is refused: it may have seen the test slices.

    \b
    Examples:
      lungcli distill --teacher resnet18 --student mobilenetv2 --data phantom
      lungcli distill -t resnet18 -t densenet121 -s mobilenetv2 --method dkd
      lungcli distill -t OTHER-RUN/student -s shufflenetv2  # a chain
      lungcli distill -t OTHER -s shufflenetv2 --folds 5  # of OTHER-fold1, …
    """
    _run(devices, settings, notify, lambda: _start("distill", settings, name, log_to))


@options.with_options_of("compress", several=("data",))
def compress(
    settings: options.Settings,
    recipe: options.RecipeName = "",
    source: From = "",
    final: Final = "",
    name: options.Name = "",
    devices: options.Devices = 1,
    notify: options.Notify = "",
    log_to: options.LogTo = None,
) -> None:
    """Train teacher and student, distil, quantize, compare.

    Exit code 5 if a check fails. The same command again goes on.

    \b
    Examples:
      lungcli compress --student mobilenetv2 --teacher resnet18 --data iqothnccd
      lungcli compress --recipe fast --data mine
    """
    if source:
        if recipe or "teacher" in settings.typed:
            raise UsageError("--from names the teacher", "leave --teacher and --recipe out")
        if not settings.values["model"]:
            _quantize(settings, source)
            return
        settings = replace(settings, values={**settings.values, "teacher": [source]})
    if not (recipe or final or settings.values["model"]):
        raise UsageError("no student is named", "name one: --student mobilenetv2, or a recipe: --recipe fast")
    _run(devices, settings, notify, lambda: _start("compress", settings, name, log_to, recipe, final))


def _quantize(settings: options.Settings, source: str) -> None:
    """Quantize the model `source`, by itself."""
    from lungcli.cli import run_job

    allowed = {"data", "max_int8_drop", "qat_epochs", "source", "model"}
    if others := sorted(settings.typed - allowed):
        raise UsageError(f"--{others[0].replace('_', '-')} needs a --student to train", "name one, or leave it out")
    values = run_job.with_one_data_set(settings).given
    quantize.quantize_as_asked(
        Quantization(
            source=source,
            data=values["data"],
            max_int8_drop=settings.values["max_int8_drop"],
            qat_epochs=settings.values["qat_epochs"],
            overwrite=True,
        )
    )


def _start(
    kind: Kind, settings: options.Settings, name: str, log_to: Path | None, recipe: str = "", final: str = ""
) -> None:
    from lungcli.cli import run_job

    if final:
        if others := [*sorted(settings.chosen), *["recipe"] * bool(recipe)]:
            raise UsageError(
                f"--final takes every setting from {final!r}, and --{others[0].replace('_', '-')} is another",
                "leave it out, or run that recipe first",
            )
        run_job.start_final(final, name, log_to)
        return
    settings = run_job.with_one_data_set(settings)
    if recipe:
        run_job.run_recipe(recipe, settings, name, log_to)
    else:
        run_job.start_run(kind, settings, name, log_to)


def _run(devices: int, settings: options.Settings, command: str, work: Callable[[], None]) -> None:
    from lungcli.cli import notify

    with notify.notified(command):
        distributed.run_on_devices(devices, settings.values["device"], work)
