"""Shortcuts: do features that have nothing to do with disease separate the classes?

The test is simple on purpose: features are whitened, and a slice is given the class of the nearest class mean (Fisher's
linear discriminant with equal priors, Fisher 1936). The means leave out the slice's own near-duplicate group, so that
the result holds for bodies that were not seen.
"""

from collections import Counter
from collections.abc import Sequence

import msgspec
import numpy as np

from lungcli.metrics import classification
from lungcli.metrics.classification import Floats, Ints
from lungcli.metrics.intervals import Estimate, confusion_by_group, estimate

# At p = 1 % the standard error of p is then 0.4 points.
SHUFFLES = 499
# Eleven tests per data set: at 5 % nearly one in two clean sets would have a false finding.
SIGNIFICANCE = 0.01

# Eigenvalues of standardized features sum to their count; far smaller ones are noise of duplicated features.
_RIDGE = 0.1

# Odd slices must be this many, and this share of them of one class, to be reported.
_FEWEST_ODD = 5
_PURE = 0.9


class ShortcutTest(msgspec.Struct, frozen=True, kw_only=True):
    """How well some features separate the classes of slices whose near-duplicates were left out.

    `chance` is the mean balanced accuracy when classes are shuffled among near-duplicate groups, `chance_high` its 95th
    percentile, and `p` the share of shuffles with at least the same balanced accuracy.
    """

    balanced_accuracy: Estimate
    chance: float
    chance_high: float
    p: float

    def is_significant(self) -> bool:
        """Whether the classes are separated better than by chance."""
        return self.p <= SIGNIFICANCE


class Oddity(msgspec.Struct, frozen=True, kw_only=True):
    """Slices that differ from the `usual` value and are nearly all of one class, `label`.

    Of `slices` in `groups` near-duplicate groups, `of_label` are of that class; of all slices, the share `base`.
    """

    usual: str
    slices: int
    groups: int
    label: str
    of_label: int
    base: float


class Shortcut(msgspec.Struct, frozen=True, kw_only=True):
    """One way to guess the class, tested on slices as read (`before`) and as prepared for a net (`after`).

    Features `of_file` (size, format) do not exist once a slice is prepared: `after` is then None. A test is also None
    where all slices have the same features.
    """

    name: str
    about: str
    of_file: bool
    before: ShortcutTest | None
    after: ShortcutTest | None = None
    oddity: Oddity | None = None


def run_test(features: Floats, labels: Ints, groups: Ints, classes: int, seed: int = 0) -> ShortcutTest | None:
    """Classify `classes` classes from `features`, float64 [n, d]; `labels` and `groups` are int64 [n].

    The interval is a bootstrap over near-duplicate groups. For `chance`, the classes of whole groups (the commonest in
    each) are shuffled, and the test is repeated. None where all slices have the same features, or where there
    are fewer than two groups.
    """
    white = whitened(features)
    _, group = np.unique(groups, return_inverse=True)
    if not white.size or int(group.max()) == 0:
        return None
    predictions = leave_group_out(white, labels, group, classes)
    accuracy = estimate(classification.balanced_accuracy, confusion_by_group(labels, predictions, group, classes))
    shuffled = _by_chance(white, labels, group, classes, seed)
    # Sums of the same fractions in another order may differ in the last bit.
    reached = int((shuffled >= (accuracy.value or 0.0) - 1e-12).sum())
    return ShortcutTest(
        balanced_accuracy=accuracy,
        chance=float(shuffled.mean()),
        chance_high=float(np.quantile(shuffled, 0.95)),
        p=(1 + reached) / (1 + SHUFFLES),
    )


def leave_group_out(white: Floats, labels: Ints, group: Ints, classes: int) -> Ints:
    """Give each slice the class whose mean, over all other groups, is nearest: int64 [n].

    `white` is float64 [n, d]; `group` numbers the groups from 0 without a gap. A class without slices in other
    groups is never given.
    """
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    member = np.eye(classes)[labels]
    sums = np.add.reduceat((member[:, :, None] * white[:, None, :])[order], starts)
    counts = np.add.reduceat(member[order], starts)
    total = sums.sum(axis=0)
    dots = white @ total.T - np.einsum("nd,nkd->nk", white, sums[group])
    squares = ((total - sums) ** 2).sum(axis=2)
    return _nearest_mean(dots, squares, counts.sum(axis=0) - counts, group)


def _by_chance(white: Floats, labels: Ints, group: Ints, classes: int, seed: int) -> Floats:
    """Balanced accuracy when the classes of whole groups are shuffled: float64 [SHUFFLES].

    The same as `leave_group_out`, with everything that does not depend on the classes computed once: in a shuffle each
    group is of one class, so that leaving it out is a subtraction from the sums of that class alone.
    """
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    sums, counts = np.add.reduceat(white[order], starts), np.bincount(group).astype(np.float64)
    own_dots, own_squares = (white * sums[group]).sum(axis=1), (sums**2).sum(axis=1)
    held = np.add.reduceat(np.eye(classes)[labels][order], starts)
    commonest, rng = held.argmax(axis=1), np.random.default_rng(seed)
    accuracies = np.empty(SHUFFLES)
    for i in range(SHUFFLES):
        shuffled = rng.permutation(commonest)
        member = np.eye(classes)[shuffled]
        total = member.T @ sums
        dots = white @ total.T - member[group] * own_dots[:, None]
        squares = (total**2).sum(axis=1) + member * (own_squares[:, None] - 2 * sums @ total.T)
        others = member.T @ counts - member * counts[:, None]
        predictions = _nearest_mean(dots, squares, others, group)
        accuracies[i] = classification.balanced_accuracy(
            classification.confusion(shuffled[group], predictions, classes)
        )
    return accuracies


def _nearest_mean(dots: Floats, squares: Floats, others: Floats, group: Ints) -> Ints:
    """Class of the nearest mean, from sums over the slices of each class in other groups.

    `dots` [n, K]: of each slice with the sums; `squares` [G, K]: of the sums with themselves; `others` [G, K]: how
    many slices they are of.
    """
    count = np.maximum(others, 1)
    lengths = np.where(others > 0, squares / count**2, np.inf)
    predictions: Ints = (lengths[group] - 2 * dots / count[group]).argmin(axis=1)
    return predictions


def whitened(features: Floats) -> Floats:
    """Whiten features: uncorrelated coordinates of about unit variance, [n, d'], of those features that vary."""
    centred = features - features.mean(axis=0)
    spread = centred.std(axis=0)
    varies = spread > 1e-6 * np.maximum(1.0, np.abs(features).max(axis=0, initial=0.0))
    standard = centred[:, varies] / spread[varies]
    values, axes = np.linalg.eigh(standard.T @ standard / max(1, len(standard)))
    white: Floats = standard @ axes / np.sqrt(np.maximum(values, 0) + _RIDGE)
    return white


def one_hot(values: Sequence[str]) -> Floats:
    """One-hot encoding of named values, such as file formats: float64 [n, distinct values]."""
    names = sorted(set(values))
    return np.eye(len(names))[[names.index(value) for value in values]]


def oddity(values: Sequence[str], labels: Sequence[str], groups: Sequence[int]) -> Oddity | None:
    """Return the slices that lack the commonest value if nearly all of them are of one class, else None.

    So few slices hardly change balanced accuracy and are still a shortcut.
    """
    if not values:
        return None
    usual = Counter(values).most_common(1)[0][0]
    odd = [i for i, value in enumerate(values) if value != usual]
    if len(odd) < _FEWEST_ODD:
        return None
    label, count = Counter(labels[i] for i in odd).most_common(1)[0]
    base = sum(item == label for item in labels) / len(labels)
    if count / len(odd) < max(_PURE, base):
        return None
    return Oddity(
        usual=usual, slices=len(odd), groups=len({groups[i] for i in odd}), label=label, of_label=count, base=base
    )
