"""Temperature scaling: making a probability of 0.9 mean right nine times in ten."""

import math

import numpy as np
from numpy.typing import NDArray

from lungcli.core import metrics
from lungcli.core.metrics import Ints

COLDEST, HOTTEST = 0.05, 20.0
_GOLDEN = (math.sqrt(5) - 1) / 2
# Each step leaves 62 % of the interval: 40 leave 3e-8 of log T.
_STEPS = 40


def fit_temperature(logits: NDArray[np.floating], labels: Ints) -> float:
    """Return the T that minimises the mean negative log-likelihood of softmax(logits / T), 0.05 ≤ T ≤ 20.

    `logits` (n, K) and `labels` (n,) are of slices the net was not trained on. Guo et al. (1706.04599, section 4.2):
    one number, so no verdict changes. The loss is convex in 1/T, hence has one minimum over log T, and a golden
    section finds it. Without slices, T is 1.
    """
    if not len(labels):
        return 1.0

    def loss(log_t: float) -> float:
        return metrics.negative_log_likelihood(metrics.softmax(logits, math.exp(log_t)), labels)

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
