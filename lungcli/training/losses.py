"""Losses: tensors in, scalar tensor out."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from lungcli.core.recipe import Recipe

Criterion = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(logits (N, K), the augmented slices (N, 1, S, S) they came from, labels (N,)) → mean loss of the batch."""


def class_weights(labels: Tensor, classes: int) -> Tensor:
    """Weights (K,) that make every class count the same in a mean over slices: n / (K · n_k)."""
    counts = torch.bincount(labels, minlength=classes).clamp(min=1)
    return len(labels) / (classes * counts.float())


def hinton(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T² · KL(softmax(teacher/T) ‖ softmax(student/T)), summed over classes, mean over the batch.

    Hinton, Vinyals and Dean (1503.02531), section 2: the factor T² keeps the gradient's size as T changes. Logits
    are (N, K). `nn.KLDivLoss()` would average over classes as well and so divide this term by K.
    """
    soft_teacher = functional.log_softmax(teacher / temperature, dim=1)
    soft_student = functional.log_softmax(student / temperature, dim=1)
    divergence = functional.kl_div(soft_student, soft_teacher, reduction="batchmean", log_target=True)
    return divergence * temperature**2


@dataclass(frozen=True, slots=True, kw_only=True)
class FromLabels:
    """Cross-entropy with class weights and label smoothing: a teacher's or a base student's criterion."""

    weights: Tensor
    smoothing: float

    def __call__(self, logits: Tensor, slices: Tensor, labels: Tensor) -> Tensor:
        """See `Criterion`; the slices are not used."""
        del slices
        return functional.cross_entropy(
            logits.float(), labels, weight=self.weights.to(logits.device), label_smoothing=self.smoothing
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FromTeacher:
    """(1 − α) · cross-entropy + α · `hinton`: the teacher sees the very tensor the student saw."""

    labels: FromLabels
    teacher: nn.Module
    alpha: float
    temperature: float

    def __call__(self, logits: Tensor, slices: Tensor, labels: Tensor) -> Tensor:
        """See `Criterion`."""
        with torch.no_grad():
            taught = self.teacher(slices)
        soft = hinton(logits.float(), taught.float(), self.temperature)
        return (1 - self.alpha) * self.labels(logits, slices, labels) + self.alpha * soft


def from_labels(recipe: Recipe, labels: Tensor, classes: int) -> FromLabels:
    """Criterion of `recipe` without a teacher; `labels` (n,) are those of the training part."""
    return FromLabels(weights=class_weights(labels, classes), smoothing=recipe.label_smoothing)


def from_teacher(recipe: Recipe, labels: Tensor, classes: int, teacher: nn.Module) -> FromTeacher:
    """Criterion of `recipe` with `teacher`, which is frozen here and put in evaluation mode."""
    teacher.eval().requires_grad_(requires_grad=False)
    return FromTeacher(
        labels=from_labels(recipe, labels, classes),
        teacher=teacher,
        alpha=recipe.alpha,
        temperature=recipe.temperature,
    )
