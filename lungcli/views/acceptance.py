"""What is said of the gate and of what a model has learned."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lungcli.core import recipe
from lungcli.core.formatting import plain
from lungcli.views.figures import difference, with_interval

if TYPE_CHECKING:
    from lungcli.evaluation.acceptance import Decision
    from lungcli.modelfile.model_card import ModelCard

WHAT_TO_DO = {
    "distillation": "train longer with --epochs, choose another --teacher or --method, or allow more with --max-drop",
    "quantization": "use the float student, fine-tune with --qat-epochs 5, or allow more with --max-int8-drop",
}
ADOPTED = (
    "was trained elsewhere, on slices that are not known: it may have seen any, and which acquisitions are unfamiliar "
    "to it is not known either"
)
_PARTS = {"val": "validation", "all": "whole set"}


def check(decision: "Decision") -> str:
    """`distillation check passed: student minus teacher is +0.010 [..] balanced accuracy …, allowed is -0.020`."""
    metric, label = plain(decision.metric.replace("_", " ")), plain(decision.positive_class)
    of_positive = f" and {difference(decision.sensitivity)} {label} sensitivity" if decision.sensitivity else ""
    part = f" ({_PARTS.get(decision.part, decision.part)} part)" if decision.part else ""
    return (
        f"{decision.name} check {'passed' if decision.met else 'failed'}: {decision.model} minus {decision.reference} "
        f"is {difference(decision.difference)} {metric}{of_positive}, "
        f"allowed is {-decision.max_drop:+.3f}{part}"
    )


def gate(met: bool, failed: Sequence[str] = ()) -> str:
    """`gate met`, or `gate not met: distillation` with the names of the checks that failed."""
    return "gate met" if met else f"gate not met{': ' if failed else ''}{', '.join(failed)}"


def reservations(card: "ModelCard") -> list[str]:
    """Why nobody should rely on a model; empty where nothing is known against it."""
    from lungcli.evaluation import acceptance

    reasons = []
    if card.figures is not None and not acceptance.has_learned(card.figures, len(card.classes)):
        figure = with_interval(card.figures.estimates[acceptance.METRIC])
        chance = 1 / len(card.classes)
        reasons.append(f"is not shown to be better than chance: balanced accuracy {figure}, chance is {chance:.3f}")
    if card.adopted:
        reasons.append(ADOPTED)
    elif recipe.ADOPTED in card.teacher:
        reasons.append("was distilled from a model that was trained elsewhere, which may have seen the test slices")
    reasons += [f"failed the {name} check when it was made: it is worse than allowed" for name in card.failed_checks]
    return reasons
