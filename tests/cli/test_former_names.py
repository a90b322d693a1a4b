"""Names of version 0.1.0 on the command line: the method `seed` and the recipe `seed-table`."""

import pytest
from typer.testing import CliRunner

from lungcli.cli.app import program
from lungcli.core.errors import UsageError
from lungcli.core.recipe import Recipe
from lungcli.core.runs import Run
from lungcli.pipeline import jobs


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Recipe]:
    """The recipes of the runs that a command would start; none is."""
    recipes: list[Recipe] = []

    def start(kind: str, recipe: Recipe, name: str = "") -> tuple[Run, bool]:
        del kind, name
        recipes.append(recipe)
        raise UsageError("not started")

    monkeypatch.setattr(jobs, "start", start)
    return recipes


@pytest.mark.parametrize("name", ["seed", "Seed", "kd-mean", "kd_mean"])
def test_the_method_is_named_kd_mean_however_it_is_typed(name: str, started: list[Recipe]) -> None:
    CliRunner().invoke(
        program(), ["distill", "--student", "ownmodel", "--teacher", "alexnet", "--method", name, "-d", "phantom"]
    )
    assert [(recipe.method, recipe.alpha, recipe.temperature) for recipe in started] == [("kd-mean", 0.8, 20.0)]


@pytest.mark.parametrize("name", ["seed-table", "published-table"])
def test_the_recipe_of_the_published_table_is_found_by_either_name(name: str, started: list[Recipe]) -> None:
    CliRunner().invoke(program(), ["compress", "--recipe", name, "--data", "phantom"])
    assert [(recipe.model, recipe.method, recipe.data) for recipe in started] == [("resnet18", "kd-mean", "phantom")]
