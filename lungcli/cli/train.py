"""`lungcli train`."""

import typer

from lungcli.cli import options as opt
from lungcli.cli.options import DEFAULT


def train(
    context: typer.Context,
    model: opt.Net,
    data: opt.Data = DEFAULT.data,
    name: opt.Name = "",
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

    distributed.share(devices, device, lambda: run_job.begin("train", context, name))
