"""The stage that prunes the base student: channels are cut out before it is distilled."""

from lungcli.core import registry
from lungcli.core.errors import UsageError
from lungcli.core.recipe import Recipe
from lungcli.core.runs import Kind, Run
from lungcli.modelfile.model_card import Pruning
from lungcli.pipeline import stages
from lungcli.pipeline.stages import RunData


def prune(run: Run, run_data: RunData) -> str:
    """Cut the recipe's share of channels out of the base student, store it as a model file, and describe it.

    Its metrics before distillation show what pruning alone costs. If interrupted, the stage is repeated with the same
    result. Raises LungcliError when the base student's weights are missing or damaged.
    """
    from lungcli.training import loop, trainer

    recipe, to = stages.recipe_of(run.recipe, "pruned"), run.stage("pruned") / loop.BEST
    cut = trainer.prune_weights(recipe, stages.training_material(run_data, recipe), run.stage("base") / loop.BEST, to)
    stages.export(run, "pruned", run_data, cut)
    return in_words(cut)


def in_words(cut: Pruning) -> str:
    """Say what pruning left of a net."""
    return (
        f"{cut.parameters_before / 1e6:.2f} → {cut.parameters / 1e6:.2f} M parameters, "
        f"{cut.multiply_adds_before / 1e6:.0f} → {cut.multiply_adds / 1e6:.0f} M multiply-adds a slice"
    )


def require_prunable(kind: Kind, recipe: Recipe) -> None:
    """Raise UsageError where `recipe` prunes what cannot be pruned."""
    if not recipe.prune:
        return
    if kind != "compress":
        raise UsageError("only a compression prunes: it starts from its base student", "use lungcli compress --prune")
    if not registry.net(recipe.model).prunable:
        able = ", ".join(name for name, row in registry.NETS.items() if row.prunable and row.millions < 6)
        raise UsageError(
            f"{recipe.model} cannot be pruned: its channels depend on one another",
            f"leave --prune out, or choose another student: {able}",
        )
