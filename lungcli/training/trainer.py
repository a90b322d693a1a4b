"""One training from recipe to graph: net and criterion, the loop, and the export of the best epoch."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import torch
from torch import nn

from lungcli.core.errors import UsageError
from lungcli.core.events import Event
from lungcli.core.recipe import Recipe
from lungcli.metrics.predictions import MALIGNANT
from lungcli.modelfile import model_file
from lungcli.modelfile.model_card import Pruning
from lungcli.training import checkpoint, devices, fine_tuning, loop, mixstyle, nets, onnx_export, prune, qat, state_dict
from lungcli.training.loop import TrainingData
from lungcli.training.losses import criteria
from lungcli.training.transplant import transplant

# Slices of the training part that the importance of channels is computed on.
_PRUNING_SLICES = 128
# Slices whose features are computed at a time.
_BATCH = 64
_OTHER_NET_HINT = "choose another net: lungcli models list"


@dataclass(frozen=True, slots=True, kw_only=True)
class Teacher:
    """A trained net: its name in the registry and its weights, or its name here and its model file."""

    model: str
    weights: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Weights that a net starts from; without those of its `head`, the last layer, where that is of other classes."""

    weights: Path
    head: bool = True


def train(
    stage: str,
    recipe: Recipe,
    data: TrainingData,
    folder: Path,
    teachers: Sequence[Teacher] = (),
    start: Start | None = None,
) -> Generator[Event, None, None]:
    """Train the net of `recipe` on labels, or on labels and `teachers`; see `loop.train` for the files in `folder`.

    It starts from `start` if given, with the widths of its weights. The recipe may have a new head fitted first.
    Raises UsageError where the recipe asks for patches, and there are no lesions or a net takes no patches.
    """
    # Base and distilled student start from the same weights, so that the teacher is all that differs.
    torch.manual_seed(recipe.seed)
    classes = len(data.classes)
    net = nets.build(recipe.model, classes, recipe.size, pretrained=recipe.pretrained and start is None)
    if start:
        checkpoint.load_weights(start.weights, net, head=start.head)
    labels = torch.from_numpy(data.labels[data.train])
    criterion: criteria.Criterion = criteria.label_loss(recipe, labels, classes)
    trained = [load_teacher(teacher, recipe, classes) for teacher in teachers]
    if recipe.patches:
        names = recipe.model, *(teacher.model for teacher in teachers)
        _require_patches(dict(zip((net, *trained), names, strict=True)), recipe.size // 2, data)
    if trained:
        criterion = criteria.distillation_loss(recipe, labels, classes, trained, net)
    if recipe.probe and not (start and start.head) and not checkpoint.latest(folder).exists():
        _fit_head(net, recipe, data)
    if recipe.mixstyle:
        mixstyle.attach(net, recipe.size, recipe.mixstyle)
    yield from loop.train(stage, net, criterion, recipe, data, folder)


def prune_weights(recipe: Recipe, data: TrainingData, weights: Path, to: Path) -> Pruning:
    """Prune the net of `recipe` with these weights by the recipe's share, and write the remaining weights to `to`.

    Raises LungcliError when the weights are missing or damaged.
    """
    devices.choose_compute(recipe)
    net = nets.build(recipe.model, len(data.classes), recipe.size)
    checkpoint.load_weights(weights, net)
    size_before = nets.parameter_count(net), prune.multiply_adds(net, recipe.size)
    rows = data.train[:: max(1, len(data.train) // _PRUNING_SLICES)][:_PRUNING_SLICES]
    slices = torch.from_numpy(data.pixels[rows][:, None])
    prune.prune(net, slices, torch.from_numpy(data.labels[rows]), len(data.classes), recipe.prune)
    checkpoint.save_weights(to, net)
    return Pruning(
        share=recipe.prune,
        parameters_before=size_before[0],
        parameters=nets.parameter_count(net),
        multiply_adds_before=size_before[1],
        multiply_adds=prune.multiply_adds(net, recipe.size),
    )


def export_untrained(model: str, classes: int, size: int, to: Path, *, tuned: bool = False) -> None:
    """Write the graph of the untrained net `model` to `to`; the global random state stays as it is.

    Raises UsageError where the net cannot be exported or, with `tuned`, cannot be fine-tuned in int8.
    """
    with torch.random.fork_rng(devices=()):
        net = nets.build(model, classes, size).eval()
    if tuned:
        qat.require_tunable(net, model)
    try:
        onnx_export.export(net, size, to)
    except torch.onnx.OnnxExporterError as error:
        # Its own message names, in colours, the step of the export that failed; the cause says why.
        reason = str(error.__cause__ or error).strip().partition("\n")[0]
        raise UsageError(f"{model} cannot be exported, so it is not trained: {reason}", _OTHER_NET_HINT) from error


def export_best(recipe: Recipe, classes: int, folder: Path, to: Path) -> int:
    """Write the graph of the best epoch kept in `folder` to `to` and return how many parameters the net has.

    Raises LungcliError when the weights are missing or damaged.
    """
    net = nets.build(recipe.model, classes, recipe.size)
    checkpoint.load_weights(folder / loop.BEST, net)
    onnx_export.export(net, recipe.size, to)
    return nets.parameter_count(net)


def with_final_micro_batch(recipe: Recipe, folder: Path) -> Recipe:
    """Return `recipe` with the micro-batch size that the training in `folder` was reduced to, if memory was short."""
    slices = checkpoint.position(folder).micro_batch
    return msgspec.structs.replace(recipe, micro_batch=slices) if slices else recipe


def remove_checkpoints(folder: Path) -> None:
    """Delete the checkpoints of a finished stage: only its weights, a third of their size, are needed later."""
    for name in (checkpoint.EPOCH_CHECKPOINT, checkpoint.STEP_CHECKPOINT):
        (folder / name).unlink(missing_ok=True)


def _require_patches(names: dict[nn.Module, str], side: int, data: TrainingData) -> None:
    """Raise UsageError without lesions, or where one of these nets does not take patches of `side` pixels."""
    hint = "leave `patches` out of the recipe"
    if data.lesions is None:
        raise UsageError("patches are cut around lesions, and the recipe names none", f"add --lesions DATA, or {hint}")
    for net, name in names.items():
        device = next((weight.device for weight in net.parameters()), torch.device("cpu"))
        try:
            with torch.inference_mode():
                net.eval()(torch.zeros(1, 1, side, side, device=device))
        # A model file that teaches has one size, and says so by ValueError.
        except (RuntimeError, AssertionError, ValueError) as error:
            raise UsageError(f"{name} takes no patches of {side} pixels", hint) from error


def _fit_head(net: nn.Module, recipe: Recipe, data: TrainingData) -> None:
    """Fit the head of `net` to the frozen features of the training part, and of a lesion in every healthy slice of it.

    Slices are not augmented otherwise. Raises UsageError for a net whose last layer is not linear.
    """
    compute = devices.choose_compute(recipe)
    net.to(compute.device).to(memory_format=torch.channels_last)
    slices, labels = torch.from_numpy(data.pixels[data.train][:, None]), data.labels[data.train]
    weights = data.sampling_weights()
    if data.lesions:
        malignant = data.classes.index(MALIGNANT)
        hosts = np.flatnonzero(labels != malignant)
        changed, masks = transplant(slices[hosts], data.lesions, torch.Generator().manual_seed(recipe.seed))
        has_lesion = masks.flatten(1).any(dim=1)
        changed, hosts = changed[has_lesion], hosts[has_lesion.numpy()]
        slices, labels = torch.cat([slices, changed]), np.append(labels, np.full(len(hosts), malignant))
        weights = np.append(weights, recipe.transplants * weights[hosts] / weights[hosts].sum())
    batches = (slices[start : start + _BATCH].to(compute.device).float() for start in range(0, len(slices), _BATCH))
    fine_tuning.fit_head(net, batches, labels, weights / weights.sum(), recipe.label_smoothing)


class _ModelFileTeacher(nn.Module):
    """A model file that teaches: its own preprocessing is inside, and it has no gradient."""

    def __init__(self, path: Path, threads: int) -> None:
        super().__init__()
        self.model = model_file.load(path, threads)

    def forward(self, slices: torch.Tensor) -> torch.Tensor:
        """Logits (N, K) of augmented slices, float32 (N, 1, S, S) in 0..255, in the levels that the file takes."""
        levels = slices[:, 0].round().clamp(0, 255).to(torch.uint8).contiguous().cpu().numpy()
        return torch.from_numpy(self.model.logits(levels)).to(slices.device)


def in_words(teacher: Teacher) -> str:
    """Name a teacher and, of one that is a model file, what runs it: torch, or without its weights ONNX Runtime."""
    if teacher.weights.suffix != ".onnx":
        return teacher.model
    return f"{teacher.model} in {'torch' if state_dict.restore(teacher.weights) else 'ONNX Runtime'}"


def load_teacher(teacher: Teacher, recipe: Recipe, classes: int) -> nn.Module:
    """Return a net that gives the logits (N, K) of slices (N, 1, S, S) in 0..255: in torch, where its weights are here.

    Raises LungcliError when the file is missing or damaged.
    """
    net: nn.Module | None
    if teacher.weights.suffix == ".onnx":
        net = state_dict.restore(teacher.weights)
        if not net:
            return _ModelFileTeacher(teacher.weights, recipe.threads)
    else:
        net = nets.build(teacher.model, classes, recipe.size)
        checkpoint.load_weights(teacher.weights, net)
    return net.to(devices.choose_compute(recipe).device).to(memory_format=torch.channels_last)
