"""Mixup: blends, their targets, and their draws."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lungcli.training.mixup import mixup


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10_000), st.integers(1, 9), st.floats(0.05, 10))
def test_a_slice_shows_its_targets_in_their_shares(seed: int, count: int, strength: float) -> None:
    """Every slice is as grey as its class, so the blend must be the mean of its targets."""
    labels = torch.randint(0, 3, (count,), generator=generator(seed + 1))
    slices = labels.float().view(-1, 1, 1, 1).expand(count, 1, 4, 4)
    mixed, targets = mixup(slices, labels, strength, generator(seed))
    assert mixed.shape == slices.shape
    assert sum(share for _, share in targets) == pytest.approx(1)
    assert torch.equal(targets[0][0], labels)
    assert sorted(targets[1][0].tolist()) == sorted(labels.tolist())
    shown = sum(share * classes.float() for classes, share in targets)
    assert isinstance(shown, torch.Tensor)
    torch.testing.assert_close(mixed, shown.view(-1, 1, 1, 1).expand(count, 1, 4, 4))


def test_strength_zero_touches_neither_slices_nor_draws() -> None:
    draws = generator(0)
    before = draws.get_state()
    slices, labels = torch.rand(3, 1, 4, 4), torch.tensor([0, 1, 2])
    mixed, targets = mixup(slices, labels, 0.0, draws)
    assert mixed is slices
    assert targets == ((labels, 1.0),)
    assert torch.equal(draws.get_state(), before)


def test_a_seed_repeats_the_blend_and_another_does_not() -> None:
    slices, labels = torch.rand(8, 1, 4, 4), torch.arange(8) % 3
    (first, _), (same, _), (other, _) = (mixup(slices, labels, 1.0, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_strength_shapes_the_shares() -> None:
    """Beta(1, 1) is even: variance 1/12. Beta(0.2, 0.2) keeps to the ends: 1 / (4 · 1.4). Both have the mean 1/2."""
    for strength, variance in ((1.0, 1 / 12), (0.2, 1 / 5.6)):
        draws = generator(0)
        batch = torch.zeros(2, 1, 1, 1), torch.tensor([0, 1])
        shares = torch.tensor([mixup(*batch, strength, draws)[1][0][1] for _ in range(4000)])
        assert shares.mean().item() == pytest.approx(0.5, abs=0.02)
        assert shares.var().item() == pytest.approx(variance, rel=0.05)
