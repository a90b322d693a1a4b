"""`lungcli distill`."""

import typer

from lungcli.cli import options as opt
from lungcli.cli.options import DEFAULT


def distill(
    context: typer.Context,
    model: opt.Student,
    teacher: opt.Teachers,
    data: opt.Data = DEFAULT.data,
    name: opt.Name = "",
    method: opt.Method = DEFAULT.method,
    alpha: opt.Alpha = DEFAULT.alpha,
    temperature: opt.Temperature = DEFAULT.temperature,
    size: opt.Size = DEFAULT.size,
    protocol: opt.Split = DEFAULT.protocol,
    split_seed: opt.SplitSeed = DEFAULT.split_seed,
    folds: opt.Folds = DEFAULT.folds,
    fold: opt.Fold = DEFAULT.fold,
    seed: opt.Seed = DEFAULT.seed,
    epochs: opt.Epochs = DEFAULT.epochs,
    batch: opt.Batch = DEFAULT.batch,
    micro_batch: opt.MicroBatch = DEFAULT.micro_batch,
    learning_rate: opt.LearningRate = DEFAULT.learning_rate,
    patience: opt.Patience = DEFAULT.patience,
    keep: opt.Keep = DEFAULT.keep,
    mixup: opt.Mixup = DEFAULT.mixup,
    pretrained: opt.Pretrained = DEFAULT.pretrained,
    precision: opt.PrecisionOption = DEFAULT.precision,
    device: opt.Device = DEFAULT.device,
    devices: opt.Devices = 1,
    threads: opt.Threads = DEFAULT.threads,
) -> None:
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

    distributed.share(devices, device, lambda: run_job.begin("distill", context, name))
