"""`lungcli recipes` as typed: what is shown can be saved and used."""

from pathlib import Path

import pytest

from lungcli.core import package_data
from tests.cli.conftest import call


@pytest.mark.parametrize("name", package_data.recipe_files())
def test_a_recipe_that_was_shown_and_saved_is_the_same(name: str, home: Path, tmp_path: Path) -> None:
    saved = tmp_path / "mine.toml"
    saved.write_text(call(home, "recipes", "show", name).stdout)
    assert package_data.load(str(saved)) == package_data.load(name)
    assert call(home, "recipes", "show", saved).stdout == saved.read_text()


def test_a_list_in_a_pipe_has_a_line_for_each(home: Path) -> None:
    lines = call(home, "recipes", "list").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["recipe", *package_data.recipe_files()]
    assert all(package_data.load(name).about in "\n".join(lines) for name in package_data.recipe_files())
