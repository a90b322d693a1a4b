"""Losses against hand computation."""

import math

import pytest
import torch
from torch import Tensor, nn

from lungcli.core import recipe as recipes
from lungcli.training import losses

STUDENT = torch.tensor([[0.0, 0.0, 0.0], [1.0, 2.0, 3.0]])
TEACHER = torch.tensor([[math.log(2), 0.0, 0.0], [1.0, 2.0, 3.0]])


def test_hinton_by_hand_at_temperature_one() -> None:
    """First row: teacher (1/2, 1/4, 1/4), student uniform; second row: equal. Summed over classes, mean of two."""
    by_hand = (0.5 * math.log(0.5 * 3) + 2 * 0.25 * math.log(0.25 * 3)) / 2
    assert losses.hinton(STUDENT, TEACHER, 1.0).item() == pytest.approx(by_hand, rel=1e-6)


def test_hinton_keeps_its_gradient_as_the_temperature_rises() -> None:
    """Hinton et al., section 2.1: with T² the gradient tends to (student − teacher logits, centred) / K."""
    student = torch.zeros(1, 3, requires_grad=True)
    teacher = torch.tensor([[0.3, 0.0, -0.3]])
    losses.hinton(student, teacher, 1000.0).backward()  # type: ignore[no-untyped-call]
    assert student.grad is not None
    torch.testing.assert_close(student.grad, -teacher / 3, rtol=1e-3, atol=1e-5)


def test_hinton_gradient_is_that_of_finite_differences() -> None:
    student = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    teacher = torch.randn(4, 3, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: losses.hinton(x, teacher, 4.0), (student,))


def test_class_weights_make_classes_count_the_same() -> None:
    labels = torch.tensor([0, 1, 1, 1, 2, 2])
    weights = losses.class_weights(labels, 3)
    counts = torch.bincount(labels).float()
    torch.testing.assert_close(weights * counts, torch.full((3,), 2.0))
    assert torch.isfinite(losses.class_weights(labels, 4)).all()


class Frozen(nn.Module):
    """A teacher that remembers what it was shown, and whether it was in evaluation mode."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))
        self.seen: list[Tensor] = []

    def forward(self, slices: Tensor) -> Tensor:
        self.seen.append(slices)
        assert not self.training
        return slices.mean(dim=(1, 2, 3))[:, None] * self.weight


def test_the_teacher_sees_the_same_tensor_and_learns_nothing() -> None:
    teacher = Frozen().train()
    recipe = recipes.make(data="d", model="m", alpha=1.0, temperature=2.0)
    labels = torch.tensor([0, 1])
    criterion = losses.from_teacher(recipe, labels, 3, teacher)
    slices, logits = torch.rand(2, 1, 4, 4), torch.randn(2, 3, requires_grad=True)
    loss = criterion(logits, slices, labels)
    loss.backward()  # type: ignore[no-untyped-call]
    assert teacher.seen[0] is slices
    assert teacher.weight.grad is None
    expected = losses.hinton(logits, teacher(slices), 2.0)
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_alpha_weighs_the_two_parts(alpha: float) -> None:
    recipe = recipes.make(data="d", model="m", alpha=alpha, temperature=4.0)
    labels, slices, logits = torch.tensor([0, 1, 2]), torch.rand(3, 1, 4, 4), torch.randn(3, 3)
    teacher = Frozen()
    both = losses.from_teacher(recipe, labels, 3, teacher)(logits, slices, labels)
    hard = losses.from_labels(recipe, labels, 3)(logits, slices, labels)
    soft = losses.hinton(logits, teacher(slices), 4.0)
    torch.testing.assert_close(both, (1 - alpha) * hard + alpha * soft)
