"""Teachers of other runs, and adopted ones: which a run may learn from, and how they come into it."""

import shutil

from lungcli.core import paths
from lungcli.core import recipe as recipes
from lungcli.core.errors import UsageError
from lungcli.core.recipe import Recipe
from lungcli.core.runs import Run
from lungcli.datasets.manifest import Manifest
from lungcli.datasets.splits import Split
from lungcli.modelfile import model_paths
from lungcli.modelfile.model_card import ModelCard
from lungcli.pipeline.stages import RunData


def reused_teacher(run: Run, stage: str) -> str:
    """Name the run whose teacher `stage` takes over; empty where this run trains its own."""
    origins = zip(model_paths.teacher_stages(run.recipe), recipes.as_tuple(run.info.teacher_run), strict=False)
    return dict(origins).get(stage, "")


def reuse_teacher(run: Run, stage: str, run_data: RunData) -> str:
    """Copy the teacher of another run into this one, and name it. Raises UsageError when it is of another split."""
    from lungcli.modelfile import model_file
    from lungcli.training import loop

    origin = reused_teacher(run, stage)
    source = model_paths.teacher_file(origin)
    card = model_file.read_card(source)
    check_teacher_compatible(card, run_data.manifest, run_data.split, run.recipe, origin)
    if not card.adopted:
        with paths.atomic_replace(run.stage(stage) / loop.BEST) as partial:
            shutil.copyfile(source.with_name(loop.BEST), partial)
    with paths.atomic_replace(run.stage(stage) / model_paths.MODEL) as partial:
        shutil.copyfile(source, partial)
    return (
        f"{origin}, trained elsewhere: it may have seen the test slices"
        if card.adopted
        else f"{card.model} of {origin}"
    )


def check_teacher_compatible(card: ModelCard, data: Manifest, split: Split, recipe: Recipe, name: str) -> None:
    """Raise UsageError for a teacher of another split, which may know the test slices, of another size, or in int8.

    Of an adopted one nobody knows the split, and whatever its file computes can be distilled.
    """
    if card.adopted and card.classes != data.classes:
        raise UsageError(
            f"the teacher {name!r} has the classes {', '.join(card.classes)}, {data.name!r} {', '.join(data.classes)}",
            "adopt it again, naming --classes as the data set does",
        )
    if not card.adopted and card.split.digest != split.digest:
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
    if not card.adopted and card.precision != "float32":
        run, _, _ = name.partition("/")
        raise UsageError(
            f"the teacher {name!r} is an {card.precision} file, and only a net with float weights can be distilled",
            f"name the net it was made from: --teacher '{run}/student'",
        )
