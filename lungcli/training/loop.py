"""The one training loop. Distillation is another criterion given to it, not another loop."""

import copy
import dataclasses
import hashlib
import math
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lungcli.core import recipe as recipes
from lungcli.core.events import BatchDone, CheckpointWritten, EpochDone, Event, now
from lungcli.core.recipe import Recipe
from lungcli.metrics import calibration, classification
from lungcli.metrics.classification import Floats, Ints
from lungcli.metrics.predictions import MALIGNANT
from lungcli.training import checkpoint, devices, distributed, recovery
from lungcli.training.augmentation import augment
from lungcli.training.checkpoint import Position
from lungcli.training.losses.criteria import Criterion
from lungcli.training.mixup import Targets, mixup

BEST = "best.safetensors"
VALIDATION_BATCH = 64
SECONDS_BETWEEN_CHECKPOINTS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """What there is to learn from: prepared slices uint8 (n, S, S), labels (n,), and the rows of both parts."""

    pixels: NDArray[np.uint8]
    labels: Ints
    classes: tuple[str, ...]
    train: Ints
    validation: Ints
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Figures of the validation part; compared by balanced accuracy, then by loss."""

    balanced_accuracy: float
    malignant_sensitivity: float | None
    loss: float

    @property
    def rank(self) -> tuple[float, float]:
        """Larger is better."""
        return (round(self.balanced_accuracy, 6), -self.loss)


def train(
    stage: str, net: nn.Module, criterion: Criterion, recipe: Recipe, material: Material, folder: Path
) -> Generator[Event, None, None]:
    """Train `net`, keeping `best.safetensors` (averaged weights of the epoch to keep) and a checkpoint in `folder`.

    Goes on from the checkpoint if there is one, with the same numbers as an unbroken run. Closing the generator
    between two batches saves the work first. When the loss is no number, or memory runs out, the epoch begins anew with
    a lower rate or fewer slices at once (see `recovery`). Raises LungcliError when that does not help.
    """
    place = devices.choose(recipe)
    net.to(place.device).to(memory_format=torch.channels_last)
    average = copy.deepcopy(net)
    optimizer = _optimizer(net, recipe)
    whole = folder / checkpoint.WHOLE
    step = TrainStep(
        net=net,
        shared=net,
        average=average,
        optimizer=optimizer,
        criterion=criterion,
        recipe=recipe,
        material=material,
        place=place,
    )
    digests = _digest(stage, recipe, material), _digest_1(stage, recipe, material)
    position = step.restore(checkpoint.latest(folder), digests)
    together = distributed.distributed_data_parallel(
        net, place.device, recipe.micro_batch, (position.epoch, position.batch)
    )
    step = dataclasses.replace(step, shared=together)
    if not whole.exists():
        step.save(whole, position)
    told: Event
    while not _finished(position, recipe):
        try:
            position = yield from _epoch(step, stage, position, folder)
        except recovery.DivergedError as error:
            position, told = recovery.lowered(stage, position, recipe, error)
        except (MemoryError, RuntimeError) as error:
            # One device alone may be short of it, and the others would go on with other parts.
            if distributed.process_group().size > 1 or not recovery.short_of_memory(error):
                raise
            position, told = recovery.halved(stage, position, recipe)
        else:
            continue
        position = _roll_back(step, whole, digests, position)
        yield told


def _roll_back(step: "TrainStep", whole: Path, digests: tuple[str, str], told: Position) -> Position:
    """Go back to the last whole epoch, with the rate and the slices at once that `told` has, which a kill outlives."""
    position = msgspec.structs.replace(
        step.restore(whole, digests),
        halvings=told.halvings,
        micro_batch=told.micro_batch,
        setbacks=told.setbacks,
    )
    step.save(whole, position)
    checkpoint.remove(whole.with_name(checkpoint.WITHIN))
    return position


def _epoch(step: "TrainStep", stage: str, position: Position, folder: Path) -> Generator[Event, None, Position]:
    """Do what `position` leaves to do of its epoch, judge it, keep it, and return the position after it.

    Raises DivergedError when a loss or a weight is no number.
    """
    started, skipped, recipe = time.perf_counter(), position.batch, step.recipe
    position = yield from _batches(step, stage, position, folder / checkpoint.WITHIN)
    speed = len(step.material.train) * (1 - skipped / step.batches) / (time.perf_counter() - started)
    if not _all_finite(step.average):
        raise recovery.DivergedError("a weight became no number", step.batches)
    most = min(VALIDATION_BATCH, position.micro_batch or VALIDATION_BATCH)
    score = validate(step.average, step.material, step.place, most)
    if (better := score.rank > position.best) or recipe.keep == "last":
        checkpoint.save_weights(folder / BEST, step.average)
    done = EpochDone(
        time=now(),
        stage=stage,
        epoch=position.epoch + 1,
        epochs=recipe.epochs,
        loss=position.loss / step.batches,
        validation_loss=score.loss,
        balanced_accuracy=score.balanced_accuracy,
        malignant_sensitivity=score.malignant_sensitivity,
        learning_rate=step.rate((position.epoch + 1) * step.batches - 1, position),
        images_per_second=speed,
        best=better,
    )
    position = msgspec.structs.replace(
        position,
        epoch=position.epoch + 1,
        batch=0,
        loss=0.0,
        best=score.rank if better else position.best,
        best_epoch=position.epoch + 1 if better else position.best_epoch,
    )
    # Told before it is kept: killed in between, the epoch is done and told again, and never missing.
    try:
        yield done
    finally:
        step.save(folder / checkpoint.WHOLE, position)
        checkpoint.remove(folder / checkpoint.WITHIN)
    yield CheckpointWritten(time=now(), stage=stage, epoch=position.epoch, batch=0)
    return position


def _batches(step: "TrainStep", stage: str, position: Position, within: Path) -> Generator[Event, None, Position]:
    """Do the batches of one epoch that `position` has not done, and return the position after them."""
    rows = _order(step.material.train, step.recipe.seed, position.epoch, step.batches)
    started, written, images = time.perf_counter(), time.monotonic(), 0
    for batch in range(position.batch, step.batches):
        distributed.barrier_step()
        loss, rate = step(rows[batch], position)
        images += len(rows[batch])
        position = msgspec.structs.replace(position, batch=batch + 1, loss=position.loss + loss)
        try:
            yield BatchDone(
                time=now(),
                stage=stage,
                epoch=position.epoch + 1,
                batch=batch + 1,
                batches=step.batches,
                loss=loss,
                learning_rate=rate,
                images_per_second=images / (time.perf_counter() - started),
            )
        except GeneratorExit:
            step.save(within, position)
            raise
        if time.monotonic() - written > SECONDS_BETWEEN_CHECKPOINTS:
            step.save(within, position)
            written = time.monotonic()
            yield CheckpointWritten(time=now(), stage=stage, epoch=position.epoch + 1, batch=batch + 1)
    return position


def learning_rate(step: int, steps_per_epoch: int, recipe: Recipe) -> float:
    """Rate of the given step (from 0): linear warm-up, then a cosine to zero (Loshchilov & Hutter, 1608.03983)."""
    warmup = recipe.warmup * steps_per_epoch
    if step < warmup:
        return recipe.learning_rate * (step + 1) / (warmup + 1)
    share = (step - warmup) / max(1.0, recipe.epochs * steps_per_epoch - warmup)
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, share)))


def validate(net: nn.Module, material: Material, place: devices.Place, most: int = VALIDATION_BATCH) -> Score:
    """Judge the validation part with `net` in evaluation mode, at most so many slices at a time."""
    net.eval()
    logits = np.zeros((len(material.validation), len(material.classes)), dtype=np.float32)
    with torch.inference_mode(), place.autocast():
        for start in distributed.shard_range(range(0, len(material.validation), most)):
            rows = material.validation[start : start + most]
            logits[start : start + len(rows)] = net(_slices(material, rows, place).float()).float().cpu().numpy()
    labels = material.labels[material.validation]
    probabilities: Floats = calibration.softmax(distributed.all_gather(logits))
    matrix = classification.confusion(labels, probabilities.argmax(axis=1).astype(np.int64), len(material.classes))
    sensitivity = None
    if MALIGNANT in material.classes:
        sensitivity = float(classification.recalls(matrix)[material.classes.index(MALIGNANT)])
    return Score(
        balanced_accuracy=float(classification.balanced_accuracy(matrix)),
        malignant_sensitivity=sensitivity,
        loss=calibration.negative_log_likelihood(probabilities, labels),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainStep:
    """One optimiser step on one batch."""

    net: nn.Module
    shared: nn.Module
    average: nn.Module
    optimizer: torch.optim.Optimizer
    criterion: Criterion
    recipe: Recipe
    material: Material
    place: devices.Place

    @property
    def batches(self) -> int:
        """Steps in one epoch."""
        return math.ceil(len(self.material.train) / self.recipe.batch)

    def save(self, path: Path, position: Position) -> None:
        """Write a checkpoint. Raises LungcliError."""
        checkpoint.save(path, position, self.net, self.average, self.optimizer)

    def restore(self, path: Path, digests: tuple[str, str]) -> Position:
        """Go on from a checkpoint of either digest, if there is one. Raises LungcliError."""
        recipe, formerly = digests
        return checkpoint.restore(path, recipe, self.net, self.average, self.optimizer, formerly=formerly)

    def rate(self, done: int, position: Position) -> float:
        """Learning rate after `done` steps, as low as the position has it."""
        return learning_rate(done, self.batches, self.recipe) * recovery.share(position.halvings)

    def __call__(self, rows: Ints, position: Position) -> tuple[float, float]:
        """Do the step after `position`; return the batch's loss and the learning rate used. Raises DivergedError."""
        epoch, batch = position.epoch, position.batch
        done = epoch * self.batches + batch
        rate = self.rate(done, position)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        # One seed a step, for augmentation, mixup and dropout: a resumed run draws what an unbroken one would have.
        generator = torch.Generator().manual_seed(_seed(self.recipe.seed, epoch, batch))
        torch.manual_seed(_seed(self.recipe.seed, epoch, batch) + distributed.process_group().rank)
        slices = augment(_slices(self.material, rows, self.place), self.recipe.augment, generator)
        labels = torch.from_numpy(self.material.labels[rows]).to(self.place.device)
        slices, targets = mixup(slices, labels, self.recipe.mixup, generator)
        slices = slices.contiguous(memory_format=torch.channels_last)
        self.net.train()
        self.optimizer.zero_grad(set_to_none=True)
        with distributed.synchronized_batch_norm(self.net):
            value = self._gradients(slices, targets, recovery.at_once(position, self.recipe))
        if not math.isfinite(value):
            raise recovery.DivergedError(f"the loss became {value}", batch + 1)
        self.optimizer.step()
        # Early averages would remember the random start: the decay grows with the number of steps.
        _average(self.average, self.net, min(self.recipe.ema, (1 + done) / (10 + done)))
        return value, rate

    def _gradients(self, slices: Tensor, targets: Targets, at_a_time: int) -> float:
        """Add up the gradients of the batch, `at_a_time` slices after another; return its mean loss.

        Memory grows with the slices at a time, and so does what batch normalisation takes its statistics from. Every
        rank has drawn the whole batch, alike, and passes its own parts of it.
        """
        count, value = len(slices), 0.0
        parts = distributed.micro_batches(count, at_a_time)
        for part in parts:
            some = slices[part]
            theirs = tuple((labels[part], share) for labels, share in targets)
            with distributed.sync_gradients(self.shared, last=part is parts[-1]):
                with self.place.autocast():
                    loss = self.criterion(self.shared(some), some, theirs) * (len(some) / count)
                # What is exchanged is the mean over ranks.
                (loss * distributed.process_group().size).backward()  # type: ignore[no-untyped-call]
            value += float(loss.detach())
        return distributed.all_reduce_sum(value)


@torch.no_grad()
def _average(average: nn.Module, net: nn.Module, decay: float) -> None:
    for mean, value in zip(average.state_dict().values(), net.state_dict().values(), strict=True):
        if mean.is_floating_point():
            mean.lerp_(value, 1 - decay)
        else:
            mean.copy_(value)


def _optimizer(net: nn.Module, recipe: Recipe) -> torch.optim.AdamW:
    """AdamW that decays kernels and matrices but neither biases nor normalisation."""
    weights = [weight for weight in net.parameters() if weight.requires_grad]
    decayed = [weight for weight in weights if weight.ndim > 1]
    others = [weight for weight in weights if weight.ndim <= 1]
    return torch.optim.AdamW(
        [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}],
        lr=recipe.learning_rate,
    )


def _slices(material: Material, rows: Ints, place: devices.Place) -> Tensor:
    """Slices of `rows` as uint8 (n, 1, S, S) on the device."""
    return torch.from_numpy(material.pixels[rows][:, np.newaxis]).to(place.device)


def _order(rows: Ints, seed: int, epoch: int, batches: int) -> list[Ints]:
    """Shuffle `rows` and cut them into batches of nearly the same size: none so small that its statistics mislead."""
    generator = torch.Generator().manual_seed(_seed(seed, epoch, -1))
    return np.array_split(rows[torch.randperm(len(rows), generator=generator).numpy()], batches)


def _seed(*numbers: int) -> int:
    return int.from_bytes(hashlib.sha256(repr(numbers).encode()).digest()[:7], "little")


@torch.no_grad()
def _all_finite(net: nn.Module) -> bool:
    return all(bool(value.isfinite().all()) for value in net.state_dict().values())


def _digest(stage: str, recipe: Recipe, material: Material) -> str:
    settings = recipes.non_defaults(recipe)
    return hashlib.sha256(msgspec.json.encode((stage, settings, material.digest))).hexdigest()


def _digest_1(stage: str, recipe: Recipe, material: Material) -> str:
    """Return the digest that checkpoints of format 1 have, which changes with every new field of a recipe."""
    return hashlib.sha256(msgspec.json.encode((stage, recipe, material.digest))).hexdigest()


def _finished(position: Position, recipe: Recipe) -> bool:
    stale = position.epoch - position.best_epoch
    return position.epoch >= recipe.epochs or (0 < recipe.patience <= stale and position.batch == 0)
