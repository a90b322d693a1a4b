"""`lungcli compress`."""

from lungcli.cli import options
from lungcli.core.errors import UsageError


@options.with_options_of("compress")
def compress(
    settings: options.Settings, recipe: options.RecipeName = "", name: options.Name = "", devices: options.Devices = 1
) -> None:
    """Train a teacher, a base student and a distilled one, quantize it, and compare all; exit code 5 if a gate fails.

    Every stage is kept: run the same command again to continue where it stopped.

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
    distributed.run_on_devices(
        devices,
        settings.values["device"],
        lambda: run_job.run_recipe(recipe, settings, name) if recipe else run_job.start_run("compress", settings, name),
    )
