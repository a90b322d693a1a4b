"""How predictions change with the acquisition: the same slices under every change of `imaging.perturbations`."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lungcli.core.recipe import Resize
from lungcli.datasets.files import Advance, map_in_order
from lungcli.imaging.image_io import read
from lungcli.imaging.perturbations import CHANGES
from lungcli.imaging.picture import Grey
from lungcli.imaging.preprocessing import prepare
from lungcli.metrics import classification, intervals
from lungcli.metrics.classification import Floats
from lungcli.metrics.intervals import Estimate
from lungcli.metrics.operating_point import DecisionRule
from lungcli.metrics.predictions import Evaluation
from lungcli.modelfile.model_card import RobustnessFigures
from lungcli.modelfile.model_file import Model

UNCHANGED = "none"
# The unchanged slice, then every perturbation at its three strengths.
CONDITIONS = (
    (UNCHANGED, 0, "as it is"),
    *((change.name, number, setting) for change in CHANGES for number, setting in enumerate(change.settings(), 1)),
)


def evaluate_robustness(
    model: Model, evaluation: Evaluation, folder: Path, advance: Advance | None = None
) -> tuple[RobustnessFigures, ...]:
    """Classify the slices of `evaluation`, which lie in the data set's `folder`, under every condition, in their order.

    Each is decoded once; `advance(done, total)` is called after each slice. Several are classified at a time, so
    `model` should run on one thread. Raises UnreadableInputError for a slice that is missing or damaged.
    """
    size, resize = model.card.size, model.card.recipe.resize

    def classify(path: str) -> Floats:
        grey = read(folder / path, colour=False).grey
        return model.probabilities(under_every_condition(grey, size, resize))

    by_condition = np.stack(list(map_in_order(classify, evaluation.slices, advance, most=None)))
    return tuple(
        _figures(condition, evaluation, model.card.rule, by_condition[:, number], by_condition[:, 0])
        for number, condition in enumerate(CONDITIONS)
    )


def under_every_condition(grey: Grey, size: int, resize: Resize = "lungs") -> NDArray[np.uint8]:
    """Prepare one slice under every condition: uint8 [25, size, size]."""
    changes = [change.apply(grey, amount) for change in CHANGES for amount in change.amounts]
    return np.stack([prepare(item, size, resize) for item in (grey, *changes)])


def _figures(
    condition: tuple[str, int, str],
    evaluation: Evaluation,
    rule: DecisionRule,
    probabilities: Floats,
    unchanged: Floats,
) -> RobustnessFigures:
    labels, _, groups = evaluation.arrays()
    predicted, before = rule.predicted(probabilities), rule.predicted(unchanged)
    matrices = intervals.top1_confusion_by_group(labels, np.eye(len(evaluation.classes))[predicted], groups)
    flipped = predicted != before
    if rule.threshold is not None:
        # Such a model says suspicious or clear, and which of the other classes is likelier is not its headline.
        flipped = (predicted == rule.positive) != (before == rule.positive)
    sensitivity = specificity = Estimate(value=None, low=None, high=None)
    is_positive = labels == evaluation.positive
    if evaluation.positive is not None:
        sensitivity = intervals.estimate(classification.recall_of(evaluation.positive), matrices)
        specificity = intervals.estimate(classification.specificity_of(evaluation.positive), matrices)
    name, strength, setting = condition
    return RobustnessFigures(
        change=name,
        strength=strength,
        setting=setting,
        balanced_accuracy=intervals.estimate(classification.balanced_accuracy, matrices),
        sensitivity=sensitivity,
        specificity=specificity,
        flips=float(flipped.mean()),
        positive_flips=float(flipped[is_positive].mean()) if is_positive.any() else None,
    )
