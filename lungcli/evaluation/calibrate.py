"""Temperature scaling, making a probability of 0.9 mean right nine times in ten, and the threshold of referral."""

import math

import msgspec
import numpy as np
from numpy.typing import NDArray

from lungcli.core.errors import UsageError
from lungcli.metrics import calibration
from lungcli.metrics import referral as selective
from lungcli.metrics.calibration import Calibration
from lungcli.metrics.classification import Ints
from lungcli.metrics.predictions import MALIGNANT
from lungcli.metrics.referral import Target
from lungcli.modelfile.model_card import ModelCard

COLDEST, HOTTEST = 0.05, 20.0
_GOLDEN = (math.sqrt(5) - 1) / 2
# Each step leaves 62 % of the interval: 40 leave 3e-8 of log T.
_STEPS = 40


def calibrated(
    card: ModelCard, logits: NDArray[np.floating], labels: Ints, target: Target = selective.DEFAULT
) -> ModelCard:
    """Return the card with temperature, calibration errors, risk–coverage curve and referral threshold fitted.

    `logits` (n, K) and `labels` (n,) are of the validation part. Without slices nothing is fitted. Raises UsageError
    for a target that has no meaning for the model's classes.
    """
    if not len(labels):
        return msgspec.structs.replace(card, temperature=1.0, calibration=None, referral=None, risk_coverage=())
    temperature = fit_temperature(logits, labels)
    probabilities = calibration.softmax(logits, temperature)
    malignant = card.classes.index(MALIGNANT) if MALIGNANT in card.classes else None
    if malignant is None and target.kind == "malignant sensitivity":
        raise UsageError(f"the model has no class {MALIGNANT}, so no sensitivity to it", "use --target-risk instead")
    points = selective.curve(probabilities, labels, malignant)
    referral = selective.choose(points, target, len(labels))
    return msgspec.structs.replace(
        card,
        temperature=temperature,
        calibration=Calibration(
            n=len(labels),
            before=calibration.errors(calibration.softmax(logits), labels),
            after=calibration.errors(probabilities, labels),
        ),
        referral=referral,
        risk_coverage=selective.thinned(points, referral),
    )


def fit_temperature(logits: NDArray[np.floating], labels: Ints) -> float:
    """Return the T that minimises the mean negative log-likelihood of softmax(logits / T), 0.05 ≤ T ≤ 20.

    `logits` (n, K) and `labels` (n,) are of slices the net was not trained on. Guo et al. (1706.04599, section 4.2):
    one number, so no verdict changes. The loss is convex in 1/T, hence has one minimum over log T, and a golden
    section finds it. Without slices, T is 1.
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
