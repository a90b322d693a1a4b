"""The predictions of one model on one part of a split, and the metrics computed from them."""

import hashlib
from collections.abc import Sequence

import msgspec
import numpy as np

from lungcli.core.errors import UsageError
from lungcli.core.versioned import Count, NotNegative, Share
from lungcli.metrics import calibration, classification, intervals, worst_institution
from lungcli.metrics.classification import Floats, Ints
from lungcli.metrics.intervals import Estimate, Figure, Spread

MALIGNANT = "malignant"


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """Calibrated probabilities of every slice of one part; enough to compare any two models slice by slice.

    `labels` and `groups` have one number a slice, `probabilities` K a slice, in the order of `slices` (paths within
    the data set); so have `institutions`, which is empty where the data set has but one, and `suspicious`, what the
    model says at its operating point, empty where it has none. Two evaluations can be compared when `split_digest` and
    `part` agree. `positive_class` is the one that sensitivity and specificity are of; where it is empty, see
    `positive_class`.
    """

    classes: tuple[str, ...]
    part: str
    protocol: str
    split_digest: str
    slices: tuple[str, ...]
    labels: tuple[int, ...]
    groups: tuple[int, ...]
    probabilities: tuple[tuple[Share, ...], ...]
    institutions: tuple[str, ...] = ()
    suspicious: tuple[bool, ...] = ()
    positive_class: str = ""

    def __post_init__(self) -> None:
        if {len(self.labels), len(self.groups), len(self.probabilities)} - {len(self.slices)}:
            raise ValueError("slices, labels, groups and probabilities differ in number")
        if {len(self.institutions), len(self.suspicious)} - {0, len(self.slices)}:
            raise ValueError("slices, institutions and findings differ in number")
        if any(len(row) != len(self.classes) for row in self.probabilities):
            raise ValueError("a slice does not have a probability for each class")
        if self.labels and not 0 <= min(self.labels) <= max(self.labels) < len(self.classes):
            raise ValueError("a label is that of no class")
        if self.positive_class not in ("", *self.classes):
            raise ValueError("the positive class is none of its classes")

    @property
    def positive(self) -> int | None:
        """Index of the positive class, None where there is none."""
        return positive_index(self.classes, self.positive_class)

    def arrays(self) -> tuple[Ints, Floats, Ints]:
        """Return labels (n,), probabilities (n, K) and groups (n,) as arrays."""
        return (
            np.array(self.labels, dtype=np.int64),
            np.array(self.probabilities, dtype=np.float64).reshape(len(self.labels), len(self.classes)),
            np.array(self.groups, dtype=np.int64),
        )

    def matrices(self) -> Ints:
        """Confusion matrix of each group: shape (G, K, K)."""
        return intervals.top1_confusion_by_group(*self.arrays())

    def figures(self) -> "Figures":
        """Return every figure with its interval."""
        labels, probabilities, groups = self.arrays()
        matrices = intervals.top1_confusion_by_group(labels, probabilities, groups)
        return Figures(
            n=len(labels),
            groups=len(matrices),
            part=self.part,
            protocol=self.protocol,
            estimates={name: intervals.estimate(figure, matrices) for name, figure in self.metrics().items()}
            | self._worst_institution(),
            ece=calibration.expected_calibration_error(probabilities, labels),
            nll=calibration.negative_log_likelihood(probabilities, labels),
            brier=calibration.brier_score(probabilities, labels),
            positive_class=positive_class(self.classes, self.positive_class),
        )

    def metrics(self) -> dict[str, Figure]:
        """Return every metric of a confusion matrix by name."""
        return figures_for(self.classes, self.positive_class)

    def by_institution(self) -> Ints:
        """Confusion matrix of each group at each institution: shape (I, G, K, K)."""
        return worst_institution.matrices(*self.arrays(), self.institutions)

    def _worst_institution(self) -> dict[str, Estimate]:
        if len(set(self.institutions)) < 2:
            return {}
        return {worst_institution.NAME: worst_institution.estimate(self.by_institution(), self.positive)}


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """Metrics of one model on one part: `estimates` by name, calibration errors, numbers of slices and groups.

    `positive_class` is the one whose sensitivity and specificity are among the estimates; empty where none are, and in
    files of earlier versions, which know those of the class malignant. `of_run` names the run that was tested where the
    model itself was not: a final fit.
    """

    n: Count
    groups: Count
    part: str
    protocol: str
    estimates: dict[str, Estimate]
    ece: Share
    nll: NotNegative
    brier: NotNegative
    positive_class: str = ""
    of_run: str = ""

    @property
    def sensitivity(self) -> Estimate | None:
        """Sensitivity of the positive class, None where there is none."""
        return self.estimates.get(sensitivity_of(self.positive_class or MALIGNANT))

    @property
    def basis(self) -> tuple[int, int, str, str, str]:
        """What they rest on: slices, groups, part, protocol, and the run that was tested, empty for this one."""
        return self.n, self.groups, self.part, self.protocol, self.of_run


def positive_class(classes: Sequence[str], name: str = "") -> str:
    """Return the positive class, `name` or else malignant; empty where there is no such class."""
    label = name or MALIGNANT
    return label if label in classes else ""


def positive_index(classes: Sequence[str], name: str = "") -> int | None:
    """Index of the positive class, None where there is none; see `positive_class`."""
    label = positive_class(classes, name)
    return classes.index(label) if label else None


def sensitivity_of(label: str) -> str:
    """Name of the metric that is the sensitivity of a class, as in `malignant_sensitivity`."""
    return f"{label}_sensitivity"


def figures_for(classes: tuple[str, ...], positive: str = "") -> dict[str, Figure]:
    """Return every metric of a confusion matrix by name, those of the positive class where there is one."""
    of_positive: dict[str, Figure] = {}
    if (index := positive_index(classes, positive)) is not None:
        of_positive[sensitivity_of(classes[index])] = classification.recall_of(index)
        of_positive[f"{classes[index]}_specificity"] = classification.specificity_of(index)
    return {
        "balanced_accuracy": classification.balanced_accuracy,
        **of_positive,
        "macro_f1": classification.macro_f1,
        "kappa": classification.kappa,
        "accuracy": classification.accuracy,
    }


def ensemble(evaluations: Sequence[Evaluation]) -> Evaluation:
    """Return the predictions of an ensemble: the mean of the models' calibrated probabilities.

    Raises UsageError when they were not evaluated on the same slices (see `comparable`).
    """
    first = evaluations[0]
    if not all(comparable(first, other) for other in evaluations):
        raise UsageError(
            "the models of the ensemble were evaluated on different slices, so their probabilities cannot be averaged",
            "evaluate all on the same data and split: lungcli evaluate MODEL --data NAME",
        )
    mean = np.mean([evaluation.arrays()[1] for evaluation in evaluations], axis=0)
    return msgspec.structs.replace(first, probabilities=tuple(tuple(row) for row in mean.tolist()), suspicious=())


def agreement(ours: Evaluation, theirs: Evaluation) -> float:
    """Share of the same slices, at least one, of which two models find the same: suspicious, or not.

    Where one of them has no operating point, it is the share with the same class.
    """
    if ours.suspicious and theirs.suspicious:
        return float(np.mean(np.array(ours.suspicious) == np.array(theirs.suspicious)))
    return float(np.mean(ours.arrays()[1].argmax(axis=1) == theirs.arrays()[1].argmax(axis=1)))


def pool_folds(folds: Sequence[Evaluation]) -> Evaluation:
    """Return the predictions of one stage in all folds of a cross-validation: their test parts, one after the other.

    Each fold has a model of its own, so every slice is classified by the one that was not trained on it. Raises
    UsageError when the parts are not disjoint test parts of one data set and split protocol.
    """
    first = folds[0]
    problem = ""
    if any((fold.classes, fold.part, fold.protocol) != (first.classes, "test", first.protocol) for fold in folds):
        problem = "they differ in classes, part or split protocol, or are no test parts"
    elif _overlap([fold.slices for fold in folds]):
        problem = "a slice is in the test part of more than one"
    elif first.protocol == "grouped" and _overlap([fold.groups for fold in folds]):
        problem = "a near-duplicate group has slices in the test part of more than one"
    if problem:
        raise UsageError(
            f"these predictions are not those of the folds of one cross-validation: {problem}",
            "run all folds of one split: lungcli compress --folds 5",
        )
    digests = msgspec.json.encode([fold.split_digest for fold in folds])
    return Evaluation(
        classes=first.classes,
        part=first.part,
        protocol=first.protocol,
        split_digest=hashlib.sha256(digests).hexdigest(),
        slices=tuple(item for fold in folds for item in fold.slices),
        labels=tuple(item for fold in folds for item in fold.labels),
        groups=tuple(item for fold in folds for item in fold.groups),
        probabilities=tuple(item for fold in folds for item in fold.probabilities),
        institutions=tuple(item for fold in folds for item in fold.institutions),
        suspicious=tuple(item for fold in folds for item in fold.suspicious)
        if all(fold.suspicious for fold in folds)
        else (),
        positive_class=first.positive_class,
    )


def spread_over_folds(folds: Sequence[Evaluation]) -> dict[str, Spread]:
    """Return every metric's mean and spread over the folds of a cross-validation, by name."""
    matrices = [fold.matrices().sum(axis=0) for fold in folds]
    return {
        name: intervals.over_folds([float(figure(matrix)) for matrix in matrices])
        for name, figure in folds[0].metrics().items()
    }


def _overlap(parts: Sequence[Sequence[object]]) -> bool:
    """Say whether any item is in more than one part."""
    distinct = [set(part) for part in parts]
    return len(set().union(*distinct)) < sum(map(len, distinct))


def comparable(ours: Evaluation, theirs: Evaluation) -> bool:
    """Say whether both are of the same slices of the same split, so that they can be compared slice by slice."""
    return (ours.split_digest, ours.part, ours.slices) == (theirs.split_digest, theirs.part, theirs.slices)


def require_comparable(ours: Evaluation, theirs: Evaluation, consequence: str) -> None:
    """Raise UsageError, with what follows from it, where two models were evaluated on different slices."""
    if not comparable(ours, theirs):
        raise UsageError(
            f"the two models were evaluated on different slices, so {consequence}",
            "evaluate both on the same data and split: lungcli evaluate MODEL --data NAME",
        )


class Flip(msgspec.Struct, frozen=True, kw_only=True):
    """A slice that two models classify differently: path, true class, both predictions and their probabilities."""

    slice: str
    label: str
    ours: str
    theirs: str
    our_confidence: float
    their_confidence: float


def flips(ours: Evaluation, theirs: Evaluation) -> tuple[Flip, ...]:
    """List the slices on which two models disagree, in the order of the slices.

    Raises UsageError when the two were evaluated on different slices.
    """
    require_comparable(ours, theirs, "their predictions cannot be compared one by one")
    labels, our_probabilities, _ = ours.arrays()
    their_probabilities = theirs.arrays()[1]
    return tuple(
        Flip(
            slice=ours.slices[i],
            label=ours.classes[labels[i]],
            ours=ours.classes[our_probabilities[i].argmax()],
            theirs=ours.classes[their_probabilities[i].argmax()],
            our_confidence=float(our_probabilities[i].max()),
            their_confidence=float(their_probabilities[i].max()),
        )
        for i in range(len(labels))
        if our_probabilities[i].argmax() != their_probabilities[i].argmax()
    )
