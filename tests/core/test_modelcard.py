"""Model cards: complete after a round trip, refused when damaged or newer."""

import pytest

from lungcli.core import modelcard
from lungcli.core import recipe as recipes
from lungcli.core.errors import ModelFileError
from lungcli.core.events import now
from lungcli.core.modelcard import DataCard, Int8Proof, ModelCard, SplitCard

CARD = ModelCard(
    model="resnet18",
    stage="int8",
    precision="int8",
    classes=("benign", "malignant", "normal"),
    size=224,
    preparation=1,
    temperature=1.5,
    parameters=11_000_000,
    teacher="resnet50",
    data=DataCard(name="d", digest="00", slices=9, groups=3, synthetic=True, licence="CC0", citation=""),
    split=SplitCard(protocol="grouped", seed=0, digest="11"),
    recipe=recipes.make(data="d", model="resnet18"),
    int8=Int8Proof(nodes=21, int8_nodes=21, size_ratio=0.26, agreement=0.99, largest_change=0.1, n=100),
    created=now(),
    versions={"lungcli": "0.1.0"},
)


def test_round_trip() -> None:
    assert modelcard.decode(modelcard.encode(CARD), "a.onnx") == CARD


def test_a_newer_format_is_refused_by_number() -> None:
    text = modelcard.encode(CARD).replace('"format_version":1', '"format_version":7')
    with pytest.raises(ModelFileError, match=r"a\.onnx has model file format 7; this lungcli reads up to 1"):
        modelcard.decode(text, "a.onnx")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format_version":1}', '{"format_version":"one"}'])
def test_damage_is_told(text: str) -> None:
    with pytest.raises(ModelFileError, match="damaged model card"):
        modelcard.decode(text, "a.onnx")
