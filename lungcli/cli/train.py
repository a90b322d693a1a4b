"""`lungcli train`."""

from lungcli.cli import options


@options.with_options_of("train")
def train(settings: options.Settings, name: options.Name = "", devices: options.Devices = 1) -> None:
    """Train a net on a data set, and evaluate it once on its test part.

    With --devices N the result is that of one device, except for rounding and the random numbers of dropout. On a CPU,
    batch normalisation sees the slices of each process alone, as with --micro-batch at an Nth of the batch.

    \b
    Examples:
      lungcli train --model resnet18 --data phantom
      lungcli train --model resnet18 --data phantom --folds 5      (cross-validation)
      lungcli train --model resnet18 --data phantom --devices 2    (each gets half of every batch)
    """
    from lungcli.cli import distributed, run_job

    distributed.run_on_devices(devices, settings.values["device"], lambda: run_job.start_run("train", settings, name))
