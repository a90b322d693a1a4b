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

    A teacher, or what it starts from, may be the NAME of another cross-validation: each fold then takes that of its
    fold. Raises UsageError as `jobs.start` does, before any run is made.
    """
    of_folds = [_with_runs_of_fold(recipe) for recipe in folds]
    for recipe in of_folds:
        jobs.resolve(kind, recipe)
    return [jobs.start(kind, recipe, name and f"{name}-fold{recipe.fold}")[0] for recipe in of_folds]


def _with_runs_of_fold(recipe: Recipe) -> Recipe:
    """Return the recipe with each cross-validation that it names replaced by its run of the same fold."""
    nets, known = {names.spelling(net) for net in registry.NETS}, runs.known()

    def of_this_fold(spec: str) -> str:
        run, slash, stage = spec.partition("/")
        fold = f"{run}-fold{recipe.fold}"
        is_cross_validation = names.spelling(spec) not in nets and run not in known and fold in known
        return f"{fold}{slash}{stage}" if is_cross_validation else spec

    teachers = recipes.pack_teachers([of_this_fold(teacher) for teacher in recipes.as_tuple(recipe.teacher)])
    return msgspec.structs.replace(recipe, teacher=teachers, start=of_this_fold(recipe.start))
