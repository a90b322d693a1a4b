"""The gate: whether a compressed model is accepted."""

import msgspec

from lungcli.core.errors import UsageError
from lungcli.metrics import intervals, predictions, worst_institution
from lungcli.metrics.intervals import Estimate
from lungcli.metrics.predictions import Evaluation

METRIC = "balanced_accuracy"
_MALIGNANT = "malignant_sensitivity"


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """`difference` is ours minus the reference's `metric`, `malignant` that of malignant sensitivity.

    Both are paired over near-duplicate groups; `malignant` is None for models without that class.
    """

    met: bool
    max_drop: float
    difference: Estimate
    metric: str = METRIC
    malignant: Estimate | None = None


def decide(ours: Evaluation, reference: Evaluation, max_drop: float, metric: str = METRIC) -> Decision:
    """Accept when neither `metric` nor malignant sensitivity falls by over `max_drop`.

    `metric` is one of `predictions.figures_for`, or the score at the worst institution of several.

    Raises UsageError when the two were evaluated on different slices, or the models' classes have no such metric.
    """
    if not predictions.comparable(ours, reference):
        raise UsageError(
            "the two models were evaluated on different slices, so their difference means nothing",
            "evaluate both on the same data and split: lungcli evaluate MODEL --data NAME",
        )
    figures = predictions.figures_for(ours.classes)
    before, after = reference.matrices(), ours.matrices()
    if metric == worst_institution.NAME and len(set(ours.institutions)) > 1:
        positive = predictions.positive_index(ours.classes)
        difference = worst_institution.paired_difference(ours.by_institution(), reference.by_institution(), positive)
    elif metric in figures:
        difference = intervals.paired_difference(figures[metric], after, before)
    else:
        raise UsageError(f"the model has no {metric.replace('_', ' ')}", f"choose of: {', '.join(figures)}")
    malignant = intervals.paired_difference(figures[_MALIGNANT], after, before) if _MALIGNANT in figures else None
    met = difference.value is not None and within(difference, max_drop) and within(malignant, max_drop)
    return Decision(met=met, max_drop=max_drop, difference=difference, metric=metric, malignant=malignant)


def within(difference: Estimate | None, max_drop: float) -> bool:
    """Whether a metric falls by at most `max_drop`; one that is undefined (no such slices) does not fall."""
    if difference is None or difference.value is None:
        return True
    # A drop of exactly `max_drop` must not fail by rounding.
    return -difference.value <= max_drop + 5e-7
