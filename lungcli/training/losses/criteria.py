"""Criteria of the training loop: what the labels say, and what a teacher adds."""

import functools
import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from lungcli.core import registry
from lungcli.core.recipe import Recipe
from lungcli.training import features
from lungcli.training.features import FeatureMaps
from lungcli.training.losses import distillation
from lungcli.training.mixup import Targets

Criterion = Callable[[Tensor, Tensor, Targets], Tensor]
"""(logits (N, K), the slices (N, 1, S, S) they came from, augmented and mixed, targets) → mean loss of the batch."""


def class_weights(labels: Tensor, classes: int) -> Tensor:
    """Weights (K,) that make every class count the same in a mean over slices: n / (K · n_k)."""
    counts = torch.bincount(labels, minlength=classes).clamp(min=1)
    return len(labels) / (classes * counts.float())


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelLoss:
    """Cross-entropy with class weights and label smoothing: a teacher's or a base student's criterion."""

    weights: Tensor
    smoothing: float

    def __call__(self, logits: Tensor, slices: Tensor, targets: Targets) -> Tensor:
        """See `Criterion`; the slices are not used."""
        del slices
        logits, weights = logits.float(), self.weights.to(logits.device)
        return _mixed_loss(
            targets,
            lambda labels: functional.cross_entropy(logits, labels, weight=weights, label_smoothing=self.smoothing),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DistillationLoss:
    """(1 − α) · cross-entropy + α · a method's loss: the teachers see the very tensor the student saw.

    That, mixed slices and a new view in every epoch, is what makes a teacher consistent (Beyer et al., 2106.05237,
    section 3): its logits are never kept from one epoch to the next.

    A `method` on logits gets the student's and those of all teachers together. One on features gets the `maps` of the
    student, which come first, and of a teacher; of several, its losses are averaged.
    """

    labels: LabelLoss
    teachers: Sequence[nn.Module]
    method: Callable[[Any, Any, Tensor, float], Tensor]
    alpha: float
    temperature: float
    maps: Sequence[FeatureMaps] = ()

    def __call__(self, logits: Tensor, slices: Tensor, targets: Targets) -> Tensor:
        """See `Criterion`."""
        with torch.no_grad():
            told = [teacher(slices).float() for teacher in self.teachers]
        given: list[Any] = [[one.float() for one in each.pop()] for each in self.maps]
        ours, *theirs = given or [logits.float(), distillation.ensemble(told, self.temperature)]
        soft = torch.stack([_mixed_loss(targets, functools.partial(self._soft, ours, each)) for each in theirs]).mean()
        return (1 - self.alpha) * self.labels(logits, slices, targets) + self.alpha * soft

    def _soft(self, ours: object, theirs: object, labels: Tensor) -> Tensor:
        return self.method(ours, theirs, labels, self.temperature)


def label_loss(recipe: Recipe, labels: Tensor, classes: int) -> LabelLoss:
    """Criterion of `recipe` without a teacher; `labels` (n,) are those of the training part."""
    balanced = registry.method(recipe.method).balanced
    weights = class_weights(labels, classes) if balanced else torch.ones(classes)
    return LabelLoss(weights=weights, smoothing=recipe.label_smoothing)


def distillation_loss(
    recipe: Recipe, labels: Tensor, classes: int, teachers: Sequence[nn.Module], student: nn.Module
) -> DistillationLoss:
    """Criterion of `recipe` for `student` with `teachers`, which are frozen here and put in evaluation mode.

    Raises UsageError for a net without feature maps where the method compares them.
    """
    for teacher in teachers:
        teacher.eval().requires_grad_(requires_grad=False)
    row = registry.method(recipe.method)
    module, function = row.loss.split(":")
    maps: tuple[FeatureMaps, ...] = ()
    if row.on == "features":
        watched = [features.capture_features(teacher, recipe.size, training=False) for teacher in teachers]
        maps = (features.capture_features(student, recipe.size, training=True), *watched)
    return DistillationLoss(
        labels=label_loss(recipe, labels, classes),
        teachers=tuple(teachers),
        method=getattr(importlib.import_module(module), function),
        alpha=recipe.alpha,
        temperature=recipe.temperature,
        maps=maps,
    )


def _mixed_loss(targets: Targets, loss: Callable[[Tensor], Tensor]) -> Tensor:
    """Σ share · loss(labels): mixup's loss (Zhang et al., 1710.09412, section 2)."""
    return torch.stack([share * loss(labels) for labels, share in targets]).sum()
