"""Temperature scaling, so that probabilities are calibrated; the operating point, and the threshold of referral."""

import math
from collections.abc import Iterable

import msgspec
import numpy as np
from numpy.typing import NDArray

from lungcli.core.errors import UsageError
from lungcli.metrics import calibration, operating_point, referral
from lungcli.metrics.calibration import Calibration
from lungcli.metrics.classification import Floats, Ints
from lungcli.metrics.operating_point import ChosenOn, OperatingTarget
from lungcli.metrics.referral import Target
from lungcli.modelfile.model_card import ModelCard

# False alarms at hospitals not trained on are the fault of such models. Data of several say more of another's.
_SPECIFICITY_OF_ONE, _SPECIFICITY_OF_SEVERAL = 0.90, 0.95

COLDEST, HOTTEST = 0.05, 20.0
_GOLDEN = (math.sqrt(5) - 1) / 2
# Each step leaves 62 % of the interval: 40 leave 3e-8 of log T.
_STEPS = 40


def default_target(institutions: Iterable[str]) -> OperatingTarget:
    """What an operating point keeps if nobody says so, for a model trained on slices of these institutions."""
    several = len(set(institutions)) > 1
    return OperatingTarget(kind="specificity", value=_SPECIFICITY_OF_SEVERAL if several else _SPECIFICITY_OF_ONE)


def calibrate_card(
    card: ModelCard,
    logits: NDArray[np.floating],
    labels: Ints,
    groups: Ints,
    *,
    referral_target: Target = referral.DEFAULT,
    operating_target: OperatingTarget,
) -> ModelCard:
    """Return the card with temperature, calibration errors, operating point and referral fitted.

    `logits` (n, K), `labels` and `groups` (n,) are of the validation part. Without slices nothing is fitted. See
    `with_decisions`.
    """
    card = with_temperature(card, logits, labels)
    if not len(labels):
        return msgspec.structs.replace(card, operating_point=None, reliability=(), referral=None, risk_coverage=())
    return with_decisions(
        card,
        calibration.softmax(logits, card.temperature),
        labels,
        groups,
        referral_target=referral_target,
        operating_target=operating_target,
    )


def with_temperature(card: ModelCard, logits: NDArray[np.floating], labels: Ints) -> ModelCard:
    """Return the card with temperature and calibration errors fitted on logits (n, K) of the validation part."""
    if not len(labels):
        return msgspec.structs.replace(card, temperature=1.0, calibration=None)
    temperature = fit_temperature(logits, labels)
    fitted = Calibration(
        n=len(labels),
        before=calibration.calibration_errors(calibration.softmax(logits), labels),
        after=calibration.calibration_errors(calibration.softmax(logits, temperature), labels),
    )
    return msgspec.structs.replace(card, temperature=temperature, calibration=fitted)


def with_decisions(
    card: ModelCard,
    probabilities: Floats,
    labels: Ints,
    groups: Ints,
    *,
    referral_target: Target = referral.DEFAULT,
    operating_target: OperatingTarget,
    chosen_on: ChosenOn = "validation slices",
) -> ModelCard:
    """Return the card with operating point, reliability and referral chosen on slices that its net was not trained on.

    Calibrated `probabilities` (n, K), `labels` and `groups` (n,) are theirs. Where no operating point is of use,
    decisions are by the most probable class. Raises UsageError for a target that has no meaning for the classes.
    """
    if card.positive is None and referral_target.kind == "sensitivity":
        raise UsageError(
            "the model has no positive class, so no sensitivity to it",
            "use --target-risk instead; to have one, train with --positive-class",
        )
    positive = labels == card.positive if card.positive is not None else np.zeros(len(labels), dtype=np.bool_)
    point = operating_point.choose(probabilities[:, card.positive or 0], positive, operating_target)
    rule = msgspec.structs.replace(card, operating_point=point).rule
    confidence, right = rule.confidence(probabilities), rule.right(probabilities, labels)
    points = referral.risk_coverage_curve(confidence, right, positive)
    chosen = referral.choose(points, referral_target, len(labels))
    return msgspec.structs.replace(
        card,
        operating_point=point,
        reliability=operating_point.reliability(confidence, right, groups),
        referral=chosen,
        risk_coverage=referral.thin(points, chosen),
        chosen_on=chosen_on,
    )


def fit_temperature(logits: NDArray[np.floating], labels: Ints) -> float:
    """Return the T that minimises the mean negative log-likelihood of softmax(logits / T), 0.05 ≤ T ≤ 20.

    `logits` (n, K) and `labels` (n,) are of slices the net was not trained on (Guo et al., 1706.04599, section 4.2).
    The loss is convex in 1/T, hence has one minimum over log T, found by golden-section search. Without slices, T is 1.
    """
    if not len(labels):
        return 1.0

    def loss(log_t: float) -> float:
        return calibration.negative_log_likelihood(calibration.softmax(logits, math.exp(log_t)), labels)

    low, high = math.log(COLDEST), math.log(HOTTEST)
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_left, at_right = loss(left), loss(right)
    for _ in range(_STEPS):
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - _GOLDEN * (high - low)
            at_left = loss(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + _GOLDEN * (high - low)
            at_right = loss(right)
    return math.exp((low + high) / 2)
