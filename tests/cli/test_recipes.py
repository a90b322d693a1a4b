"""`lungcli recipes` as typed: what is shown can be saved and used."""

from pathlib import Path
from unittest import mock

import msgspec
import pytest

from lungcli.cli import cross_validation, run_job
from lungcli.cli.options import Settings
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
    ("labels", "any_picture", "by_hand", "why"),
    [
        (("benign", "malignant"), False, False, ""),
        (("bacterial", "viral"), False, False, "'mine' has no class malignant"),
        (("benign", "malignant"), True, False, "'mine' may show other than lungs"),
        (("bacterial", "viral"), False, True, ""),
    ],
)
def test_lesions_of_a_recipe_are_left_out_where_the_data_has_none(
    labels: tuple[str, ...],
    any_picture: bool,
    by_hand: bool,
    why: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    slices = [(label, group) for group, label in enumerate(labels * 3)]
    data = msgspec.structs.replace(described(slices), name="mine", source=Source(about="", any_picture=any_picture))
    monkeypatch.setattr(manifest, "load", mock.Mock(return_value=data))
    run_folds = mock.Mock()
    monkeypatch.setattr(cross_validation, "run_folds", run_folds)
    typed = {"data": "mine", "folds": 3} | ({"lesions": "mine"} if by_hand else {})
    run_job.run_recipe("fast", Settings(values=typed, typed=frozenset(typed)), "")

    _, recipes, *_ = run_folds.call_args.args
    assert [recipe.lesions for recipe in recipes] == ["mine" if by_hand else "" if why else "phantom"] * 3
    assert [bool(recipe.patches) for recipe in recipes] == [not why] * 3
    output = capsys.readouterr().err
    assert output.count("no lesions are transplanted") == bool(why)
    assert why in output
