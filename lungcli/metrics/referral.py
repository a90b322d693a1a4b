"""Selective prediction: which slices a model had better refer to a radiologist, and what it is worth on the others.

A slice is referred when its largest calibrated probability is below a threshold. Coverage is the share not referred,
selective risk the share of wrong verdicts among those (El-Yaniv & Wiener, JMLR 11, 2010, section 2; Geifman & El-Yaniv,
1705.08500, section 2).
"""

from collections.abc import Sequence
from typing import Literal, get_args

import msgspec
import numpy as np
from numpy.typing import NDArray

from lungcli.core.errors import UsageError
from lungcli.metrics import intervals
from lungcli.metrics.classification import Floats, Ints
from lungcli.metrics.intervals import Estimate
from lungcli.metrics.predictions import MALIGNANT, Evaluation

# A model that refers more than four slices in five has nothing to say, and a threshold that keeps fewer rests on a
# handful of look-alike groups.
LEAST_COVERAGE = 0.2
_STEPS = 20

Kind = Literal["risk", "malignant sensitivity"]
_SIGNS: dict[Kind, str] = {"risk": "≤", "malignant sensitivity": "≥"}


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """What the slices that are not referred should reach: a selective risk of at most, or a sensitivity of at least."""

    kind: Kind
    value: float

    def __str__(self) -> str:
        return f"{self.kind} {_SIGNS[self.kind]} {self.value:g}"


# Four verdicts in five right: balanced accuracies of .70 to .78 are where grouped splits of this kind of data lead, so
# it asks for some referrals of a good model, where 5 % would ask for nearly all.
DEFAULT = Target(kind="risk", value=0.20)


class Referral(msgspec.Struct, frozen=True, kw_only=True):
    """When to refer a slice to a radiologist: when its largest calibrated probability is below `threshold`.

    Chosen on `n` validation slices for `target`, in words. `coverage` is the share of them not referred, `risk` the
    share of wrong verdicts among those; whether the target was within reach is told by these.
    """

    threshold: float
    target: str
    coverage: float
    risk: float
    n: int


class CoveragePoint(msgspec.Struct, frozen=True, kw_only=True):
    """A point of the risk–coverage curve: what would be if slices below `threshold` were referred.

    `malignant_sensitivity` is that of the malignant slices not referred, None where there are none.
    """

    threshold: float
    coverage: float
    risk: float
    malignant_sensitivity: float | None


class Selective(msgspec.Struct, frozen=True, kw_only=True):
    """A threshold on slices that it was not chosen on, with intervals over look-alike groups.

    `risk` and `malignant_sensitivity` are of the slices not referred.
    """

    n: int
    groups: int
    part: str
    threshold: float
    coverage: Estimate
    risk: Estimate
    malignant_sensitivity: Estimate | None


def parse(text: str) -> Target:
    """Read a target as `str(target)` wrote it. Raises UsageError."""
    for kind in get_args(Kind):
        name, sign, value = text.partition(f" {_SIGNS[kind]} ")
        if sign and name == kind:
            return Target(kind=kind, value=float(value))
    raise UsageError(f"unknown referral target {text!r}", f"for example {DEFAULT}")


def curve(probabilities: Floats, labels: Ints, malignant: int | None) -> tuple[CoveragePoint, ...]:
    """Every point of the risk–coverage curve, the smallest threshold (0: none referred) first.

    `probabilities` (n, K), n ≥ 1, and `labels` (n,); `malignant` is that class's index. Thresholds lie half-way
    between confidences, so that the last bit of a logit refers nobody.
    """
    confidence, verdicts = probabilities.max(axis=1), probabilities.argmax(axis=1)
    distinct = np.unique(confidence)
    thresholds = [0.0, *((distinct[1:] + distinct[:-1]) / 2).tolist()]
    return tuple(_point(threshold, confidence >= threshold, verdicts, labels, malignant) for threshold in thresholds)


def choose(points: Sequence[CoveragePoint], target: Target, n: int) -> Referral:
    """Choose the smallest threshold that reaches `target` on a curve of `n` slices and keeps a fifth of them.

    Where none does, it is the one that comes nearest; see `reached`.
    """
    kept = [point for point in points if point.coverage >= LEAST_COVERAGE]
    best = next((point for point in kept if not _lacks(point, target)), None)
    best = best or min(kept, key=lambda point: _lacks(point, target))
    return Referral(threshold=best.threshold, target=str(target), coverage=best.coverage, risk=best.risk, n=n)


def point_of(points: Sequence[CoveragePoint], referral: Referral) -> CoveragePoint:
    """Return the point of a curve, thinned or not, at which a referral was chosen."""
    return min(points, key=lambda point: abs(point.threshold - referral.threshold))


def reached(points: Sequence[CoveragePoint], referral: Referral) -> bool:
    """Say whether the threshold reaches its target on the curve it was chosen from, thinned or not."""
    return not _lacks(point_of(points, referral), parse(referral.target))


def thinned(points: Sequence[CoveragePoint], referral: Referral) -> tuple[CoveragePoint, ...]:
    """Keep the points with the least coverage of at least 5, 10, … 100 %, and the one chosen, by rising coverage."""
    rising = sorted(points, key=lambda point: point.coverage)
    levels = (step / _STEPS for step in range(1, _STEPS + 1))
    chosen = [next(point for point in rising if point.coverage >= level - 1e-9) for level in levels]
    return tuple(sorted({*chosen, point_of(points, referral)}, key=lambda point: point.coverage))


def of(evaluation: Evaluation, threshold: float) -> Selective:
    """Measure a threshold on the slices of an evaluation."""
    labels, probabilities, groups = evaluation.arrays()
    kept = probabilities.max(axis=1) >= threshold
    right = probabilities.argmax(axis=1) == labels
    sensitivity = None
    if MALIGNANT in evaluation.classes:
        malignant = kept & (labels == evaluation.classes.index(MALIGNANT))
        sensitivity = intervals.of_share(right[malignant], groups[malignant])
    return Selective(
        n=len(labels),
        groups=len(set(evaluation.groups)),
        part=evaluation.part,
        threshold=threshold,
        coverage=intervals.of_share(kept, groups),
        risk=intervals.of_share(~right[kept], groups[kept]),
        malignant_sensitivity=sensitivity,
    )


def _point(
    threshold: float, kept: NDArray[np.bool_], verdicts: Ints, labels: Ints, malignant: int | None
) -> CoveragePoint:
    of_it = kept & (labels == malignant) if malignant is not None else np.zeros_like(kept)
    return CoveragePoint(
        threshold=threshold,
        coverage=float(kept.mean()),
        risk=float((verdicts != labels)[kept].mean()),
        malignant_sensitivity=float((verdicts == labels)[of_it].mean()) if of_it.any() else None,
    )


def _lacks(point: CoveragePoint, target: Target) -> float:
    """How much a point lacks to its target: 0 when it reaches it."""
    if target.kind == "risk":
        return max(0.0, point.risk - target.value - 1e-9)
    found = point.malignant_sensitivity
    return max(0.0, target.value - 1e-9 - (found if found is not None else 0.0))
