"""The one training loop. Distillation is another criterion passed to it, not another loop."""

import copy
import dataclasses
import hashlib
import math
import time
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lungcli.core import recipe as recipes
from lungcli.core.errors import shortage
from lungcli.core.events import BatchDone, CheckpointWritten, EpochDone, Event, now
from lungcli.core.recipe import Recipe
from lungcli.datasets.lesions import Lesions
from lungcli.metrics import calibration, classification
from lungcli.metrics.classification import Floats, Ints
from lungcli.metrics.predictions import MALIGNANT, positive_index
from lungcli.training import checkpoint, devices, distributed, fine_tuning, recovery, sampling
from lungcli.training.augmentation import augment
from lungcli.training.checkpoint import Position
from lungcli.training.losses.criteria import Criterion
from lungcli.training.mixup import Targets, mixup
from lungcli.training.transplant import lesion_patches, with_transplants

BEST = "best.safetensors"
VALIDATION_BATCH = 64
SECONDS_BETWEEN_CHECKPOINTS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingData:
    """Prepared slices uint8 (n, S, S), labels (n,), and the rows of the training and the validation part.

    `institutions` (n,) number where each slice was taken; empty where all are of one. `lesions` are transplanted into
    slices that are not malignant. Sensitivity is of the `positive_class`, or else of malignant.
    """

    pixels: NDArray[np.uint8]
    labels: Ints
    classes: tuple[str, ...]
    train: Ints
    validation: Ints
    digest: str
    institutions: Ints = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    lesions: Lesions | None = None
    positive_class: str = ""

    def sampling_weights(self) -> Floats:
        """Probabilities (t,) of the rows of the training part that make classes and institutions even."""
        institutions = self.institutions if len(self.institutions) else np.zeros_like(self.labels)
        return sampling.balancing_weights(self.labels[self.train], institutions[self.train])


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Metrics of the validation part; compared by balanced accuracy, then by loss."""

    balanced_accuracy: float
    sensitivity: float | None
    loss: float

    @property
    def rank(self) -> tuple[float, float]:
        """Larger is better."""
        return (round(self.balanced_accuracy, 6), -self.loss)


def train(
    stage: str, net: nn.Module, criterion: Criterion, recipe: Recipe, data: TrainingData, folder: Path
) -> Generator[Event, None, None]:
    """Train `net`, keeping `best.safetensors` (averaged weights of the epoch to keep) and a checkpoint in `folder`.

    Resumes from the checkpoint if there is one, with the same numbers as an uninterrupted run. Closing the generator
    between two batches saves the progress first. When the loss is not finite, or memory runs out, the epoch restarts
    with a lower learning rate or a smaller micro-batch (see `recovery`). Raises LungcliError when that does not help.
    """
    with distributed.synchronized():
        step, position = _prepare(stage, net, criterion, recipe, data, folder)
        epoch, last_save = step.epoch(position), time.monotonic()
        while not _is_finished(position, recipe):
            position, event = _advance(step, epoch, position)
            # The event comes before the checkpoint: after a kill in between, an epoch is repeated and never missing.
            try:
                yield event
            except GeneratorExit:
                step.save_progress(position)
                raise
            due = position.batch and time.monotonic() - last_save > SECONDS_BETWEEN_CHECKPOINTS
            if due or isinstance(event, EpochDone):
                step.save_progress(position)
                last_save, number = time.monotonic(), position.epoch + (position.batch > 0)
                yield CheckpointWritten(time=now(), stage=stage, epoch=number, batch=position.batch)
            if not position.batch:
                epoch, last_save = step.epoch(position), time.monotonic()


def _prepare(
    stage: str, net: nn.Module, criterion: Criterion, recipe: Recipe, data: TrainingData, folder: Path
) -> tuple["TrainStep", Position]:
    """Move the net to its device, and load the checkpoint to resume from, if there is one."""
    compute = devices.choose_compute(recipe)
    net.to(compute.device).to(memory_format=torch.channels_last)
    fine_tuning.freeze(net, recipe.freeze)
    step = TrainStep(
        stage=stage,
        net=net,
        wrapped=net,
        average=copy.deepcopy(net),
        optimizer=fine_tuning.optimizer(net, recipe),
        criterion=criterion,
        recipe=recipe,
        data=data,
        compute=compute,
        folder=folder,
    )
    position = step.restore(checkpoint.latest(folder))
    wrapped = distributed.distributed_data_parallel(
        net, compute.device, recipe.micro_batch, (position.epoch, position.batch)
    )
    if not (folder / checkpoint.EPOCH_CHECKPOINT).exists():
        step.save(folder / checkpoint.EPOCH_CHECKPOINT, position)
    return dataclasses.replace(step, wrapped=wrapped), position


def _advance(step: "TrainStep", epoch: "_Epoch", position: Position) -> tuple[Position, Event]:
    """Train the next batch of an epoch, or validate after the last; on failure return to the end of the last epoch.

    Returns the new position and the event. Raises LungcliError when another restart of the epoch would not help.
    """
    event: Event
    try:
        if position.batch < step.batches:
            return _train_batch(step, epoch, position)
        return _finish_epoch(step, epoch, position)
    except recovery.DivergedError as error:
        lowered, event = recovery.halve_learning_rate(step.stage, position, step.recipe, error)
    except (MemoryError, RuntimeError) as error:
        # One rank alone may be short of memory, and the others would go on with other micro-batches.
        if distributed.process_group().size > 1 or not (why := shortage(error)):
            raise
        lowered, event = recovery.halve_micro_batch(step.stage, position, step.recipe, why)
    # The lower rate and micro-batch size must survive a kill.
    position = msgspec.structs.replace(
        step.restore(step.folder / checkpoint.EPOCH_CHECKPOINT),
        halvings=lowered.halvings,
        micro_batch=lowered.micro_batch,
        setbacks=lowered.setbacks,
    )
    step.save_progress(position)
    return position, event


def _train_batch(step: "TrainStep", epoch: "_Epoch", position: Position) -> tuple[Position, BatchDone]:
    """Train the batch after `position`. Raises DivergedError when its loss is not finite."""
    distributed.barrier_step()
    loss, rate = step(epoch.rows[position.batch], position)
    position = msgspec.structs.replace(position, batch=position.batch + 1, loss=position.loss + loss)
    return position, BatchDone(
        time=now(),
        stage=step.stage,
        epoch=position.epoch + 1,
        batch=position.batch,
        batches=step.batches,
        loss=loss,
        learning_rate=rate,
        images_per_second=epoch.speed(position.batch),
    )


def _finish_epoch(step: "TrainStep", epoch: "_Epoch", position: Position) -> tuple[Position, EpochDone]:
    """Validate after the last batch of an epoch, and save its weights if they are the best or the last are kept.

    Raises DivergedError when a weight is not finite.
    """
    speed = epoch.speed(position.batch)
    if not _all_finite(step.average):
        raise recovery.DivergedError("a weight is no longer finite", step.batches)
    batch_size = min(VALIDATION_BATCH, position.micro_batch or VALIDATION_BATCH)
    score = validate(step.average, step.data, step.compute, batch_size)
    if (is_better := score.rank > position.best) or step.recipe.keep == "last":
        checkpoint.save_weights(step.folder / BEST, step.average)
    epoch_number = position.epoch + 1
    event = EpochDone(
        time=now(),
        stage=step.stage,
        epoch=epoch_number,
        epochs=step.recipe.epochs,
        loss=position.loss / step.batches,
        validation_loss=score.loss,
        balanced_accuracy=score.balanced_accuracy,
        sensitivity=score.sensitivity,
        learning_rate=step.rate(epoch_number * step.batches - 1, position),
        images_per_second=speed,
        best=is_better,
    )
    if is_better:
        position = msgspec.structs.replace(position, best=score.rank, best_epoch=epoch_number)
    return msgspec.structs.replace(position, epoch=epoch_number, batch=0, loss=0.0), event


def learning_rate(step: int, steps_per_epoch: int, recipe: Recipe) -> float:
    """Learning rate of a step (from 0): linear warm-up, then a cosine to zero (Loshchilov & Hutter, 1608.03983)."""
    warmup = recipe.warmup * steps_per_epoch
    if step < warmup:
        return recipe.learning_rate * (step + 1) / (warmup + 1)
    share = (step - warmup) / max(1.0, recipe.epochs * steps_per_epoch - warmup)
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, share)))


def validate(
    net: nn.Module, data: TrainingData, compute: devices.ComputeSettings, batch_size: int = VALIDATION_BATCH
) -> Score:
    """Score `net`, in evaluation mode, on the validation part, at most `batch_size` slices at a time."""
    net.eval()
    logits = np.zeros((len(data.validation), len(data.classes)), dtype=np.float32)
    with torch.inference_mode(), compute.autocast():
        for start in distributed.shard_range(range(0, len(data.validation), batch_size)):
            batch = data.validation[start : start + batch_size]
            logits[start : start + len(batch)] = net(_slice_tensor(data, batch, compute).float()).float().cpu().numpy()
    labels = data.labels[data.validation]
    probabilities: Floats = calibration.softmax(distributed.all_gather(logits))
    matrix = classification.confusion(labels, probabilities.argmax(axis=1).astype(np.int64), len(data.classes))
    recalls, positive = classification.recalls(matrix), positive_index(data.classes, data.positive_class)
    return Score(
        balanced_accuracy=float(classification.balanced_accuracy(matrix)),
        sensitivity=None if positive is None else float(recalls[positive]),
        loss=calibration.negative_log_likelihood(probabilities, labels),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Epoch:
    """The batches of an epoch, the first one that this process trains, and the time it began."""

    rows: list[Ints]
    first: int
    began: float

    def speed(self, done: int) -> float:
        """Slices per second since then, when `done` batches of the epoch are done."""
        return sum(map(len, self.rows[self.first : done])) / (time.perf_counter() - self.began)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainStep:
    """One optimiser step on one batch; progress is saved in `folder`."""

    stage: str
    net: nn.Module
    wrapped: nn.Module
    average: nn.Module
    optimizer: torch.optim.Optimizer
    criterion: Criterion
    recipe: Recipe
    data: TrainingData
    compute: devices.ComputeSettings
    folder: Path

    @property
    def batches(self) -> int:
        """Steps in one epoch."""
        return math.ceil(len(self.data.train) / self.recipe.batch)

    def epoch(self, position: Position) -> _Epoch:
        """Return the batches of the epoch of `position`, of which the first are done already."""
        began = time.perf_counter()
        seed, train = self.recipe.seed, self.data.train
        if self.recipe.balance:
            rows = sampling.drawn(train, self.data.sampling_weights(), seed, position.epoch, self.batches)
        else:
            rows = sampling.shuffled(train, seed, position.epoch, self.batches)
        return _Epoch(rows=rows, first=position.batch, began=began)

    def save(self, path: Path, position: Position) -> None:
        """Write a checkpoint. Raises LungcliError."""
        checkpoint.save(path, position, self.net, self.average, self.optimizer)

    def save_progress(self, position: Position) -> None:
        """Write the epoch or step checkpoint of `position`; an epoch's outdates that of a step. Raises LungcliError."""
        if position.batch:
            self.save(self.folder / checkpoint.STEP_CHECKPOINT, position)
        else:
            self.save(self.folder / checkpoint.EPOCH_CHECKPOINT, position)
            checkpoint.remove(self.folder / checkpoint.STEP_CHECKPOINT)

    def restore(self, path: Path) -> Position:
        """Load a checkpoint, if there is one. Raises LungcliError."""
        digest, digest_format_1 = (make(self.stage, self.recipe, self.data) for make in (_digest, _digest_format_1))
        return checkpoint.restore(path, digest, self.net, self.average, self.optimizer, digest_format_1=digest_format_1)

    def rate(self, done: int, position: Position) -> float:
        """Learning rate after `done` steps, halved as often as the position says."""
        return learning_rate(done, self.batches, self.recipe) * recovery.rate_factor(position.halvings)

    def __call__(self, rows: Ints, position: Position) -> tuple[float, float]:
        """Do the step after `position`; return the batch's loss and the learning rate. Raises DivergedError."""
        epoch, batch = position.epoch, position.batch
        done = epoch * self.batches + batch
        rate = self.rate(done, position)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["scale"]
        # One seed per step, for augmentation, mixup and dropout: a resumed run draws what an uninterrupted one would.
        seed = sampling.seed_of(self.recipe.seed, epoch, batch)
        generator = torch.Generator().manual_seed(seed)
        torch.manual_seed(seed + distributed.process_group().rank)
        slices, labels = self._batch(rows, epoch, generator)
        slices = augment(slices, self.recipe.augment, generator)
        slices, targets = mixup(slices, labels, self.recipe.mixup, generator)
        slices = slices.contiguous(memory_format=torch.channels_last)
        fine_tuning.set_training_mode(self.net, self.recipe)
        self.optimizer.zero_grad(set_to_none=True)
        with distributed.synchronized_batch_norm(self.net):
            value = self._gradients(slices, targets, recovery.micro_batch_size(position, self.recipe))
        if not math.isfinite(value):
            raise recovery.DivergedError(f"the loss became {value}", batch + 1)
        self.optimizer.step()
        # Early averages would remember the random initial weights: the decay grows with the number of steps.
        _average(self.average, self.net, min(self.recipe.ema, (1 + done) / (10 + done)))
        return value, rate

    def _batch(self, rows: Ints, epoch: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Slices of `rows` and their labels, with copies that have a lesion; or, in the first epochs, patches."""
        slices, lesions = _slice_tensor(self.data, rows, self.compute), self.data.lesions
        labels = torch.from_numpy(self.data.labels[rows]).to(self.compute.device)
        if lesions is None:
            return slices, labels
        malignant = self.data.classes.index(MALIGNANT)
        if epoch < int(self.recipe.patches * self.recipe.epochs):
            patches, patch_labels = lesion_patches(slices, labels, lesions, malignant, generator)
            if len(patches):
                return patches, patch_labels
        return with_transplants(
            slices, labels, lesions, malignant, round(self.recipe.transplants * len(rows)), generator
        )

    def _gradients(self, slices: Tensor, targets: Targets, at_a_time: int) -> float:
        """Accumulate the gradients of the batch in micro-batches of `at_a_time` slices; return its mean loss.

        Memory grows with the size of a micro-batch, over which batch normalisation also takes its statistics. Every
        rank has drawn the same batch, and passes its own micro-batches.
        """
        count, value = len(slices), 0.0
        parts = distributed.micro_batches(count, at_a_time)
        for part in parts:
            inputs = slices[part]
            part_targets = tuple((labels[part], share) for labels, share in targets)
            weight = len(inputs) / count
            with distributed.sync_gradients(self.wrapped, last=part is parts[-1]):
                with self.compute.autocast():
                    loss = self.criterion(self.wrapped(inputs), inputs, part_targets) * weight
                # Gradients are averaged over ranks, not summed.
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


def _slice_tensor(data: TrainingData, rows: Ints, compute: devices.ComputeSettings) -> Tensor:
    """Slices of `rows` as uint8 (n, 1, S, S) on the device."""
    return torch.from_numpy(data.pixels[rows][:, np.newaxis]).to(compute.device)


@torch.no_grad()
def _all_finite(net: nn.Module) -> bool:
    return all(bool(value.isfinite().all()) for value in net.state_dict().values())


def _digest(stage: str, recipe: Recipe, data: TrainingData) -> str:
    settings = recipes.non_defaults(recipe)
    return hashlib.sha256(msgspec.json.encode((stage, settings, data.digest))).hexdigest()


def _digest_format_1(stage: str, recipe: Recipe, data: TrainingData) -> str:
    """Return the digest that checkpoints of format 1 have, which changes with every new field of a recipe."""
    return hashlib.sha256(msgspec.json.encode((stage, recipe, data.digest))).hexdigest()


def _is_finished(position: Position, recipe: Recipe) -> bool:
    stale = position.epoch - position.best_epoch
    return position.epoch >= recipe.epochs or (0 < recipe.patience <= stale and position.batch == 0)
