"""`lungcli compress`."""

import typer

from lungcli.cli import options as opt
from lungcli.cli.options import DEFAULT
from lungcli.core.errors import UsageError


def compress(
    context: typer.Context,
    model: opt.StudentOrRecipe = "",
    recipe: opt.RecipeName = "",
    teacher: opt.Teachers = opt.USUAL_TEACHERS,
    max_drop: opt.MaxDrop = DEFAULT.max_drop,
    prune: opt.Prune = DEFAULT.prune,
    qat_epochs: opt.QatEpochs = DEFAULT.qat_epochs,
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

    if recipe:
        distributed.share(devices, device, lambda: run_job.follow(recipe, context, name))
    elif not model:
        raise UsageError("no student is named", "name one: --student mobilenetv2, or a recipe: --recipe fast")
    else:
        distributed.share(devices, device, lambda: run_job.begin("compress", context, name))
