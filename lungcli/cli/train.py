"""`lungcli train`, `lungcli distill` and `lungcli compress`."""

from lungcli.cli import options
from lungcli.core.errors import UsageError


@options.with_options_of("train")
def train(settings: options.Settings, name: options.Name = "", devices: options.Devices = 1) -> None:
    """Train a net on a data set, and evaluate it on the test part.

    With --devices N the result is that of one device, but for rounding and dropout. On a CPU, batch normalisation sees
    the slices of each process alone, as with --micro-batch at an Nth of the batch.

    \b
    Examples:
      lungcli train --model resnet18 --data phantom
      lungcli train --model resnet18 --data phantom --folds 5
      lungcli train --model resnet18 --data phantom --devices 2
    """
    from lungcli.cli import distributed, run_job

    distributed.run_on_devices(devices, settings.values["device"], lambda: run_job.start_run("train", settings, name))


@options.with_options_of("distill")
def distill(settings: options.Settings, name: options.Name = "", devices: options.Devices = 1) -> None:
    """Distil one or several teachers into a small student.

    A teacher that was trained on another split is refused: it may have seen the test slices.

    \b
    Examples:
      lungcli distill --teacher resnet18 --student mobilenetv2 --data phantom
      lungcli distill -t resnet18 -t densenet121 -s mobilenetv2 --method dkd
      lungcli distill -t OTHER-RUN/student -s shufflenetv2  # a chain
      lungcli distill -t OTHER -s shufflenetv2 --folds 5  # of OTHER-fold1, …
    """
    from lungcli.cli import distributed, run_job

    distributed.run_on_devices(devices, settings.values["device"], lambda: run_job.start_run("distill", settings, name))


@options.with_options_of("compress")
def compress(
    settings: options.Settings, recipe: options.RecipeName = "", name: options.Name = "", devices: options.Devices = 1
) -> None:
    """Train teacher and student, distil, quantize, compare.

    Stages: teacher, student without it, distilled student, its int8 file, a table that compares them. Exit code 5 if a
    check fails. Run the same command again to continue where it stopped. Options override a recipe's settings.

    \b
    Examples:
      lungcli compress --student mobilenetv2 --teacher resnet18 --data iqothnccd
      lungcli compress --student mobilenetv2 --data iqothnccd --folds 5
      lungcli compress --student mobilenetv2 --prune 0.5  # fewer channels
      lungcli compress --recipe fast --data mine
    """
    from lungcli.cli import distributed, run_job

    if not recipe and not settings.values["model"]:
        raise UsageError("no student is named", "name one: --student mobilenetv2, or a recipe: --recipe fast")
    distributed.run_on_devices(
        devices,
        settings.values["device"],
        lambda: run_job.run_recipe(recipe, settings, name) if recipe else run_job.start_run("compress", settings, name),
    )
