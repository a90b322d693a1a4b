"""95 % intervals by a bootstrap over near-duplicate groups.

Slices of one group are not independent, so groups are drawn with replacement, not slices (the cluster bootstrap,
Davison & Hinkley 1997, section 3.8). Each group is reduced to its confusion matrix once; a resample is then a
weighted sum of those, and 2,000 resamples of any figure are one matrix product.
"""

import math
from collections.abc import Callable, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from lungcli.core.versioned import Difference
from lungcli.metrics.classification import Floats, Ints

RESAMPLES = 2000
LEVEL = 0.95
# The normal quantile that leaves 2.5 % above it.
_Z = 1.959964

Figure = Callable[[Floats | Ints], Floats]


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """A share, or a difference of shares, with its 95 % percentile interval; NaN is written as null."""

    value: Difference | None
    low: Difference | None
    high: Difference | None


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """A figure over folds: its mean with an interval, and its standard deviation (None below two folds)."""

    mean: Estimate
    deviation: float | None
    folds: int


def confusion_by_group(labels: Ints, predicted: Ints, groups: Ints, classes: int) -> Ints:
    """Confusion matrix of each group from labels, predicted classes and groups, (n,) each: shape (G, K, K).

    Groups are in the order of their sorted numbers.
    """
    _, index = np.unique(groups, return_inverse=True)
    count = int(index.max()) + 1 if len(index) else 0
    flat = np.bincount((index * classes + labels) * classes + predicted, minlength=count * classes * classes)
    return flat.reshape(count, classes, classes).astype(np.int64)


def resample(matrices: Ints, seed: int = 0) -> Floats:
    """Draw groups with replacement: shape (RESAMPLES, K, K) of summed confusion matrices."""
    count, classes, _ = matrices.shape
    weights = bootstrap_counts(count, seed)
    return (weights @ matrices.reshape(count, -1).astype(np.float64)).reshape(RESAMPLES, classes, classes)


def bootstrap_counts(count: int, seed: int = 0) -> Floats:
    """How often each of `count` groups is drawn in each resample: shape (RESAMPLES, count)."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(count, np.full(count, 1 / count), size=RESAMPLES).astype(np.float64)


def estimate(figure: Figure, matrices: Ints, seed: int = 0) -> Estimate:
    """Return `figure` of all groups together, with its interval."""
    return percentile_interval(float(figure(matrices.sum(axis=0))), figure(resample(matrices, seed)))


def paired_difference(figure: Figure, ours: Ints, theirs: Ints) -> Estimate:
    """Return `figure(ours) − figure(theirs)` with its interval; both are of the same groups, (G, K, K) each.

    The same draw of groups is used for both models, so what is hard for both cancels out.
    """
    value = float(figure(ours.sum(axis=0)) - figure(theirs.sum(axis=0)))
    return percentile_interval(value, figure(resample(ours)) - figure(resample(theirs)))


def paired_p(figure: Figure, ours: Ints, theirs: Ints) -> float | None:
    """Two-sided p-value of `figure(ours) − figure(theirs)`, both of the same groups; None where undefined.

    The smallest level at which the interval of `paired_difference` leaves out zero (Efron & Tibshirani 1993, section
    15.4), one resample added to either count so that no p-value is 0 (Davison & Hinkley 1997, section 4.2).
    """
    resampled = figure(resample(ours)) - figure(resample(theirs))
    finite = resampled[np.isfinite(resampled)]
    if not len(finite):
        return None
    # The same figure summed in another order may differ in its last bits.
    tail = min(int((finite <= 1e-12).sum()), int((finite >= -1e-12).sum()))
    return min(1.0, 2 * (tail + 1) / (len(finite) + 1))


def over_folds(values: Sequence[float]) -> Spread:
    """Return mean and standard deviation of a figure of each fold, with an interval by bootstrap over folds.

    Folds are few and train on each other's slices, so the interval is narrower than the truth (Bengio & Grandvalet,
    JMLR 5, 2004); folds where the figure is not defined (NaN) are left out.
    """
    finite = np.array([value for value in values if math.isfinite(value)], dtype=np.float64)
    if not len(finite):
        return Spread(mean=Estimate(value=None, low=None, high=None), deviation=None, folds=0)
    mean = percentile_interval(float(finite.mean()), bootstrap_counts(len(finite)) @ finite / len(finite))
    return Spread(mean=mean, deviation=float(finite.std(ddof=1)) if len(finite) > 1 else None, folds=len(finite))


def top1_confusion_by_group(labels: Ints, probabilities: Floats, groups: Ints) -> Ints:
    """Confusion matrix by group of the most probable class: shape (G, K, K)."""
    return confusion_by_group(labels, probabilities.argmax(axis=1).astype(np.int64), groups, probabilities.shape[1])


def share_estimate(hits: NDArray[np.bool_], groups: Ints) -> Estimate:
    """Share of slices (n,) that hit, with the score interval of Wilson (JASA 22, 1927).

    A bootstrap gives shares of 0 and 1, which are common here, no width at all. Slices of one group count as if they
    always agreed, so the number of trials is Kish's effective number of groups, (Σ n_g)² / Σ n_g² (Survey Sampling,
    1965, section 8.2).
    """
    if not len(hits):
        return Estimate(value=None, low=None, high=None)
    sizes = np.unique(groups, return_counts=True)[1].astype(np.float64)
    value, trials = float(hits.mean()), float(sizes.sum() ** 2 / (sizes**2).sum())
    spread = _Z**2 / trials
    middle = (value + spread / 2) / (1 + spread)
    reach = _Z / (1 + spread) * math.sqrt(value * (1 - value) / trials + spread / (4 * trials))
    # The interval of 0 begins at 0 and that of 1 ends at 1: rounding must not put a limit beyond the value.
    return Estimate(value=value, low=min(value, max(0.0, middle - reach)), high=max(value, min(1.0, middle + reach)))


def percentile_interval(value: float, resampled: NDArray[np.float64]) -> Estimate:
    """Return `value` with the 95 % interval of the `resampled` ones that are defined; no value where it is NaN."""
    finite = resampled[np.isfinite(resampled)]
    if not np.isfinite(value) or not len(finite):
        return Estimate(value=None, low=None, high=None)
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(finite, [tail, 1 - tail])
    return Estimate(value=value, low=float(low), high=float(high))
