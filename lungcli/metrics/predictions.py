"""The verdicts of one model on one part of a split, and the figures that follow from them."""

import hashlib
from collections.abc import Sequence

import msgspec
import numpy as np

from lungcli.core.errors import UsageError
from lungcli.metrics import calibration, classification, intervals
from lungcli.metrics.classification import Floats, Ints
from lungcli.metrics.intervals import Estimate, Figure, Spread

MALIGNANT = "malignant"


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """Calibrated probabilities of every slice of one part; enough to compare any two models slice by slice.

    `labels` and `groups` have one number a slice, `probabilities` K a slice, in the order of `slices` (paths within
    the data set). Two evaluations can be compared when `split_digest` and `part` agree.
    """

    classes: tuple[str, ...]
    part: str
    protocol: str
    split_digest: str
    slices: tuple[str, ...]
    labels: tuple[int, ...]
    groups: tuple[int, ...]
    probabilities: tuple[tuple[float, ...], ...]

    def arrays(self) -> tuple[Ints, Floats, Ints]:
        """Return labels (n,), probabilities (n, K) and groups (n,) as arrays."""
        return (
            np.array(self.labels, dtype=np.int64),
            np.array(self.probabilities, dtype=np.float64).reshape(len(self.labels), len(self.classes)),
            np.array(self.groups, dtype=np.int64),
        )

    def matrices(self) -> Ints:
        """Confusion matrix of each group: shape (G, K, K)."""
        return intervals.matrices_of(*self.arrays())

    def figures(self) -> "Figures":
        """Return every figure with its interval."""
        labels, probabilities, groups = self.arrays()
        matrices = intervals.matrices_of(labels, probabilities, groups)
        return Figures(
            n=len(labels),
            groups=len(matrices),
            part=self.part,
            protocol=self.protocol,
            estimates={
                name: intervals.estimate(figure, matrices) for name, figure in figures_for(self.classes).items()
            },
            ece=calibration.expected_calibration_error(probabilities, labels),
            nll=calibration.negative_log_likelihood(probabilities, labels),
            brier=calibration.brier_score(probabilities, labels),
        )


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of one model on one part: `estimates` by name, calibration errors, and how much they rest on."""

    n: int
    groups: int
    part: str
    protocol: str
    estimates: dict[str, Estimate]
    ece: float
    nll: float
    brier: float


def figures_for(classes: tuple[str, ...]) -> dict[str, Figure]:
    """Name every figure of a confusion matrix, the headline first; malignant ones where there is that class."""
    named: dict[str, Figure] = {"balanced_accuracy": classification.balanced_accuracy}
    if MALIGNANT in classes:
        index = classes.index(MALIGNANT)
        named["malignant_sensitivity"] = classification.recall_of(index)
        named["malignant_specificity"] = classification.specificity_of(index)
    return named | {
        "macro_f1": classification.macro_f1,
        "kappa": classification.kappa,
        "accuracy": classification.accuracy,
    }


def ensemble(evaluations: Sequence[Evaluation]) -> Evaluation:
    """Return the verdicts of several models together: the mean of their calibrated probabilities.

    All must have judged the same slices (see `comparable`). Raises UsageError when they did not.
    """
    first = evaluations[0]
    if not all(comparable(first, other) for other in evaluations):
        raise UsageError(
            "the models of the ensemble were evaluated on different slices, so they have no verdict together",
            "evaluate all on the same data and split: lungcli evaluate MODEL --data NAME",
        )
    mean = np.mean([each.arrays()[1] for each in evaluations], axis=0)
    return msgspec.structs.replace(first, probabilities=tuple(tuple(row) for row in mean.tolist()))


def pooled(folds: Sequence[Evaluation]) -> Evaluation:
    """Return the verdicts of one stage in all folds of a cross-validation: their test parts, one after the other.

    Each fold has a model of its own; every slice is judged by the one that never met it. Raises UsageError when the
    parts are not disjoint test parts of one data set and kind of split.
    """
    first = folds[0]
    trouble = ""
    if any((each.classes, each.part, each.protocol) != (first.classes, "test", first.protocol) for each in folds):
        trouble = "they differ in classes, part or split protocol, or are no test parts"
    elif _shared([each.slices for each in folds]):
        trouble = "a slice is in the test part of more than one"
    elif first.protocol == "grouped" and _shared([each.groups for each in folds]):
        trouble = "a look-alike group has slices in the test part of more than one"
    if trouble:
        raise UsageError(
            f"these verdicts are not those of the folds of one cross-validation: {trouble}",
            "run all folds of one split: lungcli compress --folds 5",
        )
    digests = msgspec.json.encode([each.split_digest for each in folds])
    return Evaluation(
        classes=first.classes,
        part=first.part,
        protocol=first.protocol,
        split_digest=hashlib.sha256(digests).hexdigest(),
        slices=tuple(item for each in folds for item in each.slices),
        labels=tuple(item for each in folds for item in each.labels),
        groups=tuple(item for each in folds for item in each.groups),
        probabilities=tuple(item for each in folds for item in each.probabilities),
    )


def over_folds(folds: Sequence[Evaluation]) -> dict[str, Spread]:
    """Name every figure's mean and spread over the folds of a cross-validation."""
    matrices = [each.matrices().sum(axis=0) for each in folds]
    return {
        name: intervals.over_folds([float(figure(matrix)) for matrix in matrices])
        for name, figure in figures_for(folds[0].classes).items()
    }


def _shared(parts: Sequence[Sequence[object]]) -> bool:
    """Say whether any item is in more than one part."""
    distinct = [set(part) for part in parts]
    return len(set().union(*distinct)) < sum(map(len, distinct))


def comparable(ours: Evaluation, theirs: Evaluation) -> bool:
    """Say whether both judged the same slices of the same split, so that a paired difference means something."""
    return (ours.split_digest, ours.part, ours.slices) == (theirs.split_digest, theirs.part, theirs.slices)


class Flip(msgspec.Struct, frozen=True, kw_only=True):
    """A slice that two models judge differently: its path, true class, both verdicts and how sure each was."""

    slice: str
    label: str
    ours: str
    theirs: str
    our_confidence: float
    their_confidence: float


def flips(ours: Evaluation, theirs: Evaluation) -> tuple[Flip, ...]:
    """List the slices on which two models disagree, in the order of the slices.

    Raises UsageError when the two were judged on different slices.
    """
    if not comparable(ours, theirs):
        raise UsageError(
            "the two models were judged on different slices, so their verdicts cannot be compared one by one",
            "evaluate both on the same data and split: lungcli evaluate MODEL --data NAME",
        )
    labels, mine, _ = ours.arrays()
    other = theirs.arrays()[1]
    return tuple(
        Flip(
            slice=ours.slices[i],
            label=ours.classes[labels[i]],
            ours=ours.classes[mine[i].argmax()],
            theirs=ours.classes[other[i].argmax()],
            our_confidence=float(mine[i].max()),
            their_confidence=float(other[i].max()),
        )
        for i in range(len(labels))
        if mine[i].argmax() != other[i].argmax()
    )
