"""Mixup: training on blends of two slices (Zhang et al., 1710.09412)."""

import numpy as np
import torch
from torch import Tensor

Targets = tuple[tuple[Tensor, float], ...]
"""Labels (N,) of a batch and their share of every slice: one such pair, or two where slices were mixed."""


def mixup(slices: Tensor, labels: Tensor, strength: float, generator: torch.Generator) -> tuple[Tensor, Targets]:
    """Blend each slice with another of its batch: λ · its own + (1 − λ) · the other's, λ from Beta(strength, strength).

    Slices (N, 1, S, S) and labels (N,) in, blends of the same shape and their targets out. One λ per batch, as in the
    paper's figure 1; strength 1 draws it uniformly, less draws it near 0 or 1, and 0 turns mixup off.
    Every draw comes from `generator` (on the CPU), so a seed repeats the batch exactly.
    """
    if strength == 0:
        return slices, ((labels, 1.0),)
    # Torch's Beta takes no generator of its own.
    draws = np.random.default_rng(int(torch.randint(2**62, (1,), generator=generator)))
    share = float(draws.beta(strength, strength))
    others = torch.randperm(len(slices), generator=generator).to(slices.device)
    return torch.lerp(slices[others], slices, share), ((labels, share), (labels[others], 1 - share))
