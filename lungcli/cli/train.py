"""`lungcli train`."""

from lungcli.cli import options


@options.with_options_of("train")
def train(settings: options.Settings, name: options.Name = "", devices: options.Devices = 1) -> None:
    """Train one net on a data set, and measure it once on slices it never met.

    With --devices N the result is that of one device, but for the rounding of sums and the draws of dropout. On a CPU,
    batch normalisation then sees the slices of one process at a time, as with --micro-batch of a batch's Nth part.

    \b
    Examples:
      lungcli train --model resnet18 --data phantom
      lungcli train --model resnet18 --data phantom --folds 5      (every slice tested once)
      lungcli train --model resnet18 --data phantom --devices 2    (each works on half of every batch)
    """
    from lungcli.cli import distributed, run_job

    distributed.run_on_devices(devices, settings.values["device"], lambda: run_job.start_run("train", settings, name))
