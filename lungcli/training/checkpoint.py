"""Everything a training needs to go on exactly where it was, as one safetensors file.

The position travels in the file's header, so weights and position can never disagree. There is no state of random
numbers to keep: every draw is a function of seed, epoch and batch.
"""

from pathlib import Path

import msgspec
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from lungcli.core import paths
from lungcli.core.errors import LungcliError


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """How far a training has come: `batch` steps of `epoch` (from 0) are done, with `loss` summed over them.

    `best` is the best validation score so far, reached in `best_epoch` (from 1; 0: none yet). `recipe` is the digest
    of what is trained: a checkpoint of something else is refused.
    """

    recipe: str
    epoch: int = 0
    batch: int = 0
    loss: float = 0.0
    best: tuple[float, float] = (-1.0, 0.0)
    best_epoch: int = 0


def save(path: Path, position: Position, net: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Write a checkpoint atomically."""
    tensors = {f"net.{key}": value for key, value in net.state_dict().items()}
    tensors |= {f"average.{key}": value for key, value in average.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{key}": torch.as_tensor(value) for key, value in state.items()}
    _write(path, tensors, {"position": msgspec.json.encode(position).decode()})


def restore(path: Path, recipe: str, net: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer) -> Position:
    """Load a checkpoint into the three and return its position; a start position when there is none.

    Raises LungcliError when the file is damaged or belongs to another recipe.
    """
    if not path.exists():
        return Position(recipe=recipe)
    tensors, header = _read(path)
    try:
        position = msgspec.json.decode(header.get("position", "{}"), type=Position)
        if position.recipe != recipe:
            raise LungcliError(f"{path} belongs to another recipe", "remove the run and start again")
        net.load_state_dict(_under("net.", tensors))
        average.load_state_dict(_under("average.", tensors))
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in _under("optimizer.", tensors).items():
            index, _, name = key.partition(".")
            state.setdefault(int(index), {})[name] = value
        optimizer.load_state_dict(optimizer.state_dict() | {"state": state})
    except (msgspec.DecodeError, ValueError, RuntimeError) as error:
        why = str(error).partition("\n")[0]
        raise LungcliError(
            f"{path} is no checkpoint of this training: {why}", "remove the run and start again"
        ) from error
    return position


def save_weights(path: Path, net: nn.Module) -> None:
    """Write the weights of `net` atomically."""
    _write(path, dict(net.state_dict()), {})


def load_weights(path: Path, net: nn.Module) -> None:
    """Load weights written by `save_weights`. Raises LungcliError when they are missing, damaged or do not fit."""
    tensors, _ = _read(path)
    try:
        net.load_state_dict(tensors)
    except RuntimeError as error:
        raise LungcliError(f"the weights in {path} do not fit this net", "remove the run and start again") from error


def _write(path: Path, tensors: dict[str, Tensor], header: dict[str, str]) -> None:
    plain = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    with paths.replacing(path) as partial:
        try:
            save_file(plain, partial, metadata=header)
        except SafetensorError as error:
            raise OSError(str(error)) from error


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
        return load_file(path), header
    except (OSError, SafetensorError) as error:
        raise LungcliError(f"cannot read {path}: {error}", "remove the run and start again") from error


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
