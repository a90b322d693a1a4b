"""What every format looks like, to the letter: one model, several, averaged views, series, refused, unreadable."""

import dataclasses
import re
import sys
from pathlib import Path

import pytest

from lungcli.cli import predict_output
from lungcli.cli.predict_output import Format
from lungcli.modelfile import model_file
from lungcli.modelfile.model_file import Model
from lungcli.predict.ensemble import MemberPrediction
from lungcli.predict.predict import Failure, Prediction, Refusal
from lungcli.predict.prediction_json import Found
from lungcli.predict.series import SeriesVerdict
from tests.modelfile import graphs

SURE = Prediction(
    source="a/scan.png",
    finding="suspicious",
    label="malignant",
    probabilities={"benign": 0.125, "malignant": 0.75, "normal": 0.125},
    confidence=0.75,
    model="tiny",
    seconds=0.0123,
    synthetic=True,
    referred=False,
    reason="",
    guard=0.5,
    forced=False,
)
OF_TWO = dataclasses.replace(
    SURE,
    finding="refer",
    model="tiny + tiny",
    referred=True,
    reason="the models disagree: one.onnx says malignant, two.onnx says benign",
    agreement=0.5,
    opinions=(
        MemberPrediction(
            name="one.onnx", model="tiny", label="malignant", probabilities={"benign": 0, "malignant": 1, "normal": 0}
        ),
        MemberPrediction(
            name="two.onnx",
            model="tiny",
            label="benign",
            probabilities={"benign": 0.5, "malignant": 0.25, "normal": 0.25},
        ),
    ),
)
REFUSED = Refusal(source="wall.png", reason="blank", score=100.0)
FAILED = Failure(source="none.png", reason="there is no such file", hint="check the path")
SERIES = SeriesVerdict(
    series="series 1",
    finding="refer",
    label="benign",
    probabilities={"benign": 0.5, "malignant": 0.25, "normal": 0.25},
    slices=4,
    used=2,
    referred_slices=1,
    not_judged=1,
    positive_slices=1,
    referred=True,
    reason="1 of 2 slices called malignant",
)


@pytest.fixture
def judges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Model, ...]:
    monkeypatch.chdir(tmp_path)
    return tuple(model_file.load(graphs.model_file(Path(f"{name}.onnx")), threads=1) for name in ("one", "two"))


def shown(
    capsys: pytest.CaptureFixture[str], form: Format, judges: tuple[Model, ...], *found: Found, top: int = 0
) -> str:
    single = len(found) == 1
    with predict_output.output_writer(form, judges, single=single, top=top) as write:
        for each in found:
            write(each)
    return capsys.readouterr().out


def test_one_picture_as_lines(capsys: pytest.CaptureFixture[str], judges: tuple[Model, ...]) -> None:
    assert shown(capsys, "lines", judges[:1], SURE) == (
        "suspicious for malignancy\n"
        "malignant   75.0% ██████████████████████▌░░░░░░░\n"
        "benign      12.5% ███▊░░░░░░░░░░░░░░░░░░░░░░░░░░\n"
        "normal      12.5% ███▊░░░░░░░░░░░░░░░░░░░░░░░░░░\n"
        "a/scan.png · one.onnx (tiny) · 12 ms\n"
    )
    averaged = shown(capsys, "lines", judges[:1], dataclasses.replace(SURE, views=10), top=1)
    assert averaged.splitlines()[-1] == "a/scan.png · one.onnx (tiny) · mean of 10 views · 12 ms"


def test_one_picture_with_two_models_as_lines(capsys: pytest.CaptureFixture[str], judges: tuple[Model, ...]) -> None:
    assert shown(capsys, "lines", judges, OF_TWO, top=1) == (
        "no answer: refer to a radiologist\n"
        "malignant   75.0% ██████████████████████▌░░░░░░░\n"
        "mean of several models; 1 of 2 predict malignant:\n"
        "  malignant  100.0%  one.onnx (tiny)\n"
        "  benign      50.0%  two.onnx (tiny)\n"
        "referred to a radiologist: the models disagree: one.onnx says malignant, two.onnx says benign\n"
        "a/scan.png · one.onnx + two.onnx (tiny + tiny) · 12 ms\n"
    )


def test_several_pictures_as_lines(capsys: pytest.CaptureFixture[str], judges: tuple[Model, ...]) -> None:
    assert shown(capsys, "lines", judges[:1], SURE, REFUSED, FAILED, SERIES) == (
        "suspicious        75.0%  a/scan.png\n"
        "refer             25.0%  series 1 as a whole (2 of 4 slices used, 1 referred, 1 without a prediction, "
        "1 predicted malignant; "
        "referred to a radiologist: 1 of 2 slices called malignant)\n"
    )
    agreed = dataclasses.replace(OF_TWO, finding="suspicious", referred=False, reason="")
    assert shown(capsys, "lines", judges, OF_TWO, agreed) == (
        "refer             75.0%  1 of 2  a/scan.png  (referred to a radiologist: "
        "the models disagree: one.onnx says malignant, two.onnx says benign)\n"
        "suspicious        75.0%  1 of 2  a/scan.png\n"
    )


def test_a_terminal_is_told_what_the_columns_are(
    capsys: pytest.CaptureFixture[str], judges: tuple[Model, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)

    def lines(models: tuple[Model, ...], *found: Found, top: int = 0) -> list[str]:
        return re.sub(r"\x1b\[\d*m", "", shown(capsys, "lines", models, *found, top=top)).splitlines()

    head, line, *_ = lines(judges[:1], SURE, REFUSED)
    assert head == "finding    P(malignant)  picture"
    assert line.index("a/scan.png") == head.index("picture")
    head, line, *_ = lines(judges, OF_TWO, OF_TWO)
    assert head == "finding    P(malignant)  models  picture"
    assert line.index("a/scan.png") == head.index("picture")
    assert lines(judges[:1], SURE, REFUSED, top=2)[0] == "finding     classes  picture"


def test_outcomes_as_csv(capsys: pytest.CaptureFixture[str], judges: tuple[Model, ...]) -> None:
    head = "kind,source,series,finding,verdict,benign,malignant,normal,referred,reason,score,forced,seconds"
    assert shown(capsys, "csv", judges[:1], SURE, REFUSED, FAILED, SERIES) == (
        f"{head}\n"
        "prediction,a/scan.png,,suspicious,malignant,0.125,0.75,0.125,no,,0.5,no,0.0123\n"
        "refusal,wall.png,,refused,,,,,,blank,100.0,,\n"
        "failure,none.png,,,,,,,,there is no such file,,,\n"
        "series,,series 1,refer,benign,0.5,0.25,0.25,yes,1 of 2 slices called malignant,,,\n"
    )
    own = "agreement,one.onnx: verdict,one.onnx: probability,two.onnx: verdict,two.onnx: probability"
    assert shown(capsys, "csv", judges, OF_TWO, REFUSED, FAILED, SERIES) == (
        f"{head},{own}\n"
        "prediction,a/scan.png,,refer,malignant,0.125,0.75,0.125,yes,"
        '"the models disagree: one.onnx says malignant, two.onnx says benign",0.5,no,0.0123,'
        "0.5,malignant,1,benign,0.5\n"
        "refusal,wall.png,,refused,,,,,,blank,100.0,,,,,,,\n"
        "failure,none.png,,,,,,,,there is no such file,,,,,,,,\n"
        "series,,series 1,refer,benign,0.5,0.25,0.25,yes,1 of 2 slices called malignant,,,,,,,,\n"
    )


def test_outcomes_as_json_lines(capsys: pytest.CaptureFixture[str], judges: tuple[Model, ...]) -> None:
    first, second = shown(capsys, "jsonl", judges, OF_TWO, REFUSED).splitlines()
    assert first == (
        '{"schema_version":1,"kind":"prediction","source":"a/scan.png","finding":"refer","label":"malignant",'
        '"probabilities":{"benign":0.125,"malignant":0.75,"normal":0.125},"confidence":0.75,"reliability":null,'
        '"reliability_on":"validation slices","indistinct":[],'
        '"model":"tiny + tiny","seconds":0.0123,'
        '"synthetic":true,"referred":true,'
        '"reason":"the models disagree: one.onnx says malignant, two.onnx says benign","guard":0.5,"forced":false,'
        '"series":"","scale":"","views":1,"agreement":0.5,"opinions":['
        '{"name":"one.onnx","model":"tiny","label":"malignant",'
        '"probabilities":{"benign":0,"malignant":1,"normal":0}},'
        '{"name":"two.onnx","model":"tiny","label":"benign",'
        '"probabilities":{"benign":0.5,"malignant":0.25,"normal":0.25}}],"positive_class":"malignant",'
        '"disclaimer":"Research software, not a medical device: no clinical decision may rest on it."}'
    )
    assert second == (
        '{"schema_version":1,"kind":"refusal","source":"wall.png","finding":"refused","reason":"blank","score":100.0}'
    )
