"""Criteria of the training loop: the loss on labels, and with teachers the distillation loss."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from lungcli.core import registry
from lungcli.core.names import imported
from lungcli.core.recipe import Recipe
from lungcli.training import features
from lungcli.training.features import FeatureMaps
from lungcli.training.losses import distillation
from lungcli.training.mixup import Targets

Criterion = Callable[[Tensor, Tensor, Targets], Tensor]
"""(logits (N, K), the slices (N, 1, S, S) they came from, augmented and mixed, targets) → mean loss of the batch."""


def class_weights(labels: Tensor, classes: int) -> Tensor:
    """Weights (K,) that make every class count the same in a mean over slices: n / (K · n_k).

    K counts the classes that have slices; others weigh nothing, or label smoothing would teach little but them.
    """
    counts = torch.bincount(labels, minlength=classes).float()
    return torch.where(counts > 0, len(labels) / ((counts > 0).sum() * counts.clamp(min=1)), 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelLoss:
    """Cross-entropy with class weights and label smoothing: the criterion of a teacher or a base student."""

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
    """(1 − α) · cross-entropy + α · the loss of a distillation method.

    The teachers see the same augmented and mixed tensor as the student in every epoch (consistent teaching: Beyer et
    al., 2106.05237, section 3), so their logits are never cached.

    A `method` on logits gets those of the student and of the teachers' ensemble. One on features gets the `maps` of
    the student, which come first, and of a teacher; with several teachers, its losses are averaged.
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
            teacher_logits = [teacher(slices).float() for teacher in self.teachers]
        outputs: list[Any] = [[features.float() for features in maps.pop()] for maps in self.maps]
        if not outputs:
            outputs = [logits.float(), distillation.ensemble(teacher_logits, self.temperature)]
        student, *teachers = outputs
        losses = [
            _mixed_loss(targets, functools.partial(self._distillation_loss, student, teacher)) for teacher in teachers
        ]
        distilled = torch.stack(losses).mean()
        return (1 - self.alpha) * self.labels(logits, slices, targets) + self.alpha * distilled

    def _distillation_loss(self, student: object, teacher: object, labels: Tensor) -> Tensor:
        return self.method(student, teacher, labels, self.temperature)


def label_loss(recipe: Recipe, labels: Tensor, classes: int) -> LabelLoss:
    """Criterion of `recipe` without a teacher; `labels` (n,) are those of the training part."""
    # Batches that are balanced already need no weights.
    balanced = registry.method(recipe.method).balanced and not recipe.balance
    weights = class_weights(labels, classes) if balanced else torch.ones(classes)
    return LabelLoss(weights=weights, smoothing=recipe.label_smoothing)


def distillation_loss(
    recipe: Recipe, labels: Tensor, classes: int, teachers: Sequence[nn.Module], student: nn.Module
) -> DistillationLoss:
    """Criterion of `recipe` for `student` with `teachers`, which are frozen and put into evaluation mode.

    Raises UsageError for a net without feature maps where the method compares them.
    """
    for teacher in teachers:
        teacher.eval().requires_grad_(requires_grad=False)
    method = registry.method(recipe.method)
    maps: tuple[FeatureMaps, ...] = ()
    if method.on == "features":
        teacher_maps = [features.capture_features(teacher, recipe.size, training=False) for teacher in teachers]
        maps = (features.capture_features(student, recipe.size, training=True), *teacher_maps)
    return DistillationLoss(
        labels=label_loss(recipe, labels, classes),
        teachers=tuple(teachers),
        method=imported(method.loss),
        alpha=recipe.alpha,
        temperature=recipe.temperature,
        maps=maps,
    )


def _mixed_loss(targets: Targets, loss: Callable[[Tensor], Tensor]) -> Tensor:
    """Σ share · loss(labels): mixup's loss (Zhang et al., 1710.09412, section 2)."""
    return torch.stack([share * loss(labels) for labels, share in targets]).sum()
