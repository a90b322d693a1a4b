"""The figures of a model at each institution: the worst says more of a new one than the mean does."""

import msgspec
import numpy as np
from numpy.typing import NDArray

from lungcli.metrics import classification, intervals
from lungcli.metrics.classification import Floats, Ints
from lungcli.metrics.intervals import Estimate
from lungcli.metrics.predictions import MALIGNANT, Evaluation, positive_class


class InstitutionFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One institution: `n` slices of `groups` near-duplicate groups, `positive` of them of the `positive_class`.

    `sensitivity` and `specificity` are those `at_operating_point`, or else of the most probable class, `auc` the
    area under the ROC curve of the positive class's probability. Each is None where the institution has no slices to
    say it, or the model no such class.
    """

    institution: str
    n: int
    groups: int
    positive: int
    sensitivity: Estimate | None
    specificity: Estimate | None
    auc: Estimate | None
    balanced_accuracy: Estimate
    positive_class: str = MALIGNANT
    at_operating_point: bool = False

    @property
    def score(self) -> float:
        """What institutions are compared by: the mean of sensitivity and specificity, or the one that there is.

        Balanced accuracy where the model has no positive class; below all others where nothing is known.
        """
        values = [item.value for item in (self.sensitivity, self.specificity) if item and item.value is not None]
        if values:
            return sum(values) / len(values)
        value = self.balanced_accuracy.value
        return -1.0 if value is None else value


def by_institution(evaluation: Evaluation) -> tuple[InstitutionFigures, ...]:
    """Return the figures of every institution, the worst first; none where the data set has but one."""
    if not evaluation.institutions:
        return ()
    labels, probabilities, groups = evaluation.arrays()
    where = np.array(evaluation.institutions)
    called = np.array(evaluation.suspicious or probabilities.argmax(axis=1) == evaluation.positive)
    figures = []
    for name in sorted(set(evaluation.institutions)):
        own = where == name
        figures.append(_figures(name, evaluation, labels[own], probabilities[own], groups[own], called[own]))
    return tuple(sorted(figures, key=lambda item: item.score))


def _figures(
    name: str, evaluation: Evaluation, labels: Ints, probabilities: Floats, groups: Ints, called: NDArray[np.bool_]
) -> InstitutionFigures:
    matrices = intervals.top1_confusion_by_group(labels, probabilities, groups)
    index = evaluation.positive
    positive = np.array(labels == index, dtype=np.bool_)
    has_both = bool(positive.any()) and not positive.all()
    return InstitutionFigures(
        institution=name,
        n=len(labels),
        groups=len(matrices),
        positive=int(positive.sum()),
        sensitivity=_share(called, groups, positive) if index is not None else None,
        specificity=_share(~called, groups, ~positive) if index is not None else None,
        auc=auc_estimate(probabilities[:, index], positive, groups) if index is not None and has_both else None,
        balanced_accuracy=intervals.estimate(classification.balanced_accuracy, matrices),
        positive_class=positive_class(evaluation.classes, evaluation.positive_class),
        at_operating_point=bool(evaluation.suspicious),
    )


def _share(hits: NDArray[np.bool_], groups: Ints, of: NDArray[np.bool_]) -> Estimate | None:
    return intervals.share_estimate(hits[of], groups[of]) if of.any() else None


def auc(scores: Floats, positive: NDArray[np.bool_]) -> float:
    """Area under the ROC curve of `scores` (n,): the chance that a positive slice has the higher one, ties half.

    NaN without positive or without negative slices. It is the statistic of Mann and Whitney (Hanley & McNeil, Radiology
    143, 1982).
    """
    return _weighted_auc(_levels(scores), positive, np.ones(len(scores)))


def auc_estimate(scores: Floats, positive: NDArray[np.bool_], groups: Ints) -> Estimate:
    """Return the area under the ROC curve with its 95 % interval by a bootstrap over `groups` (n,)."""
    _, index = np.unique(groups, return_inverse=True)
    draws = intervals.bootstrap_counts(int(index.max()) + 1)
    levels = _levels(scores)
    resampled = np.array([_weighted_auc(levels, positive, draw[index]) for draw in draws])
    return intervals.percentile_interval(auc(scores, positive), resampled)


def _levels(scores: Floats) -> Ints:
    """Number the scores from the lowest, equal ones alike: (n,)."""
    return np.unique(scores, return_inverse=True)[1].astype(np.int64)


def _weighted_auc(levels: Ints, positive: NDArray[np.bool_], weights: Floats) -> float:
    """Return the area for slices that count `weights` (n,) times."""
    ups = np.bincount(levels, weights=weights * positive)
    downs = np.bincount(levels, weights=weights * ~positive)
    below = np.cumsum(downs) - downs
    return float(classification.ratio((ups * (below + downs / 2)).sum(), ups.sum() * downs.sum()))
