"""Which model files may teach: a bundled one only where it has seen none of the test slices."""

import msgspec
import pytest

from lungcli.core.errors import UsageError
from lungcli.core.recipe import Recipe
from lungcli.datasets import training_slices
from lungcli.datasets.manifest import Manifest
from lungcli.datasets.splits import Split
from lungcli.modelfile import model_paths
from lungcli.modelfile.model_card import ModelCard
from lungcli.pipeline import stages, teachers
from tests.modelfile import graphs

RECIPE = Recipe(data="phantom", model="ownmodel", size=graphs.SIZE)


@pytest.fixture
def material(phantom: None, monkeypatch: pytest.MonkeyPatch) -> tuple[Manifest, Split]:
    monkeypatch.setattr(model_paths, "bundled", lambda: "the bundled file")
    return stages.load_with_split(RECIPE)


def card_of(data: Manifest, indices: tuple[int, ...], **changes: object) -> ModelCard:
    seen = training_slices.record(data, indices)
    return graphs.card(classes=data.classes, precision="int8", training_slices=seen, **changes)


def test_a_bundled_model_that_has_seen_no_test_slice_may_teach(material: tuple[Manifest, Split]) -> None:
    """Of another split, and in int8: its file is all that is needed."""
    data, split = material
    teachers.check_teacher_compatible(card_of(data, split.train), data, split, RECIPE, "bundled")


def test_a_bundled_model_that_has_seen_test_slices_is_refused(material: tuple[Manifest, Split]) -> None:
    data, split = material
    with pytest.raises(UsageError, match=rf"'bundled' was trained on \d+ of the {len(split.test)} test slices"):
        teachers.check_teacher_compatible(card_of(data, split.test[:1]), data, split, RECIPE, "bundled")


def test_a_bundled_model_of_other_classes_is_refused(material: tuple[Manifest, Split]) -> None:
    data, split = material
    card = msgspec.structs.replace(card_of(data, ()), classes=("a", "b"))
    with pytest.raises(UsageError, match="has the classes a, b"):
        teachers.check_teacher_compatible(card, data, split, RECIPE, "bundled")
