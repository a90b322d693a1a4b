"""`lungcli distill`."""

from lungcli.cli import options as opt


@opt.taking("distill")
def distill(settings: opt.Settings, name: opt.Name = "", devices: opt.Devices = 1) -> None:
    """Train a small student on what a teacher, or several together, say of each slice.

    A teacher trained on another split is refused: it may know the test slices.

    \b
    Examples:
      lungcli distill --teacher resnet18 --student mobilenetv2 --data phantom
      lungcli distill -t resnet18 -t densenet121 -s mobilenetv2 --method dkd
      lungcli distill -t OTHER-RUN/student -s shufflenetv2      (a chain)
      lungcli distill -t OTHER -s shufflenetv2 --folds 5        (by OTHER-fold1 in fold 1, and so on)
    """
    from lungcli.cli import distributed, run_job

    distributed.share(devices, settings.values["device"], lambda: run_job.start_run("distill", settings, name))
