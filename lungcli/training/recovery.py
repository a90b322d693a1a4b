"""Recovery from divergence and lack of memory: the epoch restarts with a lower rate or a smaller micro-batch.

Always from an epoch checkpoint, never from one within an epoch: those are written at intervals of time, and a run must
end with the same numbers however often it was stopped.
"""

import gc

import msgspec
import torch

from lungcli.core.errors import LungcliError
from lungcli.core.events import BatchLowered, RateLowered, now
from lungcli.core.recipe import Recipe
from lungcli.training.checkpoint import Position

MOST_HALVINGS = 3
# Batch normalisation needs two slices for its statistics.
_FEWEST_SLICES = 2


class DivergedError(Exception):
    """The loss of a batch (from 1), or a weight after it, is not finite."""

    def __init__(self, what: str, batch: int) -> None:
        super().__init__(what)
        self.batch = batch


def halve_learning_rate(
    stage: str, position: Position, recipe: Recipe, error: DivergedError
) -> tuple[Position, RateLowered]:
    """Halve the learning rate; return the new position and the event. Raises LungcliError at the fourth time."""
    halvings = position.halvings + 1
    if halvings > MOST_HALVINGS:
        raise LungcliError(
            f"{error} in epoch {position.epoch + 1}, also after the learning rate was halved {MOST_HALVINGS} times",
            "start again with a lower --learning-rate",
        ) from error
    event = RateLowered(
        time=now(),
        stage=stage,
        epoch=position.epoch + 1,
        batch=error.batch,
        why=str(error),
        times=halvings,
        learning_rate=recipe.learning_rate * rate_factor(halvings),
    )
    return msgspec.structs.replace(position, halvings=halvings, setbacks=position.setbacks + 1), event


def halve_micro_batch(stage: str, position: Position, recipe: Recipe, why: str) -> tuple[Position, BatchLowered]:
    """Halve the micro-batch size, for a reason in words; return the new position and the event.

    Raises LungcliError where it would be less than two.
    """
    slices = micro_batch_size(position, recipe) // 2
    if slices < _FEWEST_SLICES:
        raise LungcliError(
            f"{why}, even with {micro_batch_size(position, recipe)} slices at a time",
            "close other programs, or start again with a smaller --size or a smaller net",
        )
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    event = BatchLowered(time=now(), stage=stage, epoch=position.epoch + 1, slices=slices, why=why)
    return msgspec.structs.replace(position, micro_batch=slices, setbacks=position.setbacks + 1), event


def rate_factor(halvings: int) -> float:
    """Factor of the recipe's learning rate after so many halvings."""
    return float(0.5**halvings)


def micro_batch_size(position: Position, recipe: Recipe) -> int:
    """Slices that are in memory at once."""
    return position.micro_batch or recipe.micro_batch or recipe.batch
