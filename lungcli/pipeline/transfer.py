"""Transfer learning: a net that starts from the weights of another run, and what that run has seen."""

import shutil

import msgspec

from lungcli.core import paths
from lungcli.core.errors import UsageError
from lungcli.core.recipe import Recipe
from lungcli.core.runs import Run
from lungcli.datasets import training_slices
from lungcli.modelfile import model_file, model_paths
from lungcli.modelfile.model_card import ModelCard
from lungcli.pipeline import stages


def resolve(recipe: Recipe) -> Recipe:
    """Return the recipe with the stage that its net starts from, as in RUN/student.

    Raises UsageError where there are no such weights, they are of another net, or have seen what this run is chosen or
    tested on; ModelFileError where that run has not come so far.
    """
    if not recipe.start:
        return recipe
    if model_paths.file_alone(recipe.start):
        raise UsageError(
            f"{recipe.start!r} is a model file alone, and has no weights to train on from", "name a run of yours"
        )
    file = model_paths.weights_folder(recipe.start, "student") / model_paths.MODEL
    card, name = model_file.read_card(file), model_paths.name_of(file)
    if card.model != recipe.model:
        raise UsageError(
            f"{name!r} is of {card.model}, and its weights do not fit {recipe.model}",
            f"train that net, or start from a run of {recipe.model}",
        )
    if card.pruning:
        raise UsageError(f"{name!r} was pruned, and training starts from a whole net", "name a run without --prune")
    _require_unseen(card, name, recipe)
    return msgspec.structs.replace(recipe, start=name)


def take_over(run: Run) -> None:
    """Copy what a new run starts from into it, so that it no longer needs the other run.

    Raises UsageError where that is gone.
    """
    from lungcli.training import loop

    to = run.folder / stages.START_MODEL
    if not run.recipe.start or to.exists():
        return
    source = model_paths.resolve(run.recipe.start)
    for file, copy in ((source.with_name(loop.BEST), run.folder / stages.START_WEIGHTS), (source, to)):
        with paths.atomic_replace(copy) as partial:
            shutil.copyfile(file, partial)


def _require_unseen(card: ModelCard, name: str, recipe: Recipe) -> None:
    """Raise UsageError where the net called `name` was trained on validation or test slices of `recipe`."""
    data, split = stages.load_with_split(recipe)
    # A final fit has the validation part of the run that it repeats, and no test part.
    _, tested = stages.load_with_split(msgspec.structs.replace(recipe, final=""))
    if card.split.digest == tested.digest:
        return
    if card.training_slices is None:
        raise UsageError(f"{name!r} is of an earlier version and does not say what it has seen", "train it again")
    asked = {*split.val, *split.test}
    if seen := asked.difference(training_slices.unseen(card.training_slices, data)):
        raise UsageError(
            f"{name!r} was trained on {len(seen)} of the {len(asked)} validation and test slices of this run, or on "
            "slices of their groups",
            "start from a run of the same split, or of other data",
        )
