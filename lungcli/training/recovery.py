"""What a training does when it goes wrong by itself: the last whole epoch again, at a lower rate or with less at once.

Always from the end of an epoch, never from a checkpoint within one: those are written by the clock, and a run must
come out the same however often it was stopped.
"""

import gc

import msgspec
import torch

from lungcli.core.errors import LungcliError
from lungcli.core.events import BatchLowered, RateLowered, now
from lungcli.core.recipe import Recipe
from lungcli.training.checkpoint import Position

MOST_HALVINGS = 3
# Batch normalisation has no statistics of a single slice.
_FEWEST_SLICES = 2
_SHORTAGES = ("out of memory", "not enough memory", "can't allocate memory", "bad_alloc")


class DivergedError(Exception):
    """The loss of a batch (from 1), or a weight after it, is no number."""

    def __init__(self, what: str, batch: int) -> None:
        super().__init__(what)
        self.batch = batch


def is_out_of_memory(error: MemoryError | RuntimeError) -> bool:
    """Say whether memory ran out, of the processor or of a graphics card."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return any(words in str(error) for words in _SHORTAGES)


def halve_learning_rate(
    stage: str, position: Position, recipe: Recipe, error: DivergedError
) -> tuple[Position, RateLowered]:
    """Halve the learning rate: the position with it, and what to tell. Raises LungcliError at the fourth time."""
    halvings = position.halvings + 1
    if halvings > MOST_HALVINGS:
        raise LungcliError(
            f"{error} in epoch {position.epoch + 1}, also after the learning rate was halved {MOST_HALVINGS} times",
            "start again with a lower --learning-rate",
        ) from error
    told = RateLowered(
        time=now(),
        stage=stage,
        epoch=position.epoch + 1,
        batch=error.batch,
        why=str(error),
        times=halvings,
        learning_rate=recipe.learning_rate * rate_factor(halvings),
    )
    return msgspec.structs.replace(position, halvings=halvings, setbacks=position.setbacks + 1), told


def halve_micro_batch(stage: str, position: Position, recipe: Recipe) -> tuple[Position, BatchLowered]:
    """Halve the slices in memory at once: the position with it, and what to tell.

    Raises LungcliError where it would be fewer than two.
    """
    slices = micro_batch_size(position, recipe) // 2
    if slices < _FEWEST_SLICES:
        raise LungcliError(
            f"out of memory, even with {micro_batch_size(position, recipe)} slices at a time",
            "close other programs, or start again with a smaller --size or a smaller net",
        )
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    told = BatchLowered(time=now(), stage=stage, epoch=position.epoch + 1, slices=slices)
    return msgspec.structs.replace(position, micro_batch=slices, setbacks=position.setbacks + 1), told


def rate_factor(halvings: int) -> float:
    """Share of the recipe's learning rate that is left after so many halvings."""
    return float(0.5**halvings)


def micro_batch_size(position: Position, recipe: Recipe) -> int:
    """Slices of a batch that are in memory at once."""
    return position.micro_batch or recipe.micro_batch or recipe.batch
