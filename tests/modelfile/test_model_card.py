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
    text = model_card.encode(CARD).replace('"format_version":2', '"format_version":7')
    with pytest.raises(ModelFileError, match=r"the model card in a\.onnx has format 7; this lungcli reads up to 2"):
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
        risk_coverage=(CoveragePoint(threshold=0.0, coverage=1.0, risk=0.25, sensitivity=None),),
        robustness=(
            RobustnessFigures(
                change="none",
                strength=0,
                setting="as it is",
                balanced_accuracy=share,
                sensitivity=share,
                specificity=share,
                flips=0.0,
                positive_flips=None,
            ),
        ),
        strategy="minmax per channel",
        trials=(
            TrialFigures(
                name="minmax per channel",
                bytes=9,
                balanced_accuracy=0.75,
                agreement=0.98,
                largest_change=0.25,
                nodes=9,
                int8_nodes=8,
                difference=share,
                sensitivity=share,
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
    text = model_card.encode(full)
    assert "malignant_" not in text
    assert model_card.decode(text, "a.onnx") == full
    assert model_card.decode(of_format_1(text), "a.onnx") == full


def of_format_1(text: str) -> str:
    """The card as the first format had it: whatever the positive class, the fields spoke of malignant."""
    fields = msgspec.json.decode(text) | {"format_version": 1}
    for key, prefix, names in (
        ("ladder", "malignant", {"sensitivity": ""}),
        ("risk_coverage", "malignant_", {"sensitivity": "sensitivity"}),
        (
            "stress",
            "malignant_",
            {"sensitivity": "sensitivity", "specificity": "specificity", "positive_flips": "flips"},
        ),
    ):
        for row in fields[key]:
            for name, before in names.items():
                row[prefix + before] = row.pop(name)
    return msgspec.json.encode(fields).decode()


@pytest.mark.parametrize("rows", [1, "x", [1], [{"malignant": 1}], [[]]])
def test_a_damaged_card_of_format_1_is_told(rows: object) -> None:
    fields = msgspec.json.decode(model_card.encode(CARD)) | {"format_version": 1, "ladder": rows}
    with pytest.raises(ModelFileError, match="is damaged"):
        model_card.decode(msgspec.json.encode(fields).decode(), "a.onnx")


def test_a_card_from_before_these_figures_is_read() -> None:
    fields = msgspec.json.decode(model_card.encode(CARD))
    for name in ("calibration", "referral", "risk_coverage", "stress", "elsewhere", "rung", "ladder"):
        del fields[name]
    plain = msgspec.structs.replace(CARD, calibration=None, referral=None, risk_coverage=(), robustness=(), external=())
    assert model_card.decode(msgspec.json.encode(fields).decode(), "a.onnx") == plain


DAMAGE = {
    "a negative temperature": ("temperature", -1.5),
    "a temperature of 0": ("temperature", 0),
    "an endless temperature": ("temperature", 1e300),
    "a number that is none": ("temperature", None),
    "no size": ("size", 0),
    "a class twice": ("classes", ["benign", "malignant", "benign"]),
    "a class without a name": ("classes", ["benign", ""]),
    "one class": ("classes", ["benign"]),
    "a class of two lines": ("classes", ["benign\nmalignant 99.9%", "malignant"]),
    "a net of two lines": ("model", "x\nmalignant 99.9%"),
    "a name that turns the line": ("model", "\u202e"),
    "a stage of a whole page": ("stage", "x" * 10_000),
    "a time without a zone": ("created", "2025-01-01T00:00:00"),
    "fewer than no slices": ("data.slices", -1),
    "a threshold above 1": ("referral.threshold", 1.5),
    "a threshold below 0": ("referral.threshold", -0.1),
    "a threshold that refers nothing": ("guard.threshold", 1e300),
    "a threshold of 0": ("guard.threshold", 0),
    "a spread of 0": ("guard.spread", [0]),
    "a mean that overflows": ("guard.mean", [1e300]),
    "a mean for no sign": ("guard.mean", [0.5, 0.5]),
    "a precision by which nothing is far": ("guard.precision", [[0]]),
    "a precision by which far is near": ("guard.precision", [[-16]]),
    "a row too few": ("guard.precision", []),
    "no signs": ("guard.signs", []),
    "a file of no size": ("int8.size_ratio", 0),
    "more than all": ("int8.agreement", 2),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_every_value_of_a_card_is_checked_when_it_is_read(name: str) -> None:
    (field, value), card = DAMAGE[name], msgspec.json.decode(model_card.encode(CARD))
    part = card
    *outer, last = field.split(".")
    for key in outer:
        part = part[key]
    assert last in part
    part[last] = value
    with pytest.raises(ModelFileError, match=r"the model card in a\.onnx is damaged"):
        model_card.decode(msgspec.json.encode(card).decode(), "a.onnx")
