"""Options that several commands share, each in one place."""

from typing import Annotated

import typer

from lungcli.core import recipe as recipes
from lungcli.core import registry
from lungcli.core.recipe import Precision, Recipe

DEFAULT = Recipe(data="phantom", model="")
"""Where the defaults of the options below come from; parameters are named like the recipe's fields."""


def _preset(method: registry.Method) -> str:
    """What a method settles unless it is typed: ` (alpha 1, epochs 300)`."""
    settled = ", ".join(f"{field.replace('_', ' ')} {value:g}" for field, value in method.preset.items())
    return f" ({settled})" if settled else ""


Net = Annotated[str, typer.Option("--model", "-m", metavar="NET", help="See `lungcli models list`.")]
Student = Annotated[str, typer.Option("--student", "-s", metavar="NET", help="See `lungcli models list`.")]
Teachers = Annotated[
    list[str],
    typer.Option(
        "--teacher",
        "-t",
        metavar="RUN|NET",
        help="A trained run, or a net to train; given several times, the mean of their probabilities teaches.",
    ),
]
USUAL_TEACHERS = ["resnet18"]
StudentOrRecipe = Annotated[
    str, typer.Option("--student", "-s", metavar="NET", help="See `lungcli models list`; a recipe names one as well.")
]
RecipeName = Annotated[
    str, typer.Option("--recipe", metavar="NAME|FILE", help="Settings to start from; see `lungcli recipes list`.")
]
MaxDrop = Annotated[
    float, typer.Option("--max-drop", min=0, max=1, help="Balanced accuracy that int8 may lose to the teacher.")
]
Prune = Annotated[
    float,
    typer.Option("--prune", metavar="SHARE", help="Cut this share of the base student's channels before it is taught."),
]
QatEpochs = Annotated[
    int,
    typer.Option(
        "--qat-epochs", min=0, help="Fine-tune in int8 for so many epochs where no other way holds; 0: don't."
    ),
]

Data = Annotated[str, typer.Option("--data", "-d", metavar="NAME", help="Data set to learn from.")]
Name = Annotated[str, typer.Option("--name", metavar="NAME", help="Name of the run; made up if left out.")]
Size = Annotated[int, typer.Option("--size", metavar="PIXELS", help="Side of the square slice the net sees.")]
Split = Annotated[
    str,
    typer.Option(
        "--split",
        metavar="grouped|random|SPLIT|FILE",
        help="Keep look-alikes on one side, or (flattering) split slices at random; or one of `lungcli data split`.",
    ),
]
SplitSeed = Annotated[int, typer.Option("--split-seed", help="Another seed gives another split.")]
Folds = Annotated[int, typer.Option("--folds", help="Cross-validate: a run a fold, then all together; 0: one split.")]
Fold = Annotated[int, typer.Option("--fold", help="Train and judge on this fold alone, from 1; 0: on all.")]
Seed = Annotated[int, typer.Option("--seed", help="Seed of weights, batches and augmentation.")]
Epochs = Annotated[int, typer.Option("--epochs", help="Most passes over the training part.")]
Batch = Annotated[int, typer.Option("--batch", help="Slices a step.")]
MicroBatch = Annotated[int, typer.Option("--micro-batch", help="Slices of a step in memory at once; 0: all of them.")]
LearningRate = Annotated[float, typer.Option("--learning-rate", "--lr", help="Peak rate of AdamW.")]
Patience = Annotated[int, typer.Option("--patience", help="Stop after so many epochs without a better one; 0: never.")]
Keep = Annotated[
    recipes.Keep, typer.Option("--keep", help="Which epoch is the result: the best by validation, or the last.")
]
Pretrained = Annotated[
    bool, typer.Option("--pretrained", help="Start from ImageNet weights: the extra `pretrained`, or a download.")
]
Mixup = Annotated[
    float, typer.Option("--mixup", help="Blend slices: the strength of Beta(m, m), 1 for even blends; 0: none.")
]
Device = Annotated[str, typer.Option("--device", metavar="DEVICE", help="auto, cpu, cuda or mps.")]
Devices = Annotated[
    int,
    typer.Option(
        "--devices", metavar="N", min=1, max=1024, help="Share each step among N GPUs, or N processes on a CPU."
    ),
]
Threads = Annotated[int, typer.Option("--threads", help="CPU threads, of each device; 0: one a core.")]
PrecisionOption = Annotated[Precision, typer.Option("--precision", help="Precision to train in.")]
Method = Annotated[
    str,
    typer.Option(
        "--method",
        metavar="METHOD",
        help="How to learn from the teacher (and what goes with that unless typed). "
        + "; ".join(f"{row.name}: {row.about}{_preset(row)}" for row in registry.METHODS.values()),
    ),
]
Alpha = Annotated[float, typer.Option("--alpha", min=0, max=1, help="Share of the teacher in the loss.")]
Temperature = Annotated[float, typer.Option("--temperature", help="Softens both nets' outputs in the loss.")]
Model = Annotated[
    str,
    typer.Option("--model", "-m", metavar="MODEL", help="Run, RUN/STAGE or .onnx file; `bundled` if left out."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
