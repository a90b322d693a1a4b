"""The gate: whether a compressed model may ship."""

import msgspec

from lungcli.core import intervals, metrics
from lungcli.core.errors import UsageError
from lungcli.core.evaluation import Evaluation, comparable
from lungcli.core.intervals import Estimate


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """`difference` is ours minus the reference's balanced accuracy, paired over look-alike groups."""

    met: bool
    max_drop: float
    difference: Estimate


def decide(ours: Evaluation, reference: Evaluation, max_drop: float) -> Decision:
    """Accept when balanced accuracy falls by at most `max_drop` on the same slices.

    Raises UsageError when the two were judged on different slices.
    """
    if not comparable(ours, reference):
        raise UsageError(
            "the two models were evaluated on different slices, so their difference means nothing",
            "evaluate both on the same data and split: lungcli evaluate MODEL --data NAME",
        )
    difference = intervals.paired_difference(metrics.balanced_accuracy, ours.matrices(), reference.matrices())
    # Half a millionth: a drop of exactly `max_drop` must not fail on the last bit of a subtraction.
    met = difference.value is not None and -difference.value <= max_drop + 5e-7
    return Decision(met=met, max_drop=max_drop, difference=difference)
