"""When pruning is refused, which stages it adds, and what is said of it."""

import pytest

from lungcli.core import recipe as recipes
from lungcli.core import runs
from lungcli.core.errors import UsageError
from lungcli.core.recipe import Recipe
from lungcli.modelfile import model_paths
from lungcli.modelfile.model_card import Pruning
from lungcli.pipeline import prune as pruning
from lungcli.pipeline import stages


def recipe(model: str = "mobilenetv2", prune: float = 0.5) -> Recipe:
    return recipes.make(data="d", model=model, teacher="resnet18", prune=prune)


def test_the_stage_is_there_only_where_a_recipe_prunes() -> None:
    with_it, without = (runs.create(f"r{share}", "compress", recipe(prune=share)) for share in (0.5, 0.0))
    assert model_paths.stages(with_it) == ("teacher", "base", "pruned", "student", "int8")
    assert model_paths.stages(without) == ("teacher", "base", "student", "int8")


def test_teachers_and_base_student_stay_whole() -> None:
    shares = {
        stage: stages.recipe_of(recipe(), stage).prune for stage in ("teacher", "base", "pruned", "student", "int8")
    }
    assert shares == {"teacher": 0.0, "base": 0.0, "pruned": 0.5, "student": 0.5, "int8": 0.0}


def test_what_cannot_be_pruned_is_refused_before_any_work() -> None:
    with pytest.raises(UsageError, match="shufflenetv2 cannot be pruned") as caught:
        pruning.require_prunable("compress", recipe("shufflenetv2"))
    assert "mobilenetv2" in caught.value.hint
    with pytest.raises(UsageError, match="only a compression prunes"):
        pruning.require_prunable("train", recipe())
    pruning.require_prunable("compress", recipe("shufflenetv2", prune=0.0))
    pruning.require_prunable("distill", recipe(prune=0.0))


@pytest.mark.parametrize("share", [-0.1, 0.95])
def test_a_share_out_of_range_is_named(share: float) -> None:
    with pytest.raises(UsageError, match=f"prune is {share}, outside 0 to 0.9"):
        recipe(prune=share)


def test_what_is_left_is_put_into_words() -> None:
    cut = Pruning(
        share=0.5,
        parameters_before=2_227_139,
        parameters=581_331,
        multiply_adds_before=214_900_000,
        multiply_adds=55_700_000,
    )
    assert pruning.in_words(cut) == "2.23 → 0.58 M parameters, 215 → 56 M multiply-adds a slice"
