"""Checkpoints: everything needed to resume training exactly, as one safetensors file.

The position is in the file's header, so weights and position can never disagree. There is no random state to save:
every draw is a function of seed, epoch and batch.
"""

from pathlib import Path

import msgspec
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from lungcli.core import paths, versioned
from lungcli.core.errors import LungcliError
from lungcli.training import distributed, prune

_RESTART_HINT = "remove the run and start again"
FORMAT_VERSION = 2
"""Version 1 lacks the lowered learning rate and micro-batch size; it is read the same way."""

EPOCH_CHECKPOINT = "checkpoint.safetensors"
"""Written before the first epoch and after each one; a training that diverges restarts from it."""

STEP_CHECKPOINT = "checkpoint-within.safetensors"
"""Written within the next epoch, when training is stopped and at regular intervals."""


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """How far a training has come: `batch` steps of `epoch` (from 0) are done, with `loss` summed over them.

    `best` is the best validation score so far, reached in `best_epoch` (from 1; 0: none yet). `recipe` is the digest
    of what is trained: a checkpoint of something else is refused. The learning rate was halved `halvings` times;
    `micro_batch`, unless 0, is the micro-batch size that fits into memory; `setbacks` counts both kinds of restart.
    """

    format_version: int = FORMAT_VERSION
    recipe: str
    epoch: int = 0
    batch: int = 0
    loss: float = 0.0
    best: tuple[float, float] = (-1.0, 0.0)
    best_epoch: int = 0
    halvings: int = 0
    micro_batch: int = 0
    setbacks: int = 0

    @property
    def order(self) -> tuple[int, int, int]:
        """Sort key: larger is later in a training."""
        return (self.setbacks, self.epoch, self.batch)


_FORMAT = versioned.Format(kind="checkpoint", version=FORMAT_VERSION, content=Position)


def save(path: Path, position: Position, net: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Write a checkpoint atomically. Raises LungcliError when the disk is full or may not be written."""
    tensors = {f"net.{key}": value for key, value in net.state_dict().items()}
    tensors |= {f"average.{key}": value for key, value in average.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{key}": torch.as_tensor(value) for key, value in state.items()}
    _write(path, tensors, {"position": msgspec.json.encode(position).decode()})


def latest(folder: Path) -> Path:
    """Return the checkpoint in `folder` to resume from, whether or not it exists.

    Raises LungcliError for a damaged one, or one of a newer lungcli.
    """
    epoch, step = folder / EPOCH_CHECKPOINT, folder / STEP_CHECKPOINT
    if not step.exists():
        return epoch
    if not epoch.exists() or _read_position(step).order > _read_position(epoch).order:
        return step
    return epoch


def position(folder: Path) -> Position:
    """Return how far the training in `folder` has come. Raises LungcliError as `latest` does."""
    path = latest(folder)
    return _read_position(path) if path.exists() else Position(recipe="")


def remove(path: Path) -> None:
    """Delete an outdated checkpoint; only rank 0 does."""
    if distributed.process_group().rank == 0:
        path.unlink(missing_ok=True)


def restore(
    path: Path,
    recipe: str,
    net: nn.Module,
    average: nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    digest_format_1: str = "",
) -> Position:
    """Load a checkpoint into the three and return its position; a start position when there is none.

    `recipe` is the digest of what is trained, `digest_format_1` the one in checkpoints of version 1. Raises
    LungcliError when the file is damaged, of a newer lungcli, or belongs to another recipe.
    """
    if not path.exists():
        return Position(recipe=recipe)
    position = _read_position(path)
    if position.recipe not in (recipe, digest_format_1):
        raise LungcliError(f"{path} belongs to another recipe", _RESTART_HINT)
    tensors = _read_tensors(path)
    state: dict[int, dict[str, Tensor]] = {}
    try:
        for key, value in _with_prefix("optimizer.", tensors).items():
            index, _, name = key.partition(".")
            state.setdefault(int(index), {})[name] = value
        _load_state(net, _with_prefix("net.", tensors))
        _load_state(average, _with_prefix("average.", tensors))
        optimizer.load_state_dict(optimizer.state_dict() | {"state": state})
    except (RuntimeError, ValueError, KeyError) as error:
        raise LungcliError(f"the checkpoint {path} does not fit this net", _RESTART_HINT) from error
    return msgspec.structs.replace(position, recipe=recipe)


def save_weights(path: Path, net: nn.Module) -> None:
    """Write the weights of `net` atomically."""
    _write(path, dict(net.state_dict()), {})


def load_weights(path: Path, net: nn.Module, *, head: bool = True) -> None:
    """Load weights written by `save_weights`; weights of a pruned net make `net` as narrow.

    Without `head`, the last layer stays as it is.

    Raises LungcliError when they are missing, damaged or do not fit.
    """
    tensors = _read_tensors(path)
    if not head:
        last = f"{prune.last_layer_name(net)}."
        tensors |= {key: value for key, value in net.state_dict().items() if key.startswith(last)}
    try:
        prune.narrow(net, tensors)
        _load_state(net, tensors)
    except RuntimeError as error:
        raise LungcliError(f"the weights in {path} do not fit this net", _RESTART_HINT) from error


def _load_state(net: nn.Module, tensors: dict[str, Tensor]) -> None:
    # Torch keeps the versions of modules beside the tensors, and some (MNASNet) load none without.
    state = net.state_dict()
    state.clear()
    state.update(tensors)
    net.load_state_dict(state)


def _write(path: Path, tensors: dict[str, Tensor], header: dict[str, str]) -> None:
    """Write the file on rank 0; the other ranks hold the same tensors."""
    if distributed.process_group().rank:
        return
    plain = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    with paths.atomic_replace(path) as partial:
        try:
            save_file(plain, partial, metadata=header)
        except SafetensorError as error:
            raise OSError(str(error)) from error


def _read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise LungcliError(f"cannot read {path}: {error}", _RESTART_HINT) from error


def _read_position(path: Path) -> Position:
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise LungcliError(f"cannot read the checkpoint {path}: {error}", _RESTART_HINT) from error
    return _FORMAT.decode(header.get("position", "{}"), path, _RESTART_HINT)


def _with_prefix(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
