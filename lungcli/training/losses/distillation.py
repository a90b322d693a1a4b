"""Distillation losses of the methods in `registry.METHODS`, on the logits or feature maps of student and teacher.

All take the outputs of student and teacher, labels (N,) and a temperature T > 0, and return the mean loss of the
batch. On logits (N, K), softmax is taken of logits / T; the factor T² keeps the size of the gradient as T changes
(Hinton et al., 1503.02531, section 2). They leave out the cross-entropy on labels: `criteria.DistillationLoss` adds it.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

Method = Callable[[Tensor, Tensor, Tensor, float], Tensor]
"""(student's logits (N, K), teacher's logits (N, K), labels (N,), temperature) → mean loss of the batch."""

FeatureMethod = Callable[[Sequence[Tensor], Sequence[Tensor], Tensor, float], Tensor]
"""The same for feature maps (N, C, h, w) of student and teacher, the finest first: see `features.capture_features`."""

# Zhao et al. take up to 8 with a hundred classes; with three, two of them are left to compare.
NON_TARGET = 2.0
# Constant outputs have no correlation, and a gradient of 1/ε would dominate the batch.
LEAST_SPREAD = 1e-4
# β of attention transfer, divided by the positions of a map and the slices of a batch: section 4.1 of its paper.
ATTENTION = 1e3


def kd(student: Tensor, teacher: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """T² · KL(teacher ‖ student), summed over classes, mean over the batch (Hinton et al., 1503.02531, section 2).

    The labels are not used.
    """
    del labels
    return _divergence(_log_softmax(student, temperature), _log_softmax(teacher, temperature)) * temperature**2


def dkd(student: Tensor, teacher: Tensor, labels: Tensor, temperature: float, non_target: float = NON_TARGET) -> Tensor:
    """T² · (TCKD + β · NCKD), with β = `non_target` (Zhao et al., 2203.08679, section 3.3).

    TCKD is the divergence of target against non-target class, NCKD that among the non-target classes. `kd` is their
    sum with β = 1 − the teacher's probability of the target class, so a confident teacher hardly uses NCKD.
    """
    true, others = _split_target(_log_softmax(student, temperature), labels)
    teacher_true, teacher_others = _split_target(_log_softmax(teacher, temperature), labels)
    binary = torch.cat([true, others.logsumexp(dim=1, keepdim=True)], dim=1)
    teacher_binary = torch.cat([teacher_true, teacher_others.logsumexp(dim=1, keepdim=True)], dim=1)
    target = _divergence(binary, teacher_binary)
    among_others = _divergence(_log_softmax(others, 1.0), _log_softmax(teacher_others, 1.0))
    return (target + non_target * among_others) * temperature**2


def dist(student: Tensor, teacher: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """T² · ((1 − mean correlation over classes) + (1 − mean correlation over slices)).

    Pearson's correlation of both nets' probabilities: slice by slice across classes, and class by class across slices
    (Huang et al., 2205.10536), those of the batch or, where that is cut, of the micro-batch. The labels are not used.
    """
    del labels
    student_soft, teacher_soft = (torch.softmax(logits / temperature, dim=1) for logits in (student, teacher))
    between_classes = 1 - _correlation(student_soft, teacher_soft, dim=1).mean()
    between_slices = 1 - _correlation(student_soft, teacher_soft, dim=0).mean()
    return (between_classes + between_slices) * temperature**2


def kd_mean(student: Tensor, teacher: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """`kd` / K: T² times what `torch.nn.KLDivLoss()` returns by default, a mean over the batch and over classes too.

    The published table was made with this loss, so it is needed to reproduce it. A divergence is a sum over classes;
    dividing it by K = 3 gives a teacher that should weigh α = 80 % only .8/3 : .2, that is 57 %.
    """
    return kd(student, teacher, labels, temperature) / student.shape[1]


def attention(student: Sequence[Tensor], teacher: Sequence[Tensor], labels: Tensor, temperature: float) -> Tensor:
    """β/2 · Σ over pairs of maps of the squared distance of attention maps (Zagoruyko & Komodakis, 1612.03928).

    An attention map is the mean over channels of squared features, as a unit vector over positions (their equation 2).
    The coarsest maps of both nets are a pair, and so on towards the finest, as far as both go; the larger map of a pair
    is averaged down to the smaller. Labels and temperature are not used.

    It is for nets of one family. Across families, it leaves a student worse than no teacher does: 58.6 % with this loss
    and 63.2 % with FitNets' (1412.6550) against 64.6 % alone, ResNet50 to MobileNetV2 on CIFAR-100 (Tian et al.,
    1910.10699, table 2).
    """
    del labels, temperature
    pairs = zip(reversed(student), reversed(teacher), strict=False)
    distances = [
        functional.mse_loss(*_attention_maps(student_maps, teacher_maps)) for student_maps, teacher_maps in pairs
    ]
    return torch.stack(distances).sum() * (ATTENTION / 2)


def ensemble(logits: Sequence[Tensor], temperature: float) -> Tensor:
    """Logits z (N, K) of an ensemble of teachers: softmax(z/T) is the mean of their softmax(zₘ/T).

    z = T · log(1/M · Σ softmax(zₘ/T)): the arithmetic mean of the predictive distributions (Hinton et al.,
    1503.02531, section 1) at temperature T. A single teacher's logits are returned as they are.
    """
    if len(logits) == 1:
        return logits[0]
    soft = torch.stack([_log_softmax(values, temperature) for values in logits])
    return temperature * (soft.logsumexp(dim=0) - math.log(len(logits)))


def _log_softmax(logits: Tensor, temperature: float) -> Tensor:
    return functional.log_softmax(logits / temperature, dim=1)


def _divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """KL(teacher ‖ student) of log-probabilities (N, K), summed over classes, mean over the batch."""
    return functional.kl_div(student, teacher, reduction="batchmean", log_target=True)


def _split_target(values: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Split values (N, K) into those of the target class (N, 1) and of the others (N, K − 1)."""
    other = functional.one_hot(labels, values.shape[1]) == 0
    return values.gather(1, labels[:, None]), values[other].view(len(values), -1)


def _attention_maps(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Attention maps (N, positions) of two nets, from their feature maps (N, C, h, w)."""
    sides = min(student.shape[2], teacher.shape[2]), min(student.shape[3], teacher.shape[3])
    squares = (maps.square().mean(dim=1, keepdim=True) for maps in (student, teacher))
    first, second = (
        functional.normalize(functional.adaptive_avg_pool2d(square, sides).flatten(1)) for square in squares
    )
    return first, second


def _correlation(first: Tensor, second: Tensor, dim: int) -> Tensor:
    """Pearson's correlation along `dim`; 0 where either does not vary."""
    first, second = (values - values.mean(dim=dim, keepdim=True) for values in (first, second))
    return functional.cosine_similarity(first, second, dim=dim, eps=LEAST_SPREAD)
