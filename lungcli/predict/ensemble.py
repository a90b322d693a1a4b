"""An ensemble: several models whose prediction is the mean of their calibrated probabilities."""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from lungcli.core.errors import UsageError
from lungcli.metrics.classification import Floats
from lungcli.modelfile.model_card import ModelCard
from lungcli.modelfile.model_file import Model
from lungcli.modelfile.model_paths import name_of

ModelOrEnsemble = Model | Sequence[Model]
"""One model, or several that `check_compatible` has let pass."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberPrediction:
    """What one model of several says: its name and net, its predicted class and calibrated probabilities."""

    name: str
    model: str
    label: str
    probabilities: dict[str, float]


def members(models: ModelOrEnsemble) -> tuple[Model, ...]:
    """Return the models, one or several."""
    return (models,) if isinstance(models, Model) else tuple(models)


def check_compatible(models: Sequence[Model]) -> None:
    """Raise UsageError for models that tell other classes apart, and for one that is named twice."""
    first, *others = models
    for number, other in enumerate(others, start=1):
        name = name_of(other.path)
        if other.card.classes != first.card.classes:
            raise UsageError(
                f"{name} tells {', '.join(other.card.classes)} apart, but {name_of(first.path)} "
                f"{', '.join(first.card.classes)}: they cannot be averaged",
                "name models of the same classes: lungcli models card MODEL",
            )
        if any(other.path.resolve() == earlier.path.resolve() for earlier in models[:number]):
            raise UsageError(f"{name} is named twice", "name each model once")


def card(models: ModelOrEnsemble) -> ModelCard:
    """Return the first model's card with what is of all: the nets' names, and the mean of the referral thresholds.

    Models without a threshold have no say in it.
    """
    cards = [model.card for model in members(models)]
    first = cards[0]
    if len(cards) == 1:
        return first
    referrals = [each.referral for each in cards if each.referral]
    threshold = float(np.mean([each.threshold for each in referrals])) if referrals else 0.0
    return msgspec.structs.replace(
        first,
        model=" + ".join(each.model for each in cards),
        data=msgspec.structs.replace(first.data, synthetic=any(each.data.synthetic for each in cards)),
        referral=msgspec.structs.replace(referrals[0], threshold=threshold) if referrals else None,
    )


def member_prediction(model: Model, probabilities: Floats) -> MemberPrediction:
    """Put the probabilities (K,) of one model among several under its name."""
    classes = model.card.classes
    return MemberPrediction(
        name=name_of(model.path),
        model=model.card.model,
        label=classes[int(probabilities.argmax())],
        probabilities=dict(zip(classes, probabilities.tolist(), strict=True)),
    )


def disagreement_reason(opinions: Sequence[MemberPrediction]) -> str:
    """Say who says what where models disagree; empty where all say the same."""
    if len({each.label for each in opinions}) < 2:
        return ""
    return "the models disagree: " + ", ".join(f"{each.name} says {each.label}" for each in opinions)
