"""An ensemble: several models whose prediction is the mean of their calibrated probabilities."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import msgspec
import numpy as np

from lungcli.core.errors import UsageError
from lungcli.metrics.classification import Floats
from lungcli.metrics.operating_point import OperatingPoint
from lungcli.metrics.referral import Referral
from lungcli.modelfile.model_card import ModelCard
from lungcli.modelfile.model_file import Model
from lungcli.modelfile.model_paths import name_of

T = TypeVar("T", OperatingPoint, Referral)

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
    """Return the first model's card with what is of all: the nets' names, and the mean of the thresholds.

    Models without one have no say in it. How reliable their mean is was not measured.
    """
    cards = [model.card for model in members(models)]
    first = cards[0]
    if len(cards) == 1:
        return first
    referrals = [each.referral for each in cards if each.referral]
    points = [each.operating_point for each in cards if each.operating_point]
    return msgspec.structs.replace(
        first,
        model=" + ".join(each.model for each in cards),
        data=msgspec.structs.replace(first.data, synthetic=any(each.data.synthetic for each in cards)),
        operating_point=_mean(points) if len(points) == len(cards) else None,
        reliability=(),
        separability=(),
        referral=_mean(referrals) if referrals else None,
    )


def _mean(thresholds: Sequence[T]) -> T:
    """The first of several with the mean of their thresholds."""
    return msgspec.structs.replace(thresholds[0], threshold=float(np.mean([each.threshold for each in thresholds])))


def member_prediction(model: Model, probabilities: Floats) -> MemberPrediction:
    """Put the probabilities (K,) of one model among several under its name."""
    classes = model.card.classes
    return MemberPrediction(
        name=name_of(model.path),
        model=model.card.model,
        label=classes[int(model.card.rule.predicted(probabilities[None])[0])],
        probabilities=dict(zip(classes, probabilities.tolist(), strict=True)),
    )


def disagreement_reason(opinions: Sequence[MemberPrediction], positive: str) -> str:
    """Say who says what where models disagree, on whether it is `positive` where there is such a class; else empty."""
    if len({each.label == positive if positive else each.label for each in opinions}) < 2:
        return ""
    return "the models disagree: " + ", ".join(f"{each.name} says {each.label}" for each in opinions)
