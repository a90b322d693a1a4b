"""Weights that were trained elsewhere, of a net of the registry with three channels: a state dict without programs."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from lungcli.core import registry
from lungcli.core.errors import ModelFileError, UsageError
from lungcli.modelfile.foreign_net import Conventions
from lungcli.training import nets, onnx_export
from lungcli.training.pretrained import UNREADABLE

_TRAINING_ONLY = "num_batches_tracked"
_WRAPPERS = ("state_dict", "model_state_dict")

Shapes = dict[str, tuple[int, ...]]


class ColourInput(nn.Module):
    """A net of three channels that takes grey slices: (grey − mean) / std, grey in 0..1, in each channel."""

    scale: Tensor
    offset: Tensor

    def __init__(self, net: nn.Module, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.net = net
        self.scale: Tensor
        self.offset: Tensor
        self.register_buffer("scale", (1 / (255 * torch.tensor(std))).expand(3).reshape(1, 3, 1, 1).clone())
        self.register_buffer("offset", (-torch.tensor(mean) / torch.tensor(std)).expand(3).reshape(1, 3, 1, 1).clone())

    def forward(self, slices: Tensor) -> Tensor:
        """Logits (N, K) of slices (N, 1, S, S) with values 0 to 255."""
        return cast(Tensor, self.net(slices * self.scale + self.offset))


def export(path: Path, said: Conventions, slices: NDArray[np.uint8], to: Path) -> tuple[str, NDArray[np.float32]]:
    """Write the net whose weights `path` holds to the ONNX file `to`; return its name, and its logits of `slices`.

    Raises ModelFileError for a file that is no state dict, and for weights of a net that the registry does not have.
    """
    tensors = read(path)
    size, named = said.size or 0, said.classes or ()
    name, classes = recognise(path, {key: tuple(tensor.shape) for key, tensor in tensors.items()}, size)
    if classes != len(named):
        raise ModelFileError(
            f"{path} holds a {name} of {classes} classes, and {len(named)} are named",
            "name every class: --classes A,B,…",
        )
    net = nets.build_in_colour(registry.net(name), classes, size)
    net.load_state_dict(net.state_dict() | tensors)
    whole = ColourInput(net, said.mean or (), said.std or ()).eval()
    with torch.inference_mode():
        logits = whole(torch.from_numpy(slices[:, None]).float()).numpy()
    onnx_export.export(whole, size, to)
    return name, logits


def read(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a state dict; a pickle that holds anything but tensors is refused unread.

    Raises ModelFileError.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                # What is not packed is no larger than the file.
                if any(item.compress_type != zipfile.ZIP_STORED for item in archive.infolist()):
                    raise ModelFileError(f"{path} is packed, as torch does not write it", "save it with torch.save")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        raise ModelFileError(
            f"{path} is a pickle that may run programs, and is not read", "save the weights: net.state_dict()"
        ) from error
    except (OSError, SafetensorError, RuntimeError, ValueError, EOFError, LookupError, zipfile.BadZipFile) as error:
        reason = str(error).strip().partition("\n")[0][:200]
        raise ModelFileError(f"cannot read {path}: {reason}", "save the weights again: net.state_dict()") from error
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in content.items()
    ):
        raise ModelFileError(f"{path} holds no state dict", "save the weights: torch.save(net.state_dict(), FILE)")
    return {key.removeprefix("module."): value for key, value in content.items()}


def recognise(path: Path, shapes: Shapes, size: int) -> tuple[str, int]:
    """Return the net of the registry that has weights of these names and shapes, and its number of classes.

    Raises ModelFileError naming the nearest.
    """
    likeness: dict[str, float] = {}
    given = {key: shape for key, shape in shapes.items() if not key.endswith(_TRAINING_ONLY)}
    for name in registry.NETS:
        expected = _shapes(name, 2, size)
        if not any(shape[1:2] == (3,) for shape in expected.values() if len(shape) == 4):
            continue
        head = next(reversed(expected))
        if head in given and given[head] and given[head][0] >= 2:
            expected = _shapes(name, given[head][0], size)
        if expected == given:
            return name, given[head][0]
        likeness[name] = len(expected.items() & given.items()) / max(1, len(expected.items() | given.items()))
    nearest = max(likeness, key=likeness.__getitem__)
    raise ModelFileError(
        f"{path} holds weights of no net of the registry with three channels; the nearest, {nearest}, shares "
        f"{likeness[nearest]:.0%} of them",
        "export the net itself: torch.onnx.export(net.eval(), torch.zeros(1, 3, 224, 224), 'net.onnx')",
    )


def _shapes(name: str, classes: int, size: int) -> Shapes:
    """Return the shapes of the weights of a net, allocating none; the last is that of its head."""
    try:
        with torch.device("meta"):
            state = nets.build_in_colour(registry.net(name), classes, size).state_dict()
    except NotImplementedError:
        # Its initial values are drawn first and copied then.
        state = nets.build_in_colour(registry.net(name), classes, size).state_dict()
    except UsageError:
        # It takes no slices of this size.
        return {}
    return {key: tuple(value.shape) for key, value in state.items() if not key.endswith(_TRAINING_ONLY)}
