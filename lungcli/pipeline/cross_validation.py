"""Cross-validation: a run for each fold, teachers included."""

from collections.abc import Sequence

import msgspec

from lungcli.core import names, registry, runs
from lungcli.core import recipe as recipes
from lungcli.core.recipe import Recipe
from lungcli.core.runs import Kind, Run
from lungcli.pipeline import jobs


def start(kind: Kind, folds: Sequence[Recipe], name: str = "") -> list[Run]:
    """Make a run for each fold, or find those that an earlier call began: NAME-fold1, NAME-fold2, …

    A teacher may be the NAME of another cross-validation: each fold then takes the teacher of that fold. Raises
    UsageError as `jobs.start` does, before any run is made.
    """
    with_teachers = [msgspec.structs.replace(recipe, teacher=_teachers(recipe)) for recipe in folds]
    for recipe in with_teachers:
        jobs.resolve(kind, recipe)
    return [jobs.start(kind, recipe, name and f"{name}-fold{recipe.fold}")[0] for recipe in with_teachers]


def _teachers(recipe: Recipe) -> recipes.Teachers:
    """Return the recipe's teachers, with a cross-validation replaced by its run of the same fold."""
    nets, known = {names.spelling(net) for net in registry.NETS}, runs.known()
    teachers = []
    for teacher in recipes.as_tuple(recipe.teacher):
        run, slash, stage = teacher.partition("/")
        of_this_fold = f"{run}-fold{recipe.fold}"
        is_cross_validation = names.spelling(teacher) not in nets and run not in known and of_this_fold in known
        teachers.append(f"{of_this_fold}{slash}{stage}" if is_cross_validation else teacher)
    return recipes.pack_teachers(teachers)
