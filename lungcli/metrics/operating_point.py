"""What a model says of a slice, suspicious for malignancy or clear of it, by a threshold chosen beforehand.

The most probable class is one way to decide, and seldom the one that is wanted: an operating point keeps a specificity
or a sensitivity, and the other follows from the ROC curve (Metz, Semin Nucl Med 8, 1978).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from lungcli.core.versioned import Count, Share
from lungcli.metrics import intervals
from lungcli.metrics.classification import Floats, Ints
from lungcli.metrics.institutions import auc_estimate
from lungcli.metrics.intervals import Estimate
from lungcli.metrics.predictions import Evaluation

Finding = Literal["", "suspicious", "clear", "refer"]
"""`suspicious` for malignancy, `clear` of it, or left to a radiologist; empty for a model without a class malignant."""

ChosenOn = Literal["validation slices", "slices of institutions left out"]
"""Which slices decided what a model calls suspicious and refers; the latter by models that were trained without."""

# Fewer slices than this tell nine in ten right from seven in ten no more.
_BANDS, _FEWEST_IN_BAND = 4, 20


class OperatingTarget(msgspec.Struct, frozen=True, kw_only=True):
    """What an operating point keeps: a specificity or a sensitivity of at least `value`."""

    kind: Literal["specificity", "sensitivity"]
    value: Share

    def __str__(self) -> str:
        return f"{self.kind} ≥ {self.value:g}"


class OperatingPoint(msgspec.Struct, frozen=True, kw_only=True):
    """The least probability of the positive class that makes a slice suspicious, and what that gives.

    Chosen on `n` slices for `target`; `sensitivity` and `specificity` are theirs.
    """

    threshold: Share
    target: OperatingTarget
    sensitivity: Share
    specificity: Share
    n: Count


class OperatingFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Sensitivity and specificity of findings, with intervals over near-duplicate groups."""

    sensitivity: Estimate
    specificity: Estimate


class ReliabilityBand(msgspec.Struct, frozen=True, kw_only=True):
    """Slices with a confidence from `low` to the next band's: `n`, and the share of right findings."""

    low: Share
    n: Count
    right: Estimate


class Separability(msgspec.Struct, frozen=True, kw_only=True):
    """How well a model tells two classes apart on test slices: area under the ROC curve, .5 for not at all."""

    classes: tuple[str, str]
    auc: Estimate

    @property
    def is_shown(self) -> bool:
        """Whether the interval lies above chance."""
        return self.auc.low is not None and self.auc.low > 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRule:
    """How probabilities (n, K) become decisions: by the `threshold` of the class `positive`.

    By the most probable class where the model has no such class, or no operating point.
    """

    positive: int | None
    threshold: float | None

    def suspicious(self, probabilities: Floats) -> NDArray[np.bool_]:
        """Which slices are called positive: (n,)."""
        if self.positive is None:
            return np.zeros(len(probabilities), dtype=np.bool_)
        if self.threshold is None:
            return np.asarray(probabilities.argmax(axis=1) == self.positive)
        return np.asarray(probabilities[:, self.positive] >= self.threshold)

    def predicted(self, probabilities: Floats) -> Ints:
        """The most probable class that the decision allows: (n,)."""
        if self.positive is None or self.threshold is None:
            return np.asarray(probabilities.argmax(axis=1), dtype=np.int64)
        others = probabilities.copy()
        others[:, self.positive] = -1
        predicted: Ints = np.where(self.suspicious(probabilities), self.positive, others.argmax(axis=1))
        return predicted

    def confidence(self, probabilities: Floats) -> Floats:
        """How sure each decision is, (n,): the probability that it is right.

        Of a threshold below one half, which takes slices for positive that more likely are not, the odds of the
        positive class are taken relative to those at the threshold: 0.5 there, 1 far from it.
        """
        if self.positive is None or self.threshold is None:
            return np.asarray(probabilities.max(axis=1))
        share, at = (np.clip(value, 1e-6, 1 - 1e-6) for value in (probabilities[:, self.positive], self.threshold))
        at = np.minimum(at, 0.5)
        above = share * (1 - at) / (share * (1 - at) + (1 - share) * at)
        return np.asarray(np.where(self.suspicious(probabilities), above, 1 - above))

    def right(self, probabilities: Floats, labels: Ints) -> NDArray[np.bool_]:
        """Which decisions are right, (n,): of an operating point, positive or not; else, the class."""
        if self.positive is None or self.threshold is None:
            return np.asarray(probabilities.argmax(axis=1) == labels)
        return np.asarray(self.suspicious(probabilities) == (labels == self.positive))


def choose(
    scores: Floats, positive: NDArray[np.bool_], target: OperatingTarget, institutions: Sequence[str] = ()
) -> OperatingPoint | None:
    """Choose the threshold of scores (n,) that keeps `target` and has the most of the other; None where none is of use.

    With `institutions` (n,), sensitivity and specificity are means of those at each of them, however many its slices.
    Thresholds lie half-way between scores, so that rounding in a last bit changes no finding. Of no use is one that is
    no better than chance (sensitivity + specificity ≤ 1; Youden, Cancer 3, 1950).
    """
    if positive.all() or not positive.any():
        return None
    distinct = np.unique(scores)
    thresholds = np.concatenate([[0.0], (distinct[1:] + distinct[:-1]) / 2])
    where = np.array(institutions or [""] * len(scores))
    sensitivity = 1 - _share_below(thresholds, scores[positive], where[positive])
    specificity = _share_below(thresholds, scores[~positive], where[~positive])
    kept, other = (specificity, sensitivity) if target.kind == "specificity" else (sensitivity, specificity)
    candidates = np.flatnonzero((kept >= target.value - 1e-9) & (sensitivity + specificity > 1))
    if not len(candidates):
        return None
    best = candidates[other[candidates].argmax()]
    return OperatingPoint(
        threshold=float(thresholds[best]),
        target=target,
        sensitivity=float(sensitivity[best]),
        specificity=float(specificity[best]),
        n=len(scores),
    )


def _share_below(thresholds: Floats, scores: Floats, where: NDArray[np.str_]) -> Floats:
    """The share of scores (n,) below each threshold, (m,): the mean of that at each institution."""
    each = [np.sort(scores[where == name]) for name in np.unique(where)]
    return np.asarray(np.mean([np.searchsorted(one, thresholds, side="left") / len(one) for one in each], axis=0))


def measure(evaluation: Evaluation) -> OperatingFigures | None:
    """Evaluate findings on slices that the operating point was not chosen on; None for a model without one."""
    if not evaluation.suspicious or evaluation.positive is None:
        return None
    labels, _, groups = evaluation.arrays()
    called, positive = np.array(evaluation.suspicious), labels == evaluation.positive
    return OperatingFigures(
        sensitivity=intervals.share_estimate(called[positive], groups[positive]),
        specificity=intervals.share_estimate(~called[~positive], groups[~positive]),
    )


def reliability(confidence: Floats, right: NDArray[np.bool_], groups: Ints) -> tuple[ReliabilityBand, ...]:
    """Share of right findings in bands of like confidence, the least first; (n,) each.

    At most four bands of as many slices, each of 20 or more.
    """
    count = max(1, min(_BANDS, len(confidence) // _FEWEST_IN_BAND))
    lows = np.unique(np.quantile(confidence, np.arange(count) / count, method="higher"))
    band = np.searchsorted(lows, confidence, side="right") - 1
    return tuple(
        ReliabilityBand(
            low=float(low),
            n=int((band == number).sum()),
            right=intervals.share_estimate(right[band == number], groups[band == number]),
        )
        for number, low in enumerate(lows)
    )


def separability(evaluation: Evaluation) -> tuple[Separability, ...]:
    """How well each two of the classes are told apart by the ratio of their probabilities, with intervals.

    Within one institution, the one with the most pairs of slices of both: between two, the scanner tells as well.
    """
    labels, probabilities, groups = evaluation.arrays()
    where = np.array(evaluation.institutions or [""] * len(labels))
    measured = []
    for pair in combinations(range(len(evaluation.classes)), 2):
        own = _of_both(pair, labels, where)
        if not own.any():
            continue
        first, second = probabilities[own][:, pair].T
        auc = auc_estimate(first / np.maximum(first + second, 1e-300), labels[own] == pair[0], groups[own])
        measured.append(Separability(classes=(evaluation.classes[pair[0]], evaluation.classes[pair[1]]), auc=auc))
    return tuple(measured)


def _of_both(pair: tuple[int, int], labels: Ints, where: NDArray[np.str_]) -> NDArray[np.bool_]:
    """The slices (n,) of two classes at the institution with the most pairs of them; none where no one has both."""
    pairs = {
        name: int((labels[where == name] == pair[0]).sum() * (labels[where == name] == pair[1]).sum())
        for name in np.unique(where).tolist()
    }
    best = max(pairs, key=lambda name: pairs[name], default="")
    return np.isin(labels, pair) & (where == best) if pairs.get(best) else np.zeros(len(labels), dtype=np.bool_)
