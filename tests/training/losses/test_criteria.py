"""Criteria: what labels and teachers weigh, and what a teacher is shown."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lungcli.core import recipe as recipes
from lungcli.core import registry
from lungcli.training.losses import criteria, distillation
from lungcli.training.mixup import Targets

# Only what it hands on while it learns is looked at, and by losses on features alone.
STUDENT = nn.Linear(1, 1)


def whole(labels: Tensor) -> Targets:
    """Targets of slices that were not mixed."""
    return ((labels, 1.0),)


def test_class_weights_make_classes_count_the_same() -> None:
    labels = torch.tensor([0, 1, 1, 1, 2, 2])
    weights = criteria.class_weights(labels, 3)
    counts = torch.bincount(labels).float()
    torch.testing.assert_close(weights * counts, torch.full((3,), 2.0))
    assert criteria.class_weights(labels, 4).tolist() == [*weights.tolist(), 0.0]


class Frozen(nn.Module):
    """A teacher that remembers what it was shown, and whether it was in evaluation mode."""

    def __init__(self, *weights: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weights or (1.0, 1.0, 1.0)))
        self.seen: list[Tensor] = []

    def forward(self, slices: Tensor) -> Tensor:
        self.seen.append(slices)
        assert not self.training
        return slices.mean(dim=(1, 2, 3))[:, None] * self.weight


def test_the_teacher_sees_the_same_tensor_and_learns_nothing() -> None:
    teacher = Frozen().train()
    recipe = recipes.make(data="d", model="m", alpha=1.0, temperature=2.0)
    labels = torch.tensor([0, 1])
    criterion = criteria.distillation_loss(recipe, labels, 3, [teacher], STUDENT)
    slices, logits = torch.rand(2, 1, 4, 4), torch.randn(2, 3, requires_grad=True)
    loss = criterion(logits, slices, whole(labels))
    assert torch.autograd.grad(loss, logits)[0].abs().sum() > 0
    assert teacher.seen[0] is slices
    assert not teacher.weight.requires_grad
    torch.testing.assert_close(loss, distillation.kd(logits, teacher(slices), labels, 2.0))


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("method", sorted(name for name, row in registry.METHODS.items() if row.on == "logits"))
def test_alpha_weighs_the_two_parts(method: str, alpha: float) -> None:
    recipe = recipes.make(data="d", model="m", method=method, alpha=alpha, temperature=4.0)
    labels, slices, logits = torch.tensor([0, 1, 2]), torch.rand(3, 1, 4, 4), torch.randn(3, 3)
    teacher = Frozen(1.0, 2.0, -1.0)
    criterion = criteria.distillation_loss(recipe, labels, 3, [teacher], STUDENT)
    both = criterion(logits, slices, whole(labels))
    hard = criteria.label_loss(recipe, labels, 3)(logits, slices, whole(labels))
    soft = criterion.method(logits, teacher(slices), labels, 4.0)
    torch.testing.assert_close(both, (1 - alpha) * hard + alpha * soft)


def test_several_teachers_teach_the_mean_of_their_probabilities() -> None:
    recipe = recipes.make(data="d", model="m", alpha=1.0, temperature=2.0)
    labels, slices, logits = torch.tensor([0, 1, 2]), torch.rand(3, 1, 4, 4) * 9, torch.randn(3, 3)
    teachers = [Frozen(1.0, 2.0, -1.0), Frozen(0.5, -3.0, 1.0)]
    loss = criteria.distillation_loss(recipe, labels, 3, teachers, STUDENT)(logits, slices, whole(labels))
    assert all(teacher.seen[0] is slices for teacher in teachers)
    mean = torch.stack([torch.softmax(teacher(slices) / 2, dim=1) for teacher in teachers]).mean(dim=0)
    by_hand = functional.kl_div(torch.log_softmax(logits / 2, dim=1), mean, reduction="batchmean") * 4
    torch.testing.assert_close(loss, by_hand)


def test_a_loss_on_features_compares_what_student_and_teachers_hand_on_and_averages_over_teachers() -> None:
    recipe = recipes.make(data="d", model="m", method="attention", alpha=0.3, size=32)
    labels, slices = torch.tensor([0, 1, 2]), torch.rand(3, 1, 32, 32)

    def net() -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(1, 4, 3, stride=4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))

    student, teachers = net(), [net(), net()]
    criterion = criteria.distillation_loss(recipe, labels, 3, teachers, student)
    logits = student.train()(slices)
    both = criterion(logits, slices, whole(labels))
    maps = [each[0](slices) for each in (student, *teachers)]
    soft = [distillation.attention([maps[0]], [theirs], labels, 1.0) for theirs in maps[1:]]
    hard = criteria.label_loss(recipe, labels, 3)(logits, slices, whole(labels))
    torch.testing.assert_close(both, 0.7 * hard + 0.3 * (soft[0] + soft[1]) / 2)
    both.backward()  # type: ignore[no-untyped-call]
    assert all(weight.grad is not None for weight in student.parameters())
    assert all(weight.grad is None for teacher in teachers for weight in teacher.parameters())


def test_mixed_slices_answer_to_both_classes_in_their_shares() -> None:
    recipe = recipes.make(data="d", model="m", method="dkd")
    ours, theirs = torch.tensor([0, 1, 2, 2]), torch.tensor([1, 2, 0, 2])
    slices, logits = torch.rand(4, 1, 4, 4), torch.randn(4, 3)
    criterion = criteria.distillation_loss(recipe, ours, 3, [Frozen(1.0, 2.0, -1.0)], STUDENT)
    mixed = criterion(logits, slices, ((ours, 0.3), (theirs, 0.7)))
    apart = [criterion(logits, slices, whole(labels)) for labels in (ours, theirs)]
    torch.testing.assert_close(mixed, 0.3 * apart[0] + 0.7 * apart[1])


def test_the_published_loss_can_be_made_again() -> None:
    """0.2 · cross-entropy + 0.8 · T² · KLDivLoss(), T = 20; neither class weights nor label smoothing."""
    recipe = recipes.make(data="d", model="m", method="kd-mean")
    labels, slices, logits = torch.tensor([0, 1, 1, 1]), torch.rand(4, 1, 4, 4), torch.randn(4, 3)
    teacher = Frozen(1.0, 2.0, -1.0)
    ours = criteria.distillation_loss(recipe, labels, 3, [teacher], STUDENT)(logits, slices, whole(labels))
    with pytest.warns(UserWarning, match="batchmean"):
        soft = nn.KLDivLoss()(torch.log_softmax(logits / 20, dim=1), torch.softmax(teacher(slices) / 20, dim=1))
    torch.testing.assert_close(ours, 0.2 * functional.cross_entropy(logits, labels) + 0.8 * 20**2 * soft)


def test_the_published_nets_without_a_teacher_saw_plain_cross_entropy_too() -> None:
    recipe = recipes.make(data="d", model="m", method="kd-mean")
    labels, logits = torch.tensor([0, 1, 1, 1]), torch.randn(4, 3)
    ours = criteria.label_loss(recipe, labels, 3)(logits, torch.rand(4, 1, 4, 4), whole(labels))
    torch.testing.assert_close(ours, functional.cross_entropy(logits, labels))
