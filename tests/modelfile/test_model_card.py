"""Model cards: complete after a round trip, refused when damaged or newer."""

import msgspec
import pytest

from lungcli.core import recipe as recipes
from lungcli.core.errors import ModelFileError
from lungcli.core.events import now
from lungcli.imaging.ood import OodStatistics
from lungcli.metrics.calibration import Calibration, CalibrationErrors
from lungcli.metrics.intervals import Estimate
from lungcli.metrics.referral import CoveragePoint, Referral
from lungcli.modelfile import model_card
from lungcli.modelfile.model_card import (
    DataCard,
    ExternalFigures,
    Int8Proof,
    ModelCard,
    RobustnessFigures,
    SplitCard,
    TrialFigures,
)

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
    guard=OodStatistics(signs=("noise",), mean=(0.5,), spread=(0.25,), precision=((16.0,),), threshold=2.0, n=7),
    referral=Referral(threshold=0.8, target="error at most 5 %", coverage=0.9, risk=0.04, n=50),
    created=now(),
    versions={"lungcli": "0.1.0"},
)


def test_round_trip() -> None:
    assert model_card.decode(model_card.encode(CARD), "a.onnx") == CARD


def test_a_newer_format_is_refused_by_number() -> None:
    text = model_card.encode(CARD).replace('"format_version":1', '"format_version":7')
    with pytest.raises(ModelFileError, match=r"the model card in a\.onnx has format 7; this lungcli reads up to 1"):
        model_card.decode(text, "a.onnx")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format_version":1}', '{"format_version":"one"}'])
def test_damage_is_told(text: str) -> None:
    with pytest.raises(ModelFileError, match=r"the model card in a\.onnx is damaged"):
        model_card.decode(text, "a.onnx")


def test_figures_of_calibration_and_robustness_survive() -> None:
    share = Estimate(value=0.5, low=0.25, high=0.75)
    errors = CalibrationErrors(ece=0.1, nll=0.2, brier=0.3)
    full = msgspec.structs.replace(
        CARD,
        calibration=Calibration(n=9, before=errors, after=errors),
        referral=Referral(threshold=0.5, target="risk ≤ 0.2", coverage=0.75, risk=0.125, n=9),
        risk_coverage=(CoveragePoint(threshold=0.0, coverage=1.0, risk=0.25, malignant_sensitivity=None),),
        robustness=(
            RobustnessFigures(
                change="none",
                strength=0,
                setting="as it is",
                balanced_accuracy=share,
                malignant_sensitivity=share,
                malignant_specificity=share,
                flips=0.0,
                malignant_flips=None,
            ),
        ),
        strategy="minmax per channel",
        trials=(
            TrialFigures(
                name="minmax per channel",
                bytes=9,
                p50=1.5,
                balanced_accuracy=0.75,
                agreement=0.98,
                largest_change=0.25,
                nodes=9,
                int8_nodes=8,
                difference=share,
                malignant=share,
                fails=("agreement",),
            ),
        ),
        external=(
            ExternalFigures(
                label="normal",
                digest="22",
                n=3,
                groups=2,
                unreadable=1,
                right=share,
                specificity=share,
                referred=None,
                threshold=None,
            ),
        ),
    )
    assert model_card.decode(model_card.encode(full), "a.onnx") == full


def test_a_card_from_before_these_figures_is_read() -> None:
    fields = msgspec.json.decode(model_card.encode(CARD))
    for name in ("calibration", "referral", "risk_coverage", "stress", "elsewhere", "rung", "ladder"):
        del fields[name]
    plain = msgspec.structs.replace(CARD, calibration=None, referral=None, risk_coverage=(), robustness=(), external=())
    assert model_card.decode(msgspec.json.encode(fields).decode(), "a.onnx") == plain
