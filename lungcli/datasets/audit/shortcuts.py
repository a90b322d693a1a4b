"""Shortcuts: does something that has nothing to do with disease tell the classes apart?

The test is kept simple so that it can be believed: coordinates are whitened, each class is its mean, and a slice is
given the class of the nearest mean (Fisher's linear discriminant with equal priors, Fisher 1936). The means never
contain the slice's own look-alike group, so that what is found holds for bodies that were not seen.
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
# Eleven trials a data set: at 5 % one in two clean sets would be accused.
SURE = 0.01

# Eigenvalues of standardised numbers sum to their count; what lies far below is noise of copies of one number.
_RIDGE = 0.1

# Odd slices must be so many, and so purely of one class, to be worth a word.
_FEWEST_ODD = 5
_PURE = 0.9


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """How well some numbers tell the classes of slices whose look-alikes were left out.

    `chance` is the mean balanced accuracy when classes are shuffled among look-alike groups, `chance_high` its 95th
    percentile, and `p` how often (of 1) shuffled classes are told at least as well.
    """

    balanced_accuracy: Estimate
    chance: float
    chance_high: float
    p: float

    def telling(self) -> bool:
        """Whether this is beyond what chance explains."""
        return self.p <= SURE


class Oddity(msgspec.Struct, frozen=True, kw_only=True):
    """Slices that differ from the `usual` value and are nearly all of one class, `label`.

    Of `slices` in `groups` look-alike groups, `of_label` are of that class; of all slices the share `base` is.
    """

    usual: str
    slices: int
    groups: int
    label: str
    of_label: int
    base: float


class Shortcut(msgspec.Struct, frozen=True, kw_only=True):
    """One way to guess the class, tried on slices as read (`before`) and as prepared for a net (`after`).

    What is `of_file` (size, format) is gone once a slice is prepared. A trial is None there, and where all slices are
    alike.
    """

    name: str
    about: str
    of_file: bool
    before: Trial | None
    after: Trial | None = None
    oddity: Oddity | None = None


def trial(features: Floats, labels: Ints, groups: Ints, classes: int, seed: int = 0) -> Trial | None:
    """Try to tell `classes` classes by `features`, float64 [n, d]; `labels` and `groups` are int64 [n].

    The interval is a bootstrap over look-alike groups. For `chance`, the classes of whole groups (the commonest in
    each) are shuffled, and everything is done again. None where all slices have the same features, or where there
    are fewer than two groups.
    """
    white = whitened(features)
    _, group = np.unique(groups, return_inverse=True)
    if not white.size or int(group.max()) == 0:
        return None
    verdicts = leave_group_out(white, labels, group, classes)
    found = estimate(classification.balanced_accuracy, confusion_by_group(labels, verdicts, group, classes))
    shuffled = _by_chance(white, labels, group, classes, seed)
    # Sums of the same fractions in another order may differ in the last bit.
    reached = int((shuffled >= (found.value or 0.0) - 1e-12).sum())
    return Trial(
        balanced_accuracy=found,
        chance=float(shuffled.mean()),
        chance_high=float(np.quantile(shuffled, 0.95)),
        p=(1 + reached) / (1 + SHUFFLES),
    )


def leave_group_out(white: Floats, labels: Ints, group: Ints, classes: int) -> Ints:
    """Give each slice the class whose mean, over all other groups, is nearest: int64 [n].

    `white` is float64 [n, d]; `group` numbers the groups from 0 without a gap. A class that has slices in no other
    group can't be given.
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

    The same as `leave_group_out`, with all that does not depend on the classes done once: in a shuffle each group is
    of one class, so that leaving it out is a subtraction from the sums of that class alone.
    """
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    sums, counts = np.add.reduceat(white[order], starts), np.bincount(group).astype(np.float64)
    own_dots, own_squares = (white * sums[group]).sum(axis=1), (sums**2).sum(axis=1)
    held = np.add.reduceat(np.eye(classes)[labels][order], starts)
    commonest, rng = held.argmax(axis=1), np.random.default_rng(seed)
    found = np.empty(SHUFFLES)
    for i in range(SHUFFLES):
        given = rng.permutation(commonest)
        member = np.eye(classes)[given]
        total = member.T @ sums
        dots = white @ total.T - member[group] * own_dots[:, None]
        squares = (total**2).sum(axis=1) + member * (own_squares[:, None] - 2 * sums @ total.T)
        others = member.T @ counts - member * counts[:, None]
        verdicts = _nearest_mean(dots, squares, others, group)
        found[i] = classification.balanced_accuracy(classification.confusion(given[group], verdicts, classes))
    return found


def _nearest_mean(dots: Floats, squares: Floats, others: Floats, group: Ints) -> Ints:
    """Class of the nearest mean, from sums over the slices of each class in other groups.

    `dots` [n, K]: of each slice with the sums; `squares` [G, K]: of the sums with themselves; `others` [G, K]: how
    many slices they are of.
    """
    count = np.maximum(others, 1)
    lengths = np.where(others > 0, squares / count**2, np.inf)
    verdicts: Ints = (lengths[group] - 2 * dots / count[group]).argmin(axis=1)
    return verdicts


def whitened(features: Floats) -> Floats:
    """Turn features [n, d] into uncorrelated coordinates of about unit spread: [n, d'], those that vary at all."""
    centred = features - features.mean(axis=0)
    spread = centred.std(axis=0)
    varies = spread > 1e-6 * np.maximum(1.0, np.abs(features).max(axis=0, initial=0.0))
    standard = centred[:, varies] / spread[varies]
    values, axes = np.linalg.eigh(standard.T @ standard / max(1, len(standard)))
    white: Floats = standard @ axes / np.sqrt(np.maximum(values, 0) + _RIDGE)
    return white


def one_hot(values: Sequence[str]) -> Floats:
    """Numbers of named values, such as file formats: float64 [n, distinct values]."""
    known = sorted(set(values))
    return np.eye(len(known))[[known.index(value) for value in values]]


def oddity(values: Sequence[str], labels: Sequence[str], groups: Sequence[int]) -> Oddity | None:
    """Return the slices that lack the commonest value if nearly all of them are of one class, else None.

    A few such slices leave a classifier's balanced accuracy as it is and still are a give-away.
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
