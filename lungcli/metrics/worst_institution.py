"""The score of a model at its worst institution, with intervals over near-duplicate groups.

The mean over institutions hides one at which a model fails, and a new one may be like that.
"""

from collections.abc import Sequence

import numpy as np

from lungcli.metrics import classification, intervals
from lungcli.metrics.classification import Floats, Ints
from lungcli.metrics.intervals import Estimate

NAME = "worst_institution"


def matrices(labels: Ints, probabilities: Floats, groups: Ints, institutions: Sequence[str]) -> Ints:
    """Confusion matrix of each group at each institution: shape (I, G, K, K), from slices (n,) and (n, K)."""
    where = np.unique(np.array(institutions), return_inverse=True)[1]
    _, group = np.unique(groups, return_inverse=True)
    classes, count = probabilities.shape[1], int(group.max()) + 1
    of_pair = intervals.confusion_by_group(
        labels,
        probabilities.argmax(axis=1).astype(np.int64),
        (where * count + group).astype(np.int64),
        classes,
    )
    whole = np.zeros((int(where.max()) + 1, count, classes, classes), dtype=np.int64)
    whole.reshape(-1, classes, classes)[np.unique(where * count + group)] = of_pair
    return whole


def estimate(of_groups: Ints, positive: int | None) -> Estimate:
    """Return the score at the worst institution with its 95 % interval; see `score`."""
    return intervals.percentile_interval(_worst(of_groups.sum(axis=1), positive), _resampled(of_groups, positive))


def paired_difference(ours: Ints, theirs: Ints, positive: int | None) -> Estimate:
    """Return the score of `ours` at its worst institution minus that of `theirs`, with its interval.

    Both are of the same groups and institutions, (I, G, K, K) each, and the same groups are drawn for both.
    """
    value = _worst(ours.sum(axis=1), positive) - _worst(theirs.sum(axis=1), positive)
    return intervals.percentile_interval(value, _resampled(ours, positive) - _resampled(theirs, positive))


def score(matrix: Floats | Ints, positive: int | None) -> Floats:
    """Mean of sensitivity and specificity of the class `positive`, or the one of them that has slices.

    Of confusion matrices (..., K, K): shape (...). Balanced accuracy where there is no such class.
    """
    if positive is None:
        return classification.balanced_accuracy(matrix)
    both = np.stack([classification.recall_of(positive)(matrix), classification.specificity_of(positive)(matrix)])
    known = np.isfinite(both)
    return classification.ratio(np.where(known, both, 0.0).sum(axis=0), known.sum(axis=0))


def _worst(of_institutions: Floats | Ints, positive: int | None) -> float:
    return float(np.fmin.reduce(score(of_institutions, positive)))


def _resampled(of_groups: Ints, positive: int | None) -> Floats:
    """Worst score of each resample of the groups: shape (RESAMPLES,)."""
    worst: Floats = np.fmin.reduce([score(intervals.resample(matrices_), positive) for matrices_ in of_groups])
    return worst
