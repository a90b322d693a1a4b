"""Metrics of a classifier, computed from confusion matrices so that a bootstrap costs one matrix product.

Every function of a confusion matrix takes an array of shape (..., K, K), rows the true classes, columns the predicted
ones, and returns shape (...). Means over classes leave out those without slices.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def confusion(labels: Ints, predicted: Ints, classes: int) -> Ints:
    """Count slices by true and predicted class, (n,) each: shape (K, K)."""
    flat = np.bincount(labels * classes + predicted, minlength=classes * classes)
    return flat.reshape(classes, classes).astype(np.int64)


def recalls(matrix: Floats | Ints) -> Floats:
    """Recall (sensitivity) of each class: shape (..., K), NaN for a class without slices."""
    return ratio(np.diagonal(matrix, axis1=-2, axis2=-1), matrix.sum(axis=-1))


def precisions(matrix: Floats | Ints) -> Floats:
    """Precision of each class: shape (..., K), NaN for a class never predicted."""
    return ratio(np.diagonal(matrix, axis1=-2, axis2=-1), matrix.sum(axis=-2))


def f1_scores(matrix: Floats | Ints) -> Floats:
    """Harmonic mean of precision and recall by class: shape (..., K)."""
    hits = np.diagonal(matrix, axis1=-2, axis2=-1)
    return ratio(2 * hits, matrix.sum(axis=-1) + matrix.sum(axis=-2))


def accuracy(matrix: Floats | Ints) -> Floats:
    """Share of slices classified correctly."""
    return ratio(np.trace(matrix, axis1=-2, axis2=-1), matrix.sum(axis=(-2, -1)))


def balanced_accuracy(matrix: Floats | Ints) -> Floats:
    """Mean recall over the classes that have slices."""
    return _mean_over_classes(recalls(matrix), matrix)


def macro_f1(matrix: Floats | Ints) -> Floats:
    """Mean F1 over the classes that have slices."""
    return _mean_over_classes(f1_scores(matrix), matrix)


def kappa(matrix: Floats | Ints) -> Floats:
    """Cohen's kappa: agreement beyond what the margins alone would give (Cohen 1960)."""
    total = matrix.sum(axis=(-2, -1)).astype(np.float64)
    observed = accuracy(matrix)
    expected = ratio((matrix.sum(axis=-1) * matrix.sum(axis=-2)).sum(axis=-1), total**2)
    return ratio(observed - expected, 1 - expected)


def recall_of(index: int) -> Callable[[Floats | Ints], Floats]:
    """Return the metric that is the recall of the class at `index`."""
    return lambda matrix: recalls(matrix)[..., index]


def specificity_of(index: int) -> Callable[[Floats | Ints], Floats]:
    """Return the metric that is the specificity of the class at `index`: the share of others not predicted as it."""

    def specificity(matrix: Floats | Ints) -> Floats:
        others = matrix.sum(axis=(-2, -1)) - matrix[..., index, :].sum(axis=-1)
        false_alarms = matrix[..., :, index].sum(axis=-1) - matrix[..., index, index]
        return 1 - ratio(false_alarms, others)

    return specificity


def ratio(part: NDArray[np.generic] | Floats, whole: NDArray[np.generic] | Floats) -> Floats:
    """Return part / whole element by element, NaN where `whole` is 0."""
    part, whole = np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64)
    out = np.full(np.broadcast(part, whole).shape, np.nan)
    np.divide(part, whole, out=out, where=whole != 0)
    return out


def _mean_over_classes(values: Floats, matrix: Floats | Ints) -> Floats:
    present = matrix.sum(axis=-1) > 0
    return ratio(np.where(present, values, 0.0).sum(axis=-1), present.sum(axis=-1))
