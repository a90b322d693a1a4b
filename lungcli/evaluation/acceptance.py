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
    """One check: `difference` is `model` minus `reference` in `metric`, `malignant` that of the sensitivity to the
    `positive_class`.

    Both are on the slices of `part`, paired over near-duplicate groups; `malignant` is None for models without a
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
    malignant: Estimate | None = None
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

    `metric` is one of `predictions.figures_for`, `sensitivity`, or the score at the worst institution of several.

    Models come with their names. With `spared` so many predictions may become wrong, whatever that is of a small part.
    Raises UsageError when the two were evaluated on different slices, or the models' classes have no such metric.
    """
    (model, after), (reference_name, before) = ours, reference
    if not predictions.comparable(after, before):
        raise UsageError(
            "the two models were evaluated on different slices, so their difference means nothing",
            "evaluate both on the same data and split: lungcli evaluate MODEL --data NAME",
        )
    figures = after.metrics()
    label = predictions.positive_class(after.classes, after.positive_class)
    to_positive = predictions.sensitivity_of(label)
    if metric in _SENSITIVITY:
        metric = to_positive if label else _SENSITIVITY[0]
    matrices = after.matrices(), before.matrices()
    if metric == worst_institution.NAME and len(set(after.institutions)) > 1:
        difference = worst_institution.paired_difference(
            after.by_institution(), before.by_institution(), after.positive
        )
    elif metric in figures:
        difference = intervals.paired_difference(figures[metric], *matrices)
    else:
        raise UsageError(f"the model has no {metric.replace('_', ' ')}", f"choose of: {', '.join(figures)}")
    malignant = intervals.paired_difference(figures[to_positive], *matrices) if to_positive in figures else None
    is_small = difference.value is not None and within(difference, max_drop) and within(malignant, max_drop)
    return Decision(
        name=name,
        model=model,
        reference=reference_name,
        part=after.part,
        met=is_small or (spared > 0 and _newly_wrong(after, before) <= spared),
        max_drop=max_drop,
        difference=difference,
        metric=metric,
        malignant=malignant,
        positive_class=label,
    )


def gate(
    teachers: list[Evaluation], student: Evaluation, int8: Evaluation, recipe: Recipe
) -> tuple[Decision, Decision]:
    """Check a compression: the student against its teacher, or the mean of several, and int8 against the student.

    One prediction may always become wrong by quantization: of a small part it is more than the limit.
    """
    reference = "teacher" if len(teachers) == 1 else "mean of teachers"
    return (
        decide("distillation", ("student", student), (reference, predictions.ensemble(teachers)), recipe.max_drop),
        decide("quantization", ("int8", int8), ("student", student), recipe.max_int8_drop, spared=1),
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
