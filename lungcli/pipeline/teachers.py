"""Teachers of other runs, and adopted ones: which a run may learn from, and how they come into it."""

import shutil

import msgspec

from lungcli.core import paths
from lungcli.core import recipe as recipes
from lungcli.core.errors import UsageError
from lungcli.core.recipe import Recipe
from lungcli.core.runs import Run
from lungcli.datasets import training_slices
from lungcli.datasets.manifest import Manifest
from lungcli.datasets.splits import Split
from lungcli.modelfile import model_file, model_paths
from lungcli.modelfile.model_card import ModelCard
from lungcli.pipeline import stages
from lungcli.pipeline.stages import RunData


def reused_teacher(run: Run, stage: str) -> str:
    """Name the run whose teacher `stage` takes over; empty where this run trains its own."""
    origins = zip(model_paths.teacher_stages(run.recipe), recipes.as_tuple(run.info.teacher_run), strict=False)
    return dict(origins).get(stage, "")


def reuse_teacher(run: Run, stage: str, run_data: RunData) -> str:
    """Copy the teacher of another run into this one, and name it. Raises UsageError when it is of another split."""
    from lungcli.training import loop

    origin = reused_teacher(run, stage)
    source = model_paths.teacher_file(origin)
    card = model_file.read_card(source)
    check_teacher_compatible(card, run_data.manifest, run_data.split, run.recipe, origin)
    to = run.stage(stage) / model_paths.MODEL
    if model_paths.file_alone(origin) and not card.adopted:
        # Of this run's test slices it has seen none: there it is evaluated anew, and compared.
        split = stages.split_card(run.recipe, run_data.split)
        to.parent.mkdir(parents=True, exist_ok=True)
        model_file.write(source, msgspec.structs.replace(card, stage=stage, split=split, figures=None), to)
        return f"{card.model} of {origin}, which has seen none of the test slices"
    if not card.adopted:
        with paths.atomic_replace(run.stage(stage) / loop.BEST) as partial:
            shutil.copyfile(source.with_name(loop.BEST), partial)
    elif (weights := model_paths.weights_beside(source)).is_file():
        with paths.atomic_replace(model_paths.weights_beside(to)) as partial:
            shutil.copyfile(weights, partial)
    with paths.atomic_replace(to) as partial:
        shutil.copyfile(source, partial)
    if card.adopted:
        return f"{origin}, trained elsewhere: it may have seen the test slices"
    return f"{card.model} of {origin}"


def check_teacher_compatible(card: ModelCard, data: Manifest, split: Split, recipe: Recipe, name: str) -> None:
    """Raise UsageError for a teacher of another split, which may know the test slices, of another size, or in int8.

    Of an adopted one nobody knows the split; the bundled one's file tells the slices that it has seen. Whatever the
    file of either computes can be distilled.
    """
    alone = model_paths.file_alone(name) is not None
    if alone and card.classes != data.classes:
        raise UsageError(
            f"the teacher {name!r} has the classes {', '.join(card.classes)}, {data.name!r} {', '.join(data.classes)}",
            "name a net; or adopt a model with --classes as the data set has them",
        )
    if alone and (seen := set(split.test).difference(training_slices.unseen(card.training_slices, data))):
        raise UsageError(
            f"the teacher {name!r} was trained on {len(seen)} of the {len(split.test)} test slices, or on slices of "
            "their groups",
            "train one on this split: name a net, as in --teacher resnet18",
        )
    if not alone and card.split.digest != split.digest:
        raise UsageError(
            f"the teacher {name!r} was trained on another split than this run's, so it may know the test slices",
            f"train one on this split: name a net, as in --teacher {card.model}",
        )
    if card.size != recipe.size:
        raise UsageError(
            f"the teacher {name!r} takes slices of {card.size} pixels, this run {recipe.size}",
            f"use --size {card.size}",
        )
    if card.recipe.resize != recipe.resize:
        raise UsageError(
            f"the teacher {name!r} sees slices by {card.recipe.resize!r}, this run by {recipe.resize!r}",
            "name teachers that see the same of a slice",
        )
    if not alone and card.precision != "float32":
        run, _, _ = name.partition("/")
        raise UsageError(
            f"the teacher {name!r} is an {card.precision} file, and only a net with float weights can be distilled",
            f"name the net it was made from: --teacher '{run}/student'",
        )
