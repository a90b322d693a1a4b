"""Distillation methods, one row each."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from lungcli.core.names import find, spelling


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One way to distil a teacher.

    `former_name` is what an earlier version called it, which stays readable. `loss` is `"module:function"`: `on` logits
    a `training.losses.distillation.Method`, on features a `FeatureMethod`. `preset`: the recipe's fields that it sets
    where the user has not; `balanced`: the cross-entropy beside it weighs classes equally; `scaled`: it has the factor
    T², so that logits and T times c give c² times the loss; `shift_invariant`: adding a number to all logits changes
    nothing.
    """

    name: str
    former_name: str = ""
    about: str
    paper: str
    loss: str
    preset: Mapping[str, float] = field(default_factory=dict)
    balanced: bool = True
    on: Literal["logits", "features"] = "logits"
    scaled: bool = True
    shift_invariant: bool = True


_METHODS = (
    Method(
        name="kd",
        about="the teacher's softened probabilities",
        paper="Hinton et al., 1503.02531",
        loss="lungcli.training.losses.distillation:kd",
    ),
    Method(
        name="dkd",
        about="true class and other classes apart",
        paper="Zhao et al., 2203.08679",
        loss="lungcli.training.losses.distillation:dkd",
        # The paper's cross-entropy and TCKD weigh the same.
        preset={"alpha": 0.5},
    ),
    Method(
        name="dist",
        about="correlations instead of probabilities, for a much stronger teacher",
        paper="Huang et al., 2205.10536",
        loss="lungcli.training.losses.distillation:dist",
        # A correlation does not fade as probabilities get softer: T² would only drown the cross-entropy.
        preset={"temperature": 1.0},
    ),
    Method(
        name="patient",
        about="the teacher alone, on mixed slices, for very long",
        paper="Beyer et al., 2106.05237",
        loss="lungcli.training.losses.distillation:kd",
        # The shortest of the paper's schedules for ImageNet; on small sets it takes tens of thousands of epochs.
        preset={"alpha": 1.0, "temperature": 1.0, "mixup": 1.0, "epochs": 300, "patience": 0},
    ),
    Method(
        name="kd-mean",
        former_name="seed",
        about="the published table's loss: its KL divergence is averaged over classes, not summed",
        paper="the project that lungcli started from",
        loss="lungcli.training.losses.distillation:kd_mean",
        preset={"alpha": 0.8, "temperature": 20.0, "label_smoothing": 0.0},
        balanced=False,
    ),
    Method(
        name="attention",
        about="where the teacher looks, layer by layer; across families of nets worse than no teacher",
        paper="Zagoruyko & Komodakis, 1612.03928",
        loss="lungcli.training.losses.distillation:attention",
        # As in the paper, the labels and the teacher weigh the same, and β is part of the loss.
        preset={"alpha": 0.5},
        on="features",
        scaled=False,
        shift_invariant=False,
    ),
)

METHODS: dict[str, Method] = {method.name: method for method in _METHODS}


def method(name: str) -> Method:
    """Return the method that `name` means, a former name included. Raises UsageError."""
    former_names = {method.former_name: method for method in _METHODS if method.former_name}
    return former_names.get(spelling(name)) or find(name, METHODS, "method")
