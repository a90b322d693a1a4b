"""One prediction for a DICOM series out of those of its slices, by a rule that is stated wherever it is shown."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from lungcli import DISCLAIMER
from lungcli.metrics.operating_point import Finding
from lungcli.metrics.predictions import MALIGNANT
from lungcli.modelfile.model_card import ModelCard
from lungcli.predict import predict
from lungcli.predict.predict import Capture, Outcome, Prediction

RULE = (
    "the mean of the calibrated probabilities of the slices that were neither refused nor referred; referred itself "
    "where these are fewer than half, where the mean is not sure enough for the model (of several models, the mean of "
    "their thresholds), or where a slice among them is called of the positive class (malignant, if there is one) and "
    "the series is not"
)

_ENOUGH = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesVerdict:
    """The prediction for one series of at least two slices, made by `RULE`.

    Of `slices`, `used` ones count; `referred_slices` were left to a radiologist, and `not_judged` refused or not
    readable; `positive_slices` of those used are of the `positive_class`. `label` is empty and `probabilities` are too
    where no slice counts.
    """

    series: str
    finding: Finding = ""
    label: str
    probabilities: dict[str, float]
    slices: int
    used: int
    referred_slices: int
    not_judged: int
    positive_slices: int
    referred: bool
    reason: str
    positive_class: str = MALIGNANT
    rule: str = RULE
    disclaimer: str = DISCLAIMER


@dataclass(slots=True, kw_only=True)
class _Tally:
    """What is kept of a series while its slices go by: sums, so that its length doesn't matter."""

    slices: int = 0
    referred: int = 0
    not_judged: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    total: list[float] = field(default_factory=list)


def combined(
    predicted: Iterable[tuple[Outcome, Capture]], card: ModelCard
) -> Iterator[tuple[Outcome | SeriesVerdict, Capture | None]]:
    """Pass everything on, and after the last slice give the prediction for each series, in order of appearance."""
    tallies: defaultdict[str, _Tally] = defaultdict(_Tally)
    for outcome, capture in predicted:
        if series := capture.item.series:
            _add(tallies[series], outcome, card)
        yield outcome, capture
    for name, tally in tallies.items():
        if tally.slices > 1:
            yield _verdict(name, tally, card), None


def of_slices(name: str, outcomes: Iterable[Outcome], card: ModelCard) -> SeriesVerdict:
    """Give the prediction for one series out of the outcomes of all its slices."""
    tally = _Tally()
    for outcome in outcomes:
        _add(tally, outcome, card)
    return _verdict(name, tally, card)


def _add(tally: _Tally, outcome: Outcome, card: ModelCard) -> None:
    tally.slices += 1
    if not isinstance(outcome, Prediction):
        tally.not_judged += 1
    elif outcome.referred:
        tally.referred += 1
    else:
        tally.labels[outcome.label] += 1
        values = [outcome.probabilities[name] for name in card.classes]
        tally.total = [a + b for a, b in zip(tally.total or [0.0] * len(values), values, strict=True)]


def _verdict(name: str, tally: _Tally, card: ModelCard) -> SeriesVerdict:
    used, positive = tally.labels.total(), tally.labels[card.positive_class]
    mean = np.array(tally.total) / used if used else np.zeros(len(card.classes))
    label = card.classes[int(card.rule.predicted(mean[None])[0])] if used else ""
    reason = _why_referred(tally, label, float(card.rule.confidence(mean[None])[0]), positive, card)
    return SeriesVerdict(
        series=name,
        finding=predict.finding(card, mean, referred=bool(reason)),
        label=label,
        probabilities=dict(zip(card.classes, mean.tolist(), strict=True)) if used else {},
        slices=tally.slices,
        used=used,
        referred_slices=tally.referred,
        not_judged=tally.not_judged,
        positive_slices=positive,
        positive_class=card.positive_class,
        referred=bool(reason),
        reason=reason,
    )


def _why_referred(tally: _Tally, label: str, confidence: float, positive: int, card: ModelCard) -> str:
    """Say why the prediction for a series is left to a radiologist; empty when it is not."""
    used = tally.labels.total()
    if used < _ENOUGH * tally.slices:
        return f"only {used} of {tally.slices} slices count: the others were refused or referred"
    if not_sure := predict.not_sure(card, confidence):
        return not_sure
    if positive and label != card.positive_class:
        return f"{positive} of {used} slices called {card.positive_class}"
    return ""
