"""The gate: two checks that accept or refuse a compressed model, each with its limit.

The distillation check compares the student with its teacher, the quantization check the quantized net with its float
net.
"""

from typing import Literal

import msgspec

from lungcli.core.errors import UsageError
from lungcli.core.recipe import Recipe
from lungcli.metrics import intervals, predictions, worst_institution
from lungcli.metrics.intervals import Estimate
from lungcli.metrics.predictions import MALIGNANT, Evaluation, Figures

METRIC = "balanced_accuracy"
_SENSITIVITY = ("sensitivity", "malignant_sensitivity")
"""What asks for the sensitivity of the positive class; the second is its name in earlier versions."""

Name = Literal["distillation", "quantization"]


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """One check: `difference` is `model` minus `reference` in `metric`, `sensitivity` that of the sensitivity to the
    `positive_class`.

    Both are on the slices of `part`, paired over near-duplicate groups; `sensitivity` is None for models without a
    positive class. `met` is whether neither falls by more than `max_drop`.
    """

    name: Name
    model: str
    reference: str
    part: str
    met: bool
    max_drop: float
    difference: Estimate
    metric: str = METRIC
    sensitivity: Estimate | None = None
    positive_class: str = MALIGNANT


def decide(
    name: Name,
    ours: tuple[str, Evaluation],
    reference: tuple[str, Evaluation],
    max_drop: float,
    metric: str = METRIC,
    spared: int = 0,
) -> Decision:
    """Accept when neither `metric` nor the positive class's sensitivity falls by more than `max_drop`.

    For `metric` see `difference_in`. Models come with their names. With `spared` so many predictions may become wrong,
    whatever that is of a small part. Raises UsageError when the two were evaluated on different slices, or the models'
    classes have no such metric.
    """
    (model, after), (reference_name, before) = ours, reference
    predictions.require_comparable(after, before, "their difference means nothing")
    metric, difference = difference_in(metric, after, before)
    label = predictions.positive_class(after.classes, after.positive_class)
    sensitivity = difference_in(_SENSITIVITY[0], after, before)[1] if label else None
    is_small = difference.value is not None and within(difference, max_drop) and within(sensitivity, max_drop)
    return Decision(
        name=name,
        model=model,
        reference=reference_name,
        part=after.part,
        met=is_small or (spared > 0 and _newly_wrong(after, before) <= spared),
        max_drop=max_drop,
        difference=difference,
        metric=metric,
        sensitivity=sensitivity,
        positive_class=label,
    )


def difference_in(metric: str, ours: Evaluation, reference: Evaluation) -> tuple[str, Estimate]:
    """Return the full name of a metric, and `ours` minus `reference` in it, with its interval paired over groups.

    `metric` is one of `predictions.figures_for`, `sensitivity` (of the positive class), or the score at the worst
    institution where the data set has several. Both are of the same slices. Raises UsageError where there is no such
    metric.
    """
    figures = ours.metrics()
    label = predictions.positive_class(ours.classes, ours.positive_class)
    name = metric
    if metric in _SENSITIVITY:
        name = predictions.sensitivity_of(label) if label else _SENSITIVITY[0]
    if name == worst_institution.NAME and ours.institutions and reference.institutions:
        matrices = ours.by_institution(), reference.by_institution()
        return name, worst_institution.paired_difference(*matrices, ours.positive)
    if name not in figures:
        raise UsageError(f"the model has no {name.replace('_', ' ')}", f"choose of: {', '.join(figures)}")
    return name, intervals.paired_difference(figures[name], ours.matrices(), reference.matrices())


def gate(
    teachers: list[Evaluation], student: Evaluation, int8: Evaluation, recipe: Recipe
) -> tuple[Decision, Decision]:
    """Check a compression: the student against its teacher, or the mean of several, and int8 against the student.

    One prediction may always become wrong by quantization: of a small part it is more than the limit.
    """
    teacher = "teacher" if len(teachers) == 1 else "mean of teachers", predictions.ensemble(teachers)
    ours, metric = ("student", student), recipe.metric.replace("-", "_")
    return (
        decide("distillation", ours, teacher, recipe.max_drop, metric),
        decide("quantization", ("int8", int8), ours, recipe.max_int8_drop, metric, spared=1),
    )


def within(difference: Estimate | None, max_drop: float) -> bool:
    """Whether a metric falls by at most `max_drop`; one that is undefined (no such slices) does not fall."""
    if difference is None or difference.value is None:
        return True
    # A drop of exactly `max_drop` must not fail by rounding.
    return -difference.value <= max_drop + 5e-7


def has_learned(figures: Figures, classes: int) -> bool:
    """Whether balanced accuracy, its whole interval, lies above chance: that of one answer for every slice."""
    estimate = figures.estimates[METRIC]
    lowest = estimate.value if estimate.low is None else estimate.low
    return lowest is not None and lowest > 1 / classes


def _newly_wrong(ours: Evaluation, reference: Evaluation) -> int:
    labels, after, _ = ours.arrays()
    before = reference.arrays()[1]
    return int(((before.argmax(axis=1) == labels) & (after.argmax(axis=1) != labels)).sum())
