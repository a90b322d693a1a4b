"""Distillation losses against hand computation, their gradients, and what all of them promise."""

import math

import pytest
import torch
from hypothesis import given as given_values
from hypothesis import settings
from hypothesis import strategies as st
from torch import Tensor

from lungcli.core import registry
from lungcli.core.names import imported
from lungcli.training.losses import distillation

# Logits are logarithms of probabilities, so that at T = 1 the probabilities are these.
STUDENT = torch.tensor([[1 / 2, 1 / 4, 1 / 4], [1 / 4, 1 / 4, 1 / 2]], dtype=torch.float64).log()
TEACHER = torch.tensor([[1 / 4, 1 / 2, 1 / 4], [0.1, 0.1, 0.8]], dtype=torch.float64).log()
LABELS = torch.tensor([0, 2])

BY_NAME = sorted(registry.METHODS)
SIX = torch.tensor([0, 1, 2, 0, 1, 2])
# What a net gives for six slices, with leaves to differentiate by: its logits, or its feature maps.
Given = list[Tensor]


def loss(name: str, student: Given, teacher: Given, temperature: float) -> Tensor:
    """The loss of that name, on what its row says that it is on."""
    found = imported(registry.METHODS[name].loss)
    whole = registry.METHODS[name].on == "features"
    made: Tensor = found(student if whole else student[0], teacher if whole else teacher[0], SIX, temperature)
    return made


def given(name: str, seed: int) -> Given:
    generator = torch.Generator().manual_seed(seed)
    shapes = [(6, 3)] if registry.METHODS[name].on == "logits" else [(6, 2, 4, 4), (6, 3, 2, 2)]
    return [torch.randn(shape, dtype=torch.float64, generator=generator) for shape in shapes]


def logits(seed: int, count: int = 6, classes: int = 3) -> Tensor:
    return torch.randn(count, classes, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_kd_by_hand() -> None:
    first = 1 / 4 * math.log(1 / 2) + 1 / 2 * math.log(2) + 0
    second = 2 * 0.1 * math.log(0.4) + 0.8 * math.log(1.6)
    assert distillation.kd(STUDENT, TEACHER, LABELS, 1.0).item() == pytest.approx((first + second) / 2, rel=1e-12)


def test_kd_keeps_its_gradient_as_the_temperature_rises() -> None:
    """Hinton et al., section 2.1: with T² the gradient tends to (student − teacher logits, centred) / K."""
    student = torch.zeros(1, 3, requires_grad=True)
    teacher = torch.tensor([[0.3, 0.0, -0.3]])
    (slope,) = torch.autograd.grad(distillation.kd(student, teacher, torch.tensor([0]), 1000.0), student)
    torch.testing.assert_close(slope, -teacher / 3, rtol=1e-3, atol=1e-5)


def test_dkd_by_hand() -> None:
    """First slice: 1/2 against 1/4 for its class, (1/2, 1/2) against (2/3, 1/3) for the others; second likewise."""
    tckd = 1 / 4 * math.log(1 / 2) + 3 / 4 * math.log(3 / 2)
    nckd = 2 / 3 * math.log(4 / 3) + 1 / 3 * math.log(2 / 3)
    second = 0.8 * math.log(1.6) + 0.2 * math.log(0.4)
    for weight in (1.0, 2.0, 8.0):
        by_hand = (tckd + weight * nckd + second) / 2
        assert distillation.dkd(STUDENT, TEACHER, LABELS, 1.0, weight).item() == pytest.approx(by_hand, rel=1e-12)
    assert distillation.dkd(STUDENT, TEACHER, LABELS, 1.0) == distillation.dkd(STUDENT, TEACHER, LABELS, 1.0, 2.0)


@settings(deadline=None, max_examples=50)
@given_values(st.integers(0, 10_000), st.floats(0.5, 20), st.integers(2, 5))
def test_kd_is_dkd_with_what_the_teacher_leaves_to_other_classes(seed: int, temperature: float, classes: int) -> None:
    """Zhao et al., 2203.08679, section 3.1: KD = TCKD + (1 − p) · NCKD, p the teacher's for the true class."""
    student, teacher = logits(seed, 1, classes), logits(seed + 1, 1, classes)
    label = torch.tensor([seed % classes])
    left = 1 - torch.softmax(teacher / temperature, dim=1)[0, label].item()
    whole = distillation.kd(student, teacher, label, temperature)
    torch.testing.assert_close(distillation.dkd(student, teacher, label, temperature, left), whole)


def test_dist_by_hand() -> None:
    """Across classes the rows correlate −1/2 and 1. Across two slices each class rises or falls with the teacher's
    (1), but the student's second class stays as it is (0): 1 − 1/4 and 1 − 2/3.
    """
    assert distillation.dist(STUDENT, TEACHER, LABELS, 1.0).item() == pytest.approx(3 / 4 + 1 / 3, rel=1e-12)


def test_dist_asks_for_relations_only() -> None:
    """Probabilities pressed together by half still correlate fully."""
    pressed = (torch.softmax(TEACHER, dim=1) / 2 + 1 / 6).log()
    assert distillation.dist(pressed, TEACHER, LABELS, 1.0).item() == pytest.approx(0, abs=1e-12)


def test_dist_bears_a_net_that_says_the_same_of_everything() -> None:
    student = torch.zeros(4, 3, requires_grad=True)
    loss = distillation.dist(student, TEACHER.float().repeat(2, 1), LABELS.repeat(2), 1.0)
    (slope,) = torch.autograd.grad(loss, student)
    assert loss.item() == pytest.approx(2.0)
    assert torch.isfinite(slope).all()


def test_seed_is_what_the_published_project_computed() -> None:
    """Torch itself warns of that default: a divergence is a sum over classes, not a mean."""
    with pytest.warns(UserWarning, match="batchmean"):
        published = torch.nn.KLDivLoss()(torch.log_softmax(STUDENT / 20, dim=1), torch.softmax(TEACHER / 20, dim=1))
    torch.testing.assert_close(distillation.kd_mean(STUDENT, TEACHER, LABELS, 20.0), 20.0**2 * published)
    torch.testing.assert_close(
        distillation.kd_mean(STUDENT, TEACHER, LABELS, 20.0), distillation.kd(STUDENT, TEACHER, LABELS, 20.0) / 3
    )
    share = 0.8 / 3 / (0.2 + 0.8 / 3)
    assert share == pytest.approx(0.571, abs=5e-4)


def test_attention_by_hand() -> None:
    """Squares averaged over channels are (9, 16) and (16, 9); made vectors of length 1 they differ by 7/√337 twice."""
    ours = torch.tensor([[[[3.0, 4.0]], [[3.0, 4.0]]]])
    theirs = torch.tensor([[[[4.0, 3.0]], [[4.0, 3.0]], [[4.0, 3.0]]]])
    apart = 7**2 / 337
    found = distillation.attention([ours], [theirs], LABELS, 1.0).item()
    assert found == pytest.approx(distillation.ATTENTION / 2 * apart, rel=1e-6)


def test_attention_pairs_the_coarsest_maps_and_averages_the_larger_down() -> None:
    coarse, fine = torch.rand(2, 3, 2, 2), torch.rand(2, 5, 8, 8)
    pooled = torch.nn.functional.adaptive_avg_pool2d(fine.square().mean(dim=1, keepdim=True), 2).sqrt()
    alone = distillation.attention([coarse], [pooled], LABELS, 1.0)
    torch.testing.assert_close(distillation.attention([coarse], [torch.rand(2, 1, 16, 16), fine], LABELS, 1.0), alone)
    assert alone > 0


@pytest.mark.parametrize("name", BY_NAME)
@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_gradients_are_those_of_finite_differences(name: str, temperature: float) -> None:
    student = [each.requires_grad_() for each in given(name, 1)]
    assert torch.autograd.gradcheck(lambda *taken: loss(name, list(taken), given(name, 2), temperature), student)


@pytest.mark.parametrize("name", BY_NAME)
@settings(deadline=None, max_examples=50)
@given_values(seed=st.integers(0, 10_000), temperature=st.floats(0.5, 20))
def test_nothing_is_left_to_learn_from_a_teacher_who_says_the_same(name: str, seed: int, temperature: float) -> None:
    student, teacher = given(name, seed), given(name, seed + 1)
    assert loss(name, teacher, teacher, temperature).item() == pytest.approx(0, abs=1e-9)
    assert loss(name, student, teacher, temperature).item() > 0
    shifted = loss(name, [each + 5 for each in teacher], teacher, temperature).item()
    assert (shifted == pytest.approx(0, abs=1e-9)) is registry.METHODS[name].shift_invariant


@pytest.mark.parametrize("name", BY_NAME)
def test_temperature_divides_the_logits_and_its_square_multiplies_the_loss_where_the_row_says_so(name: str) -> None:
    student, teacher = given(name, 1), given(name, 2)
    warm = loss(name, [4 * each for each in student], [4 * each for each in teacher], 4.0)
    share = 16 if registry.METHODS[name].scaled else 1
    torch.testing.assert_close(warm, share * loss(name, student, teacher, 1.0))


def test_an_ensemble_by_hand() -> None:
    """At T = 1: the mean of (1/2, 1/4, 1/4) and (1/4, 1/2, 1/4) is (3/8, 3/8, 1/4)."""
    together = distillation.ensemble([STUDENT[:1], TEACHER[:1]], 1.0)
    torch.testing.assert_close(together.exp(), torch.tensor([[3 / 8, 3 / 8, 1 / 4]], dtype=torch.float64))


@settings(deadline=None, max_examples=50)
@given_values(st.integers(0, 10_000), st.floats(0.5, 20), st.integers(2, 5))
def test_an_ensemble_is_the_mean_of_probabilities_at_the_temperature(seed: int, temperature: float, size: int) -> None:
    teachers = [10 * logits(seed + index) for index in range(size)]
    mean = torch.stack([torch.softmax(each / temperature, dim=1) for each in teachers]).mean(dim=0)
    together = distillation.ensemble(teachers, temperature)
    torch.testing.assert_close(torch.softmax(together / temperature, dim=1), mean)


def test_an_ensemble_of_one_is_that_one() -> None:
    assert distillation.ensemble([TEACHER], 4.0) is TEACHER
    torch.testing.assert_close(
        torch.softmax(distillation.ensemble([TEACHER, TEACHER], 4.0), dim=1), torch.softmax(TEACHER, dim=1)
    )
