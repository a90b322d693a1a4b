"""`lungcli distill`."""

from lungcli.cli import options


@options.with_options_of("distill")
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

    distributed.run_on_devices(devices, settings.values["device"], lambda: run_job.start_run("distill", settings, name))
