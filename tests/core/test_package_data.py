"""What comes with the program: every recipe can be read, and typed settings have the last word."""

from pathlib import Path

import pytest

from lungcli.core import package_data, registry
from lungcli.core.errors import UsageError


@pytest.mark.parametrize("name", package_data.recipe_files())
def test_every_bundled_recipe_names_what_exists(name: str) -> None:
    found = package_data.load(name)

    assert found.about
    assert found.takes
    for _, (recipe,) in found.recipes():
        assert recipe.model in registry.NETS


def test_what_is_typed_has_the_last_word() -> None:
    ((kind, (recipe,)),) = package_data.load("fast").recipes({"epochs": 1, "data": "mine"})

    assert kind == "compress"
    assert (recipe.epochs, recipe.data, recipe.size) == (1, "mine", 160)


def test_a_recipe_says_which_data_set_it_is_for_if_it_is_one() -> None:
    assert package_data.load("default").data == "lung4"
    job = package_data.RecipeRun(settings={})
    other = package_data.RecipeRun(settings={"data": "mine"})
    assert package_data.RecipeFile(about="a", takes="t", jobs=(job,)).data == ""
    assert package_data.RecipeFile(about="a", takes="t", jobs=(job, other)).data == ""


def test_folds_typed_beside_a_recipe_make_a_recipe_each() -> None:
    ((_, folds),) = package_data.load("fast").recipes({"folds": 3})

    assert [(recipe.fold, recipe.size) for recipe in folds] == [(1, 160), (2, 160), (3, 160)]


def test_an_unknown_recipe_names_the_known_ones() -> None:
    with pytest.raises(UsageError, match="unknown recipe 'fsat'") as caught:
        package_data.load("fsat")
    assert "did you mean 'fast'?" in caught.value.hint


@pytest.mark.parametrize("text", ["", "about = 1", 'about = "a"\ntakes = "b"\njobs = [{kind = "cook", settings = {}}]'])
def test_a_file_that_is_no_recipe(text: str, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(UsageError, match="is no recipe"):
        package_data.load(str(tmp_path / "mine.toml"))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read the recipe"):
        package_data.load(str(tmp_path / "mine.toml"))


def test_a_setting_that_does_not_exist(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(
        'about = "a"\ntakes = "b"\n[[jobs]]\nsettings = {model = "resnet18", speed = 3}'
    )
    with pytest.raises(UsageError, match="speed"):
        package_data.load(str(tmp_path / "mine.toml")).recipes()


def test_the_published_table_is_made_on_both_splits_alike() -> None:
    rows = {
        protocol: [
            (kind, recipe.model, recipe.teacher, recipe.method, recipe.epochs, recipe.size, recipe.alpha)
            for kind, (recipe,) in package_data.load("published-table").recipes()
            if recipe.protocol == protocol
        ]
        for protocol in ("random", "grouped")
    }
    assert rows["random"] == rows["grouped"]
    assert [row[1:3] for row in rows["random"]] == [
        ("resnet18", "resnet18"),
        ("alexnet", "resnet101"),
        ("mobilenetv2", "resnet18"),
        ("ownmodel", "alexnet"),
    ]
    assert {(row[0], *row[3:]) for row in rows["random"]} == {("compress", "kd-mean", 50, 224, 0.8)}


def test_the_tiny_recipe_prunes_what_can_be_pruned() -> None:
    ((_, (recipe,)),) = package_data.load("tiny").recipes()
    assert recipe.prune > 0.5
    assert registry.net(recipe.model).prunable
