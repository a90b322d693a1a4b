"""Verdicts in words."""

import dataclasses

import msgspec
import numpy as np

from lungcli.predict.predict import Failure, Prediction, Refusal
from lungcli.predict.series import SeriesVerdict
from lungcli.tui.predict import prediction_text
from lungcli.tui.predict.slice_prediction import HeatMap
from tests.modelfile import graphs

FOUND = Prediction(
    source="a.png",
    finding="suspicious",
    label="malignant",
    probabilities={"benign": 0.1, "malignant": 0.7, "normal": 0.2},
    model="tiny",
    seconds=0.0123,
    synthetic=False,
    referred=False,
    reason="",
    guard=0.0,
    forced=False,
)


def test_a_prediction_in_words() -> None:
    lines = prediction_text.of_slice(FOUND, "run/int8", 40).plain.splitlines()
    assert lines[0] == "suspicious for malignancy"
    assert [line.split()[0] for line in lines[1:4]] == ["malignant", "normal", "benign"]
    assert max(map(len, lines[1:4])) <= 40
    assert "not a medical" in lines[4]
    assert "not recorded" in lines[5]
    assert lines[6] == "run/int8 (tiny) · 12 ms"


def test_doubts_are_shown_where_a_prediction_has_some() -> None:
    doubtful = dataclasses.replace(FOUND, finding="refer", referred=True, reason="too close to call", guard=1.4)
    text = prediction_text.of_slice(doubtful, "m", 40).plain
    # Before the bars, of which there may be more than a low terminal has lines.
    assert text.splitlines()[1] == "→ referred to a radiologist: too close to call"
    assert [cell.plain for cell in prediction_text.cells(doubtful)] == ["refer", "70.0%"]
    assert [cell.plain for cell in prediction_text.cells(FOUND)] == ["suspicious", "70.0%"]
    assert "1.40 (limit 1)" in text


def test_a_refusal_says_why() -> None:
    refusal = Refusal(source="a", reason="a colour picture", score=3.0)
    assert "(a colour picture; score 3.00" in prediction_text.of_slice(refusal, "m", 40).plain.splitlines()[1]
    assert prediction_text.cells(refusal)[0].plain == "refused"


def test_phantoms_are_said_to_be_phantoms() -> None:
    assert "phantoms" in prediction_text.of_slice(dataclasses.replace(FOUND, synthetic=True), "m", 40).plain


def test_a_failure_says_why_and_what_to_do() -> None:
    failure = Failure(source="a", reason="cannot read a: it is empty", hint="copy it again")
    assert prediction_text.of_slice(failure, "m", 40).plain.splitlines()[1:] == [
        "cannot read a: it is empty",
        "copy it again",
    ]
    assert prediction_text.cells(failure)[0].plain == "unreadable"
    assert prediction_text.of_slice(None, "m", 40).plain == ""


def test_a_series_in_words() -> None:
    found = SeriesVerdict(
        series="series 1",
        finding="refer",
        label="malignant",
        probabilities=FOUND.probabilities,
        slices=9,
        used=7,
        referred_slices=2,
        not_judged=0,
        positive_slices=5,
        referred=True,
        reason="not sure enough",
    )
    text = prediction_text.of_series(found, 40).plain
    assert text.splitlines()[0] == "no answer: refer to a radiologist"
    assert "→ referred to a radiologist: not sure enough" in text
    assert "series 1: 7 of 9 slices used, 2 referred, 5 predicted malignant" in text
    assert "the mean of the calibrated probabilities" in text
    none = dataclasses.replace(found, label="", probabilities={}, used=0, positive_slices=0)
    assert prediction_text.of_series(none, 40).plain.startswith("no prediction\n→ referred")


def test_the_title_of_the_list_says_what_it_lists() -> None:
    card = graphs.card()
    any_picture = msgspec.structs.replace(card, data=msgspec.structs.replace(card.data, any_picture=True))
    without_positive = msgspec.structs.replace(any_picture, classes=("kind0", "kind1"))
    assert prediction_text.list_title(card) == "slices · prob. is P(malignant)"
    assert prediction_text.list_title(any_picture) == "slices · prob. is P(malignant) · no guard"
    assert prediction_text.list_title(without_positive) == "slices · no guard"


def test_what_the_heat_means() -> None:
    pixels = np.zeros((2, 2, 3), dtype=np.uint8)
    heat = HeatMap(label="normal", pixels=pixels, grey=pixels[..., 0], has_peak=True)
    assert (
        prediction_text.of_heat_map(heat, coloured=True).plain
        == "heat-map: regions that support normal, violet to yellow"
    )
    assert "right of the slice, @ is strongest" in prediction_text.of_heat_map(heat, coloured=False).plain
    assert (
        "no region supports"
        in prediction_text.of_heat_map(dataclasses.replace(heat, has_peak=False), coloured=True).plain
    )
    assert "nothing to explain" in prediction_text.of_heat_map(None, coloured=True).plain
