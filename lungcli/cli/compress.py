"""`lungcli compress`."""

from lungcli.cli import options
from lungcli.core.errors import UsageError


@options.with_options_of("compress")
def compress(
    settings: options.Settings, recipe: options.RecipeName = "", name: options.Name = "", devices: options.Devices = 1
) -> None:
    """Teacher, student with and without it, int8, and the table that compares them; exit code 5 if the gate fails.

    Every stage is kept: the same command, typed again, goes on where it was.

    With --recipe, settings come from there, but whatever is typed has the last word.

    \b
    Examples:
      lungcli compress --student mobilenetv2 --teacher resnet18 --data iqothnccd
      lungcli compress --student mobilenetv2 --data iqothnccd --folds 5
      lungcli compress --student mobilenetv2 --prune 0.5        (narrower, then taught again)
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
