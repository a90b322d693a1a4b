"""Recipes: checked when made, the same after writing and reading."""

from pathlib import Path

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
    [("size", 16), ("epochs", 0), ("batch", 1), ("alpha", 1.5), ("temperature", 0.0), ("learning_rate", -1.0)],
)
def test_a_value_out_of_range_is_named(field: str, value: float) -> None:
    with pytest.raises(UsageError, match=f"{field} is {value}"):
        recipes.make(data="d", model="m", **{field: value})


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
