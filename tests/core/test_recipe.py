"""Recipes: checked when made, the same after writing and reading."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lungcli.core import recipe as recipes
from lungcli.core.errors import UsageError


@given(
    size=st.integers(32, 1024),
    epochs=st.integers(1, 10_000),
    rate=st.floats(1e-7, 10),
    alpha=st.floats(0, 1),
    data=st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1),
)
def test_toml_round_trip(
    tmp_path_factory: pytest.TempPathFactory, size: int, epochs: int, rate: float, alpha: float, data: str
) -> None:
    made = recipes.make(data=data, model="resnet18", size=size, epochs=epochs, learning_rate=rate, alpha=alpha)
    path = tmp_path_factory.mktemp("recipe") / "recipe.toml"
    recipes.save(made, path)
    assert recipes.load(path) == made


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("size", 16),
        ("epochs", 0),
        ("batch", 1),
        ("alpha", 1.5),
        ("temperature", 0.0),
        ("learning_rate", -1.0),
        ("mixup", -0.1),
    ],
)
def test_a_value_out_of_range_is_named(field: str, value: float) -> None:
    with pytest.raises(UsageError, match=f"^--{field.replace('_', '-')} is {value}, outside "):
        recipes.make(data="d", model="m", **{field: value})
    with pytest.raises(ValueError, match=f"^{field} is {value}, outside "):
        recipes.Recipe(data="d", model="m", **{field: value})  # type: ignore[arg-type]


def test_a_file_with_a_value_out_of_range_names_the_field(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text('data = "d"\nmodel = "m"\nlearning_rate = 11.0\n')
    with pytest.raises(UsageError, match=r"r\.toml is no recipe: learning_rate is 11\.0, outside 1e-07 to 10$"):
        recipes.load(tmp_path / "r.toml")


def test_every_setting_is_declared_in_a_line_and_its_default_is_in_its_range() -> None:
    for field in msgspec.structs.fields(recipes.Recipe):
        if field.name not in ("split", "final", "augment"):
            option = recipes.OPTIONS[field.name]
            assert 0 < len(option.help) <= 60
            assert not option.help.endswith(".")
            assert option.problem(option.default) == ""
            assert option.range or field.name in ("split_seed", "seed") or option.kind not in (int, float)


def test_a_method_presets_what_is_left_out_and_nothing_else() -> None:
    patient = recipes.make(data="d", model="m", method="Patient")
    assert (patient.method, patient.alpha, patient.mixup, patient.epochs) == ("patient", 1.0, 1.0, 300)
    assert patient.patience == 0
    typed = recipes.make(data="d", model="m", method="patient", epochs=20, alpha=0.9)
    assert (typed.alpha, typed.mixup, typed.epochs) == (0.9, 1.0, 20)
    with pytest.raises(UsageError, match="unknown method 'magic'"):
        recipes.make(data="d", model="m", method="magic")


def test_a_recipe_written_before_methods_had_names_means_what_it_meant(tmp_path: Path) -> None:
    (tmp_path / "old.toml").write_text('data = "d"\nmodel = "m"\nteacher = "resnet18"\nalpha = 0.9\n')
    old = recipes.load(tmp_path / "old.toml")
    assert (old.method, old.mixup, old.alpha, old.temperature) == ("kd", 0.0, 0.9, 4.0)


def test_a_recipe_of_version_0_1_0_has_the_method_by_its_name_of_now(tmp_path: Path) -> None:
    (tmp_path / "old.toml").write_text('data = "d"\nmodel = "m"\nteacher = "resnet18"\nmethod = "seed"\nalpha = 0.8\n')
    old = recipes.load(tmp_path / "old.toml")
    assert old.method == "kd-mean"
    assert 'method = "kd-mean"' in recipes.as_toml(old)
    # A checkpoint of that version is of the same recipe still.
    assert recipes.non_defaults(old)["method"] == "seed"


def test_one_teacher_is_written_as_before_and_several_as_a_list(tmp_path: Path) -> None:
    alone = recipes.make(data="d", model="m", teacher=["resnet18"])
    assert alone == recipes.make(data="d", model="m", teacher="resnet18")
    assert 'teacher = "resnet18"' in recipes.as_toml(alone)
    several = recipes.make(data="d", model="m", teacher=["resnet18", "alexnet"])
    recipes.save(several, tmp_path / "several.toml")
    assert recipes.load(tmp_path / "several.toml") == several
    assert (several.teachers, alone.teachers) == (("resnet18", "alexnet"), ("resnet18",))
    assert recipes.make(data="d", model="m").teachers == ()
    with pytest.raises(UsageError, match="bad recipe"):
        recipes.make(data="d", model="m", teacher=3)


@pytest.mark.parametrize(
    ("folds", "fold", "why"),
    [
        (5, 0, "outside 1 to 5"),
        (5, 6, "outside 1 to 5"),
        (0, 1, "no folds"),
        (21, 1, "outside 0 to 20"),
        (1, 1, "has 2 to 20 folds"),
    ],
)
def test_a_fold_is_one_of_the_folds(folds: int, fold: int, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        recipes.make(data="d", model="m", folds=folds, fold=fold)
    assert recipes.make(data="d", model="m", folds=5, fold=5).fold == 5


def test_unknown_fields_and_wrong_types_are_refused() -> None:
    with pytest.raises(UsageError, match="colour"):
        recipes.make(data="d", model="m", colour="red")
    with pytest.raises(UsageError, match="size"):
        recipes.make(data="d", model="m", size="large")


def test_missing_and_damaged_files(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read the recipe"):
        recipes.load(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("size = [")
    with pytest.raises(UsageError, match="is no recipe"):
        recipes.load(tmp_path / "bad.toml")


def test_folds_without_a_fold_mean_all_of_them() -> None:
    made = recipes.make_folds(data="d", model="m", folds=3, seed=4)
    assert [(recipe.fold, recipe.folds, recipe.seed) for recipe in made] == [(1, 3, 4), (2, 3, 4), (3, 3, 4)]
    assert [recipe.fold for recipe in recipes.make_folds(data="d", model="m", folds=3, fold=2)] == [2]
    assert [recipe.folds for recipe in recipes.make_folds(data="d", model="m")] == [0]


@pytest.mark.parametrize("folds", [-1, 10**9, "3", 2.5], ids=str)
def test_folds_that_cannot_be_meant(folds: object) -> None:
    with pytest.raises(UsageError, match="fold"):
        recipes.make_folds(data="d", model="m", folds=folds)
