"""Selective prediction: which slices a model refers to a radiologist, and how good it is on the others.

A slice is referred when the confidence of the decision (see `operating_point.DecisionRule`) is below a threshold.
Coverage is the share not referred, selective risk the error rate among those (El-Yaniv & Wiener, JMLR 11, 2010, section
2; Geifman & El-Yaniv, 1705.08500, section 2).
"""

import re
from collections.abc import Sequence
from typing import Literal, get_args

import msgspec
import numpy as np
from numpy.typing import NDArray

from lungcli.core.errors import UsageError
from lungcli.core.versioned import Count, Share
from lungcli.metrics import intervals
from lungcli.metrics.classification import Floats
from lungcli.metrics.intervals import Estimate
from lungcli.metrics.operating_point import DecisionRule
from lungcli.metrics.predictions import Evaluation, positive_class

# A model that refers more than two slices in five is of little use.
MIN_COVERAGE = 0.6
_STEPS = 20

TargetKind = Literal["risk", "relative risk", "sensitivity"]
_SIGNS: dict[TargetKind, str] = {"risk": "≤", "relative risk": "≤", "sensitivity": "≥"}
# Before another class could be the positive one.
_FORMER = "malignant "


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be reached on the slices not referred: a risk of at most, or a sensitivity of at least.

    A relative risk is in units of the risk without referral. Sensitivities, those of the positive class, are targets of
    version 0.1.0 only.
    """

    kind: TargetKind
    value: float

    def __str__(self) -> str:
        return f"{self.kind} {_SIGNS[self.kind]} {self.value:g}"


# A fixed risk would ask nothing of a good model, and all of a poor one.
DEFAULT = Target(kind="relative risk", value=0.5)


class Referral(msgspec.Struct, frozen=True, kw_only=True):
    """When to refer a slice to a radiologist: when the confidence of the decision is below `threshold`.

    Chosen on `n` slices for `target` (see `parse_target`). `coverage` is the share of them not referred,
    `risk` the error rate among those; they show whether the target was reached.
    """

    threshold: Share
    target: str
    coverage: Share
    risk: Share
    n: Count


class CoveragePoint(msgspec.Struct, frozen=True, kw_only=True):
    """A point of the risk–coverage curve: slices below `threshold` are referred.

    `sensitivity` is that of the slices of the positive class not referred, None where there are none.
    """

    threshold: Share
    coverage: Share
    risk: Share
    sensitivity: Share | None


class SelectiveFigures(msgspec.Struct, frozen=True, kw_only=True):
    """A threshold evaluated on slices that it was not chosen on, with intervals over near-duplicate groups.

    `risk` and `sensitivity`, that of the `positive_class`, are of the slices not referred.
    """

    n: int
    groups: int
    part: str
    threshold: float
    coverage: Estimate
    risk: Estimate
    sensitivity: Estimate | None
    positive_class: str = ""


def parse_target(text: str) -> Target:
    """Read a target as `str(target)` wrote it. Raises UsageError."""
    for kind in get_args(TargetKind):
        name, sign, value = text.removeprefix(_FORMER).partition(f" {_SIGNS[kind]} ")
        if sign and name == kind and re.fullmatch(r"[0-9.]{1,20}", value) and value.count(".") < 2:
            return Target(kind=kind, value=float(value))
    raise UsageError(f"unknown referral target {text!r}", f"for example {DEFAULT}")


def risk_coverage_curve(
    confidence: Floats, right: NDArray[np.bool_], positive: NDArray[np.bool_]
) -> tuple[CoveragePoint, ...]:
    """Every point of the risk–coverage curve of decisions (n,), n ≥ 1, the smallest threshold (0: none referred) first.

    `right` says which decisions are, `positive` which slices; (n,) each. Thresholds lie half-way between confidences,
    so that rounding in a logit's last bit changes no referral.
    """
    distinct = np.unique(confidence)
    thresholds = [0.0, *((distinct[1:] + distinct[:-1]) / 2).tolist()]
    return tuple(_point(threshold, confidence >= threshold, right, positive) for threshold in thresholds)


def choose(points: Sequence[CoveragePoint], target: Target, n: int) -> Referral:
    """Choose the smallest threshold that reaches `target` on a curve of `n` slices with a coverage of at least 60 %.

    Where none does, it is the one that comes nearest; see `is_target_reached`.
    """
    candidates, risk = [point for point in points if point.coverage >= MIN_COVERAGE], _risk_of_all(points)
    best = next((point for point in candidates if not _shortfall(point, target, risk)), None)
    best = best or min(candidates, key=lambda point: _shortfall(point, target, risk))
    return Referral(threshold=best.threshold, target=str(target), coverage=best.coverage, risk=best.risk, n=n)


def point_of(points: Sequence[CoveragePoint], referral: Referral) -> CoveragePoint:
    """Return the point of a curve, thinned or not, at which a referral was chosen."""
    return min(points, key=lambda point: abs(point.threshold - referral.threshold))


def is_target_reached(points: Sequence[CoveragePoint], referral: Referral) -> bool:
    """Say whether the threshold reaches its target on the curve it was chosen from, thinned or not."""
    return not _shortfall(point_of(points, referral), parse_target(referral.target), _risk_of_all(points))


def thin(points: Sequence[CoveragePoint], referral: Referral) -> tuple[CoveragePoint, ...]:
    """Thin a curve to one point per 5 % of coverage and the chosen one, by rising coverage."""
    rising = sorted(points, key=lambda point: point.coverage)
    levels = (step / _STEPS for step in range(1, _STEPS + 1))
    at_levels = [next(point for point in rising if point.coverage >= level - 1e-9) for level in levels]
    return tuple(sorted({*at_levels, point_of(points, referral)}, key=lambda point: point.coverage))


def measure(evaluation: Evaluation, threshold: float, rule: DecisionRule) -> SelectiveFigures:
    """Evaluate a threshold on the slices of an evaluation, decided by `rule`."""
    labels, probabilities, groups = evaluation.arrays()
    accepted, right = rule.confidence(probabilities) >= threshold, rule.right(probabilities, labels)
    sensitivity = None
    if rule.positive is not None:
        accepted_positive = accepted & (labels == rule.positive)
        sensitivity = intervals.share_estimate(right[accepted_positive], groups[accepted_positive])
    return SelectiveFigures(
        n=len(labels),
        groups=len(set(evaluation.groups)),
        part=evaluation.part,
        threshold=threshold,
        coverage=intervals.share_estimate(accepted, groups),
        risk=intervals.share_estimate(~right[accepted], groups[accepted]),
        sensitivity=sensitivity,
        positive_class=positive_class(evaluation.classes, evaluation.positive_class),
    )


def _point(
    threshold: float, accepted: NDArray[np.bool_], right: NDArray[np.bool_], positive: NDArray[np.bool_]
) -> CoveragePoint:
    accepted_positive = accepted & positive
    return CoveragePoint(
        threshold=threshold,
        coverage=float(accepted.mean()),
        risk=float((~right)[accepted].mean()),
        sensitivity=float(right[accepted_positive].mean()) if accepted_positive.any() else None,
    )


def _risk_of_all(points: Sequence[CoveragePoint]) -> float:
    """The error rate without referral."""
    return max(points, key=lambda point: point.coverage).risk


def _shortfall(point: CoveragePoint, target: Target, risk_of_all: float) -> float:
    """How far a point is from its target: 0 when it reaches it."""
    if target.kind == "sensitivity":
        sensitivity = point.sensitivity
        return max(0.0, target.value - 1e-9 - (sensitivity if sensitivity is not None else 0.0))
    most = target.value * (risk_of_all if target.kind == "relative risk" else 1.0)
    return max(0.0, point.risk - most - 1e-9)
