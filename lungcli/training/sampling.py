"""Which slices the batches of an epoch hold: every slice once, or drawn so that classes and institutions are even."""

import hashlib
import math

import numpy as np
import torch

from lungcli.metrics.classification import Floats, Ints


def shuffled(rows: Ints, seed: int, epoch: int, batches: int) -> list[Ints]:
    """Shuffle `rows` into batches of nearly equal size: a small last one would have misleading batch statistics."""
    order = torch.randperm(len(rows), generator=_generator(seed, epoch))
    return np.array_split(rows[order.numpy()], batches)


def drawn(rows: Ints, weights: Floats, seed: int, epoch: int, batches: int) -> list[Ints]:
    """Draw as many rows as there are, with replacement and with these probabilities, and split them into batches."""
    order = torch.multinomial(torch.from_numpy(weights), len(rows), replacement=True, generator=_generator(seed, epoch))
    return np.array_split(rows[order.numpy()], batches)


def balancing_weights(labels: Ints, institutions: Ints) -> Floats:
    """Return each slice's probability (n,): classes are even, institutions of a class as the roots of their numbers.

    A class from one institution says as much of the institution as of the class, so a small institution counts for
    more than its slices; not as much as a large one, whose slices show more patients.
    """
    weights = np.zeros(len(labels))
    for label in np.unique(labels):
        of_class = labels == label
        roots = {i: math.sqrt((of_class & (institutions == i)).sum()) for i in np.unique(institutions[of_class])}
        for institution, root in roots.items():
            cell = of_class & (institutions == institution)
            weights[cell] = root / sum(roots.values()) / cell.sum()
    probabilities: Floats = weights / weights.sum()
    return probabilities


def seed_of(*numbers: int) -> int:
    """Return a seed that is a function of the numbers alone."""
    return int.from_bytes(hashlib.sha256(repr(numbers).encode()).digest()[:7], "little")


def _generator(seed: int, epoch: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed_of(seed, epoch, -1))
