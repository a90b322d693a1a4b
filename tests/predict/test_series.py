"""The verdict on a series is the mean of the slices that count, and it says which those are."""

import pytest

from lungcli.metrics.referral import Referral
from lungcli.predict import series
from lungcli.predict.inputs import Item
from lungcli.predict.predict import Capture, Failure, Outcome, Prediction, Refusal
from lungcli.predict.series import SeriesVerdict
from tests.modelfile import graphs


def sure(benign: float, malignant: float, *, referred: bool = False) -> Prediction:
    values = dict(zip(graphs.CLASSES, (benign, malignant, 1 - benign - malignant), strict=True))
    return Prediction(
        source="x",
        label=max(values, key=lambda name: values[name]),
        probabilities=values,
        model="tiny",
        seconds=0.0,
        synthetic=False,
        referred=referred,
        reason="why" if referred else "",
        guard=0.5,
        forced=False,
    )


FAILED = Failure(source="x", reason="r", hint="h")
REFUSED = Refusal(source="x", reason="r", score=2.0)


def slice_of(name: str) -> Capture:
    return Capture(item=Item(shown="x", source=b"", series=name))


def verdict(*outcomes: Outcome, threshold: float = 0.0) -> SeriesVerdict:
    card = graphs.card(referral=Referral(threshold=threshold, target="risk ≤ 0.2", coverage=1, risk=0, n=9))
    given = [(each, slice_of("s")) for each in outcomes]
    *passed, (found, nothing) = series.combined(given, card)
    assert passed == given
    assert nothing is None
    assert isinstance(found, SeriesVerdict)
    assert found == series.of_slices("s", outcomes, card)
    return found


def test_mean_of_the_slices_that_count() -> None:
    found = verdict(sure(0.6, 0.1), sure(0.8, 0.1), sure(0.0, 0.9, referred=True), REFUSED)
    assert (found.series, found.label, found.referred) == ("s", "benign", False)
    assert found.probabilities == pytest.approx({"benign": 0.7, "malignant": 0.1, "normal": 0.2})
    assert (found.slices, found.used, found.referred_slices, found.not_judged) == (4, 2, 1, 1)
    assert found.rule == series.RULE


def test_a_malignant_slice_is_not_averaged_away() -> None:
    found = verdict(sure(0.9, 0.0), sure(0.9, 0.0), sure(0.2, 0.7))
    assert (found.label, found.referred, found.positive_slices) == ("benign", True, 1)
    assert found.reason == "1 of 3 slices called malignant"
    assert not verdict(sure(0.1, 0.8), sure(0.2, 0.7)).referred


def test_too_few_slices_count() -> None:
    found = verdict(sure(0.9, 0.0), FAILED, REFUSED)
    assert found.reason == "only 1 of 3 slices count: the others were refused or referred"
    assert found.referred


def test_no_slice_counts() -> None:
    found = verdict(FAILED, REFUSED)
    assert (found.label, found.probabilities, found.referred) == ("", {}, True)


def test_not_sure_enough() -> None:
    found = verdict(sure(0.6, 0.1), sure(0.6, 0.1), threshold=0.7)
    assert found.reason == "not sure enough: a confidence of 60.0% is below 70.0%"


def test_one_slice_and_plain_pictures_make_no_series() -> None:
    outcomes = [(sure(0.9, 0.0), slice_of(name)) for name in ("s", "", "")]
    assert all(isinstance(each, Prediction) for each, _ in series.combined(outcomes, graphs.card()))


def test_series_come_last_in_order_of_appearance() -> None:
    names = ["b", "a", "b", "a"]
    outcomes = [(sure(0.9, 0.0), slice_of(name)) for name in names]
    found = [each for each, _ in series.combined(outcomes, graphs.card())]
    assert [each.series for each in found if isinstance(each, SeriesVerdict)] == ["b", "a"]
    assert len(found) == 6
