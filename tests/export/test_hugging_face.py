"""A card as the Hugging Face Hub reads it: YAML that says the same, and a page that says what it rests on."""

from typing import Any

import msgspec
import pytest

from lungcli.export import hugging_face
from lungcli.modelfile.model_card import ModelCard
from tests.metrics.test_predictions import evaluation
from tests.modelfile import graphs

yaml = pytest.importorskip("yaml", reason="comes with the extra `dev`")


def metadata(page: str) -> Any:
    _, head, _ = page.split("---\n", 2)
    return yaml.safe_load(head)


@pytest.fixture
def card() -> ModelCard:
    return graphs.card(figures=evaluation("bbmmnn").figures())


def test_the_metadata_are_those_that_the_hub_reads(card: ModelCard) -> None:
    """Required below `model-index`: task.type, dataset.type and .name, metrics.type and .value."""
    read = metadata(hugging_face.readme(card, "mine"))
    assert (read["pipeline_tag"], read["tags"][0]) == ("image-classification", "onnx")
    (model,) = read["model-index"]
    (result,) = model["results"]
    assert (model["name"], result["task"]["type"]) == ("mine", "image-classification")
    assert result["dataset"] == {"type": card.data.name, "name": card.data.name, "split": "test"}
    assert {metric["type"]: metric["value"] for metric in result["metrics"]}["balanced_accuracy"] == 1


def test_a_model_that_was_not_evaluated_has_no_results(card: ModelCard) -> None:
    page = hugging_face.readme(msgspec.structs.replace(card, figures=None), "mine")
    assert metadata(page).keys() == {"pipeline_tag", "tags"}
    assert "It has not been evaluated." in page


def test_the_results_of_another_run_are_none_of_a_final_fit(card: ModelCard) -> None:
    assert card.figures is not None
    final = msgspec.structs.replace(card, figures=msgspec.structs.replace(card.figures, of_run="tested"))
    page = hugging_face.readme(final, "mine")
    assert metadata(page).keys() == {"pipeline_tag", "tags"}
    assert "grouped split; of the same recipe without these slices, tested):" in page


def test_the_page_says_what_the_model_is_and_what_it_is_not(card: ModelCard) -> None:
    page = hugging_face.readme(card, "mine")
    assert "not a medical device" in page
    assert "| balanced accuracy | 1.000 | 1.000 to 1.000 |" in page
    assert "drawn slices, which say nothing about people" in page


def test_a_model_of_any_picture_is_not_called_one_of_lung_ct(card: ModelCard) -> None:
    data = msgspec.structs.replace(card.data, any_picture=True)
    page = hugging_face.readme(msgspec.structs.replace(card, data=data), "mine")
    assert metadata(page)["tags"] == ["onnx", "lungcli", card.model, card.precision]
    assert "input: pictures of any kind, prepared by lungcli" in page
    assert "it has no guard, and refuses no picture" in page
    assert {"medical", "lung"} <= set(metadata(hugging_face.readme(card, "mine"))["tags"])


def test_foreign_names_are_neither_yaml_nor_html(card: ModelCard) -> None:
    data = msgspec.structs.replace(card.data, name='x: "y" # <script>', synthetic=False)
    name = "- a: [b] É 🫁 \x9b"
    page = hugging_face.readme(msgspec.structs.replace(card, data=data), name)
    read = metadata(page)
    assert read["model-index"][0]["name"] == name
    assert read["model-index"][0]["results"][0]["dataset"]["name"] == 'x: "y" # <script>'
    assert 'trained on: x: "y" \\# \\<script\\>' in page
