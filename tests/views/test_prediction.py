"""What is said of predictions, series, and pictures without a prediction."""

import dataclasses
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lungcli.metrics.intervals import Estimate
from lungcli.predict.ensemble import MemberPrediction
from lungcli.predict.explain import Peak
from lungcli.predict.predict import Failure, Prediction, Refusal
from lungcli.predict.series import SeriesVerdict
from lungcli.views import prediction as said

PREDICTION = Prediction(
    source="a/scan.png",
    finding="suspicious",
    label="malignant",
    probabilities={"benign": 0.125, "malignant": 0.75, "normal": 0.125},
    model="tiny",
    seconds=0.0123,
    synthetic=True,
    referred=False,
    reason="",
    guard=0.5,
    forced=False,
)
SERIES = SeriesVerdict(
    series="series 1",
    finding="refer",
    label="benign",
    probabilities={"benign": 0.5, "malignant": 0.25, "normal": 0.25},
    slices=9,
    used=7,
    referred_slices=2,
    not_judged=0,
    positive_slices=5,
    referred=True,
    reason="5 of 7 slices called malignant",
)


def test_the_headline_is_the_finding_and_never_a_class() -> None:
    assert said.headline(PREDICTION) == "suspicious for malignancy"
    assert said.headline(dataclasses.replace(PREDICTION, finding="clear")) == "no sign of malignancy"
    assert said.headline(SERIES) == "no answer: refer to a radiologist"
    assert said.headline(dataclasses.replace(SERIES, label="")) == "no prediction"


def test_another_positive_class_is_named_as_it_is() -> None:
    tumour = dataclasses.replace(PREDICTION, positive_class="tumour", probabilities={"none": 0.25, "tumour": 0.75})
    assert said.headline(tumour) == "suspicious for tumour"
    assert said.summary(tumour) == "suspicious     75.0%"
    assert said.summary_head("tumour") == "finding    P(tumour)"


def test_the_headline_of_other_classes_is_the_likeliest() -> None:
    birds = dataclasses.replace(PREDICTION, finding="", label="crow", probabilities={"crow": 0.75, "owl": 0.25})
    assert said.headline(birds) == "crow 75.0%"
    assert said.summary(dataclasses.replace(birds, positive_class="")) == "crow             75.0%"
    assert said.summary_head("") == "class      probability"


def test_bars_begin_in_one_column_whatever_the_classes_are_called() -> None:
    lines = said.probability_bars({"ground-glass opacity": 0.6, "nodule": 0.4}, 60).plain.splitlines()
    assert [line.index("%") for line in lines] == [26, 26]
    assert len({len(line) for line in lines}) == 1


def test_a_line_has_finding_and_probability_of_malignancy() -> None:
    assert said.summary(PREDICTION) == "suspicious        75.0%"
    assert said.summary(SERIES) == "refer             25.0%"
    assert said.summary_head("malignant") == "finding    P(malignant)"
    assert len(said.summary(SERIES)) == len(said.summary_head("malignant"))
    assert said.summary(dataclasses.replace(SERIES, label="")).strip() == "no prediction"


def test_a_finding_says_what_it_is_worth() -> None:
    right = Estimate(value=0.91, low=0.85, high=0.95)
    worth = dataclasses.replace(
        PREDICTION, confidence=0.83, reliability=right, indistinct=(("benign", "malignant"), ("benign", "normal"))
    )
    assert said.limits(worth) == [
        "of validation slices as sure as this one (confidence 83%), 91% were right [85%, 95%]",
        "this model cannot tell benign from normal",
    ]
    elsewhere = dataclasses.replace(worth, reliability_on="slices of institutions left out")
    assert said.limits(elsewhere)[0].startswith(
        "of slices of institutions left out as sure as this one (confidence 83%)"
    )
    assert said.limits(dataclasses.replace(worth, finding="refer")) == ["this model cannot tell benign from normal"]
    assert said.limits(PREDICTION) == []


def test_many_classes_that_the_model_does_not_tell_apart_make_one_line() -> None:
    pairs = tuple(itertools.combinations("abcd", 2))
    unsure = dataclasses.replace(PREDICTION, indistinct=pairs[:2])
    assert said.limits(unsure) == ["this model cannot tell a from b, a from c"]
    assert said.limits(dataclasses.replace(unsure, indistinct=pairs)) == [
        "this model cannot tell a from b, a from c, a from d, nor 3 other pairs of classes"
    ]
    four = said.limits(dataclasses.replace(unsure, indistinct=pairs[:4]))
    assert four == ["this model cannot tell a from b, a from c, a from d, nor another pair of classes"]


@given(st.integers(10, 120))
def test_probability_bars_keep_to_their_width_likeliest_first(width: int) -> None:
    lines = said.probability_bars(PREDICTION.probabilities, width).plain.splitlines()
    assert [line.split()[:2] for line in lines] == [["malignant", "75.0%"], ["benign", "12.5%"], ["normal", "12.5%"]]
    assert len({len(line) for line in lines}) == 1
    assert len(lines[0]) <= max(width, 22)


def test_only_the_likeliest_classes_are_listed_when_asked() -> None:
    assert said.in_columns(PREDICTION.probabilities, 2) == "malignant   75.0%  benign      12.5%"
    assert said.probability_bars(PREDICTION.probabilities, 40, 1).plain.count("\n") == 1


def test_a_referral_gives_its_reason_and_others_say_nothing() -> None:
    doubtful = dataclasses.replace(PREDICTION, referred=True, reason="the models disagree")
    assert said.referral(doubtful) == "referred to a radiologist: the models disagree"
    assert said.referral(PREDICTION) == said.forced(PREDICTION) == ""
    assert "--force" in said.forced(dataclasses.replace(PREDICTION, forced=True))


@pytest.mark.parametrize(
    ("outcome", "message", "hint"),
    [
        (
            Refusal(source="b.png", reason="blank", score=3.0),
            "no prediction for b.png: not an",
            "--force",
        ),
        (Failure(source="c.png", reason="cannot read c.png: it is empty", hint="copy it again"), "cannot read", "copy"),
    ],
)
def test_a_picture_without_a_prediction_says_why_and_what_to_do(
    outcome: Refusal | Failure, message: str, hint: str
) -> None:
    why, what_to_do = said.unpredicted(outcome)
    assert why.startswith(message)
    assert hint in what_to_do


def test_control_characters_of_foreign_names_are_made_visible() -> None:
    name = "a\x1b[31m.png"
    refusal = Refusal(source=name, reason="blank", score=3.0)
    shown = (
        *said.unpredicted(refusal),
        said.provenance(PREDICTION, name),
        said.heat_map(name, peak=None, coloured=True),
    )
    assert "\x1b" not in "".join(shown)


def test_the_acquisition_is_a_distance_or_not_known() -> None:
    assert said.acquisition(PREDICTION) == "acquisition distance 0.50 (limit 1)"
    assert "not recorded" in said.acquisition(dataclasses.replace(PREDICTION, guard=0.0))


def test_provenance_names_model_views_and_time() -> None:
    assert said.provenance(PREDICTION, "run/int8") == "run/int8 (tiny) · 12 ms"
    averaged = dataclasses.replace(PREDICTION, views=10)
    assert said.provenance(averaged, "run/int8") == "run/int8 (tiny) · mean of 10 views · 12 ms"


def test_agreement_counts_the_models_that_predict_the_same() -> None:
    opinions = tuple(MemberPrediction(name=x, model="m", label=x, probabilities={}) for x in ("malignant", "benign"))
    assert said.agreement(dataclasses.replace(PREDICTION, opinions=opinions)) == "1 of 2"


def test_a_series_counts_its_slices() -> None:
    assert said.series_counts(SERIES) == "7 of 9 slices used, 2 referred, 5 predicted malignant"
    rest = dataclasses.replace(SERIES, referred_slices=0, not_judged=2, positive_slices=0)
    assert said.series_counts(rest) == "7 of 9 slices used, 2 without a prediction"


def test_a_heat_map_says_what_its_colours_mean_and_where_it_is_strongest() -> None:
    peak = Peak(x=12, y=40)
    assert said.heat_map("benign", peak=peak, coloured=True).endswith("violet to yellow; strongest at x 12, y 40 px")
    assert said.heat_map("benign", peak=True, coloured=False).endswith("@ is strongest")
    for nowhere in (None, False):
        assert said.heat_map("benign", peak=nowhere, coloured=True) == "heat-map: no region supports benign"
