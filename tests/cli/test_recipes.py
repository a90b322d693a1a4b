"""`lungcli recipes` as typed: what is shown can be saved and used."""

from pathlib import Path
from unittest import mock

import msgspec
import pytest

from lungcli.cli import run_job
from lungcli.core import package_data
from lungcli.datasets import manifest
from lungcli.datasets.manifest import Source
from tests.cli.conftest import call
from tests.imaging.pictures import described


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


@pytest.mark.parametrize(
    ("labels", "any_picture", "why"),
    [
        (("benign", "malignant"), False, ""),
        (("bacterial", "viral"), False, "'mine' has no class malignant"),
        (("benign", "malignant"), True, "'mine' may show other than lungs"),
    ],
)
def test_lesions_of_a_recipe_are_left_out_where_the_data_has_none(
    labels: tuple[str, ...], any_picture: bool, why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slices = [(label, group) for group, label in enumerate(labels * 3)]
    data = described(slices)
    data = msgspec.structs.replace(data, name="mine", source=Source(about="", any_picture=any_picture))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifest, "load", mock.Mock(return_value=data))
        ((_, recipes),) = package_data.load("fast").recipes({"data": "mine", "folds": 3})
        kept = run_job._without_foreign_lesions(recipes)
    assert [recipe.lesions for recipe in kept] == ["" if why else "phantom"] * 3
    assert [bool(recipe.patches) for recipe in kept] == [not why] * 3
    said = capsys.readouterr().err
    assert said.count("no lesions are transplanted") == bool(why)
    assert why in said
