"""Weights that were trained elsewhere, of a net with three channels: a state dict without programs."""

import os
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from lungcli.core import names, paths, registry
from lungcli.core.errors import ModelFileError, UsageError
from lungcli.modelfile import trial_run
from lungcli.modelfile.foreign_net import Conventions
from lungcli.training import nets, onnx_export
from lungcli.training.pretrained import UNREADABLE

_TRAINING_ONLY = "num_batches_tracked"
_SAVE_AGAIN = "save the weights again: net.state_dict()"
# Of a zip archive, and of the pickles that torch wrote before.
_BEGINNINGS = (b"PK", b"\x80")
# Loading torch takes most of it, on a busy machine.
_MOST_WAITED = 180
# Names and shapes of weights, in a file that is written.
_HEADER_BYTES = 1 << 22
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


def export(
    path: Path, said: Conventions, slices: NDArray[np.uint8], to: Path, net: str = ""
) -> tuple[str, NDArray[np.float32]]:
    """Write the net whose weights `path` holds to the ONNX file `to`; return its name, and its logits of `slices`.

    It is the net of timm called `net`, else one of the registry. Raises ModelFileError for a file that is no state
    dict, and for weights of another net; UsageError where timm is missing, or has no such net.
    """
    tensors = read(path)
    size, named = said.size or 0, said.classes or ()
    shapes = _shapes_of(tensors)
    if net:
        name, built = _of_timm(path, net, shapes, len(named))
    else:
        name, classes = recognise(path, shapes, size)
        if classes != len(named):
            raise ModelFileError(
                f"{path} holds a {name} of {classes} classes, and {len(named)} are named",
                "name every class: --classes A,B,…",
            )
        built = nets.build_in_colour(registry.net(name), classes, size)
    built.load_state_dict(built.state_dict() | tensors)
    whole = ColourInput(built, said.mean or (), said.std or ()).eval()
    with torch.inference_mode():
        logits = whole(torch.from_numpy(slices[:, None].astype(np.float32))).numpy()
    onnx_export.export(whole, size, to)
    return name, logits


def _of_timm(path: Path, net: str, shapes: Shapes, classes: int) -> tuple[str, nn.Module]:
    """Build the net that timm calls `net`, with or without the name of its weights. Raises as `export` does."""
    try:
        import timm
    except ImportError as error:
        raise UsageError(
            "weights of a net of timm need the extra `timm`, which is not installed",
            "install it: pip install 'lungcli[timm]'; or export the net: torch.onnx.export(net.eval(), …)",
        ) from error
    name = net.removeprefix("timm/").partition(".")[0]
    if not timm.is_model(name):
        raise UsageError(f"timm has no net {net!r}", names.suggestion(name, timm.list_models()))
    built: nn.Module = timm.create_model(name, pretrained=False, num_classes=classes)
    if (share := _likeness(_shapes_of(built.state_dict()), shapes)) < 1:
        raise ModelFileError(
            f"{path} does not hold the weights of timm's {name} with {classes} classes: {share:.0%} of them agree",
            "name the net that they are of, and every class: --net NAME --classes A,B,…",
        )
    return name, built


def read(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a state dict; a pickle that holds anything but tensors is refused unread.

    A pickle is read in a process with limits of memory and time, for even one of tensors alone can ask for any amount;
    a .safetensors file has no more in it than its length. Raises ModelFileError.
    """
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    with paths.scratch("state-dict") as scratch:
        plain = scratch / "weights.safetensors"
        code, reason = trial_run.in_process("lungcli.training.state_dict", str(path), str(plain), seconds=_MOST_WAITED)
        if code == trial_run.REFUSED:
            message, _, hint = reason.rpartition("\n")
            raise ModelFileError(message, hint)
        if code:
            most = trial_run.most_bytes(path.stat().st_size) >> 20
            raise ModelFileError(
                f"to read {path} takes more than {most:,} MB or {trial_run.MOST_SECONDS} s", _SAVE_AGAIN
            )
        return _read_safetensors(plain)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError, ValueError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> ModelFileError:
    return ModelFileError(f"cannot read {path}: {str(error).strip().partition(chr(10))[0][:200]}", _SAVE_AGAIN)


def _read_pickle(path: Path) -> dict[str, Tensor]:
    try:
        with path.open("rb") as file:
            if not file.read(2).startswith(_BEGINNINGS):
                raise ModelFileError(f"{path} is no file of weights", _SAVE_AGAIN)
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
    except (OSError, RuntimeError, ValueError, EOFError, LookupError, zipfile.BadZipFile) as error:
        raise _unreadable(path, error) from error
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in content.items()
    ):
        raise ModelFileError(f"{path} holds no state dict", "save the weights: torch.save(net.state_dict(), FILE)")
    return {key.removeprefix("module."): value for key, value in content.items()}


def serve(path: Path, to: Path) -> None:
    """Read a pickle of weights within limits, and write its tensors to a .safetensors file.

    Ends with a code and, where they cannot be read, the reason and what to do on stdout.
    """
    length = path.stat().st_size if path.is_file() else 0
    trial_run.bound(trial_run.MOST_SECONDS, _HEADER_BYTES + 2 * length)
    # Torch itself is loaded by now.
    trial_run.bound_memory(trial_run.most_bytes(length), further=True)
    try:
        # Tensors may share memory, and need not lie in order.
        save_file({key: value.contiguous().clone() for key, value in _read_pickle(path).items()}, to)
    except ModelFileError as error:
        sys.stdout.write(f"{error.message}\n{error.hint}")
        sys.stdout.flush()
        os._exit(1 if "allocate memory" in error.message else trial_run.REFUSED)
    except (MemoryError, RuntimeError, OSError, SafetensorError):
        os._exit(1)
    os._exit(0)


def recognise(path: Path, shapes: Shapes, size: int) -> tuple[str, int]:
    """Return the net of the registry that has weights of these names and shapes, and its number of classes.

    Raises ModelFileError naming the nearest.
    """
    likeness: dict[str, float] = {}
    for name in registry.NETS:
        expected = _shapes(name, 2, size)
        if not any(shape[1:2] == (3,) for shape in expected.values() if len(shape) == 4):
            continue
        head = next(reversed(expected))
        if head in shapes and shapes[head] and shapes[head][0] >= 2:
            expected = _shapes(name, shapes[head][0], size)
        if expected == shapes:
            return name, shapes[head][0]
        likeness[name] = _likeness(expected, shapes)
    nearest = max(likeness, key=likeness.__getitem__)
    raise ModelFileError(
        f"{path} holds weights of no net of the registry with three channels; the nearest, {nearest}, shares "
        f"{likeness[nearest]:.0%} of them",
        "export the net itself: torch.onnx.export(net.eval(), torch.zeros(1, 3, 224, 224), 'net.onnx')",
    )


def _likeness(expected: Shapes, given: Shapes) -> float:
    """Return the share of weights, of all that either has, that both have."""
    return len(expected.items() & given.items()) / max(1, len(expected.items() | given.items()))


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
    return _shapes_of(state)


def _shapes_of(state: Mapping[str, Tensor]) -> Shapes:
    """Return the shapes of weights, without counters, which some save and others do not, and no prediction needs."""
    return {key: tuple(value.shape) for key, value in state.items() if not key.endswith(_TRAINING_ONLY)}


if __name__ == "__main__":
    serve(Path(sys.argv[1]), Path(sys.argv[2]))
