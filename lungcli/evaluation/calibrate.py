"""Temperature scaling, so that probabilities are calibrated; the operating point, and the threshold of referral."""

import math
from collections.abc import Iterable, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from lungcli.core.errors import UsageError
from lungcli.metrics import calibration, operating_point, referral
from lungcli.metrics.calibration import Calibration
from lungcli.metrics.classification import Ints
from lungcli.metrics.operating_point import OperatingTarget
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
    left_out: Sequence[str] = (),
) -> ModelCard:
    """Return the card with temperature, calibration errors, operating point and referral fitted.

    `logits` (n, K), `labels` and `groups` (n,) are of slices that the net was not trained on: of the validation part,
    or else of the institutions `left_out` (n,), by nets that were trained without each; an operating point is then
    chosen by the mean of what it gives at each of them. Without slices nothing is fitted. Where no operating point is
    of use, decisions are by the most probable class. Raises UsageError for a target that has no meaning for the model's
    classes.
    """
    if not len(labels):
        return msgspec.structs.replace(
            card,
            temperature=1.0,
            calibration=None,
            operating_point=None,
            reliability=(),
            referral=None,
            risk_coverage=(),
            chosen_on="validation slices",
        )
    temperature = fit_temperature(logits, labels)
    probabilities = calibration.softmax(logits, temperature)
    if card.positive is None and referral_target.kind == "sensitivity":
        raise UsageError(
            "the model has no positive class, so no sensitivity to it",
            "use --target-risk instead; to have one, train with --positive-class",
        )
    positive = labels == card.positive if card.positive is not None else np.zeros(len(labels), dtype=np.bool_)
    point = operating_point.choose(probabilities[:, card.positive or 0], positive, operating_target, left_out)
    rule = msgspec.structs.replace(card, operating_point=point).rule
    confidence, right = rule.confidence(probabilities), rule.right(probabilities, labels)
    points = referral.risk_coverage_curve(confidence, right, positive)
    chosen = referral.choose(points, referral_target, len(labels))
    return msgspec.structs.replace(
        card,
        temperature=temperature,
        calibration=Calibration(
            n=len(labels),
            before=calibration.calibration_errors(calibration.softmax(logits), labels),
            after=calibration.calibration_errors(probabilities, labels),
        ),
        operating_point=point,
        reliability=operating_point.reliability(confidence, right, groups),
        referral=chosen,
        risk_coverage=referral.thin(points, chosen),
        chosen_on="slices of institutions left out" if left_out else "validation slices",
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
