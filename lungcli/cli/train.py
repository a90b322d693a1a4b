"""`lungcli train`, `lungcli distill` and `lungcli compress`."""

from lungcli.cli import options
from lungcli.core.errors import UsageError


@options.with_options_of("train", several=("data",))
def train(settings: options.Settings, name: options.Name = "", devices: options.Devices = 1) -> None:
    """Train a net on a data set, and evaluate it on the test part.

    With --devices N the result is that of one device, except for rounding and the random numbers of dropout. On a CPU,
    batch normalisation sees the slices of each process alone, as with --micro-batch at an Nth of the batch.

    \b
    Examples:
      lungcli train --model resnet18 --data phantom
      lungcli train --model resnet18 --data phantom --folds 5      (cross-validation)
      lungcli train -m resnet18 -d NORTH -d SOUTH --protocol institution
      lungcli train --model resnet18 --data phantom --devices 2    (each gets half of every batch)
    """
    from lungcli.cli import distributed, run_job

    settings = run_job.with_one_data_set(settings)
    distributed.run_on_devices(devices, settings.values["device"], lambda: run_job.start_run("train", settings, name))


@options.with_options_of("distill", several=("data",))
def distill(settings: options.Settings, name: options.Name = "", devices: options.Devices = 1) -> None:
    """Distil one or several teachers into a small student.

    A teacher that was trained on another split is refused: it may have seen the test slices.

    \b
    Examples:
      lungcli distill --teacher resnet18 --student mobilenetv2 --data phantom
      lungcli distill -t resnet18 -t densenet121 -s mobilenetv2 --method dkd
      lungcli distill -t OTHER-RUN/student -s shufflenetv2      (a chain)
      lungcli distill -t OTHER -s shufflenetv2 --folds 5        (teacher OTHER-fold1 in fold 1, and so on)
    """
    from lungcli.cli import distributed, run_job

    settings = run_job.with_one_data_set(settings)
    distributed.run_on_devices(devices, settings.values["device"], lambda: run_job.start_run("distill", settings, name))


@options.with_options_of("compress", several=("data",))
def compress(
    settings: options.Settings, recipe: options.RecipeName = "", name: options.Name = "", devices: options.Devices = 1
) -> None:
    """Train teacher and student, distil, quantize, compare.

    The stages are the teacher, the student without it, the distilled student, and its int8 file, with a table that
    compares them. Exit code 5 if a gate fails. Every stage is kept: run the same command again to continue where it
    stopped.

    With --recipe, settings come from the recipe; options beside it override them.

    \b
    Examples:
      lungcli compress --student mobilenetv2 --teacher resnet18 --data iqothnccd
      lungcli compress --student mobilenetv2 --data iqothnccd --folds 5
      lungcli compress --student mobilenetv2 --prune 0.5        (narrower, then distilled again)
      lungcli compress --recipe fast --data mine
    """
    from lungcli.cli import distributed, run_job

    if not recipe and not settings.values["model"]:
        raise UsageError("no student is named", "name one: --student mobilenetv2, or a recipe: --recipe fast")
    settings = run_job.with_one_data_set(settings)
    distributed.run_on_devices(
        devices,
        settings.values["device"],
        lambda: run_job.run_recipe(recipe, settings, name) if recipe else run_job.start_run("compress", settings, name),
    )
