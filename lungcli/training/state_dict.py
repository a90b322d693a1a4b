"""Weights that were trained elsewhere: a state dict without programs, of a net of the registry or of timm."""

import hashlib
import os
import sys
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save, save_file
from torch import Tensor, nn

from lungcli.core import names, paths, registry
from lungcli.core.errors import ModelFileError, UsageError
from lungcli.modelfile import foreign_net, model_file, model_paths, trial_run
from lungcli.modelfile.foreign_net import Conventions
from lungcli.training import nets, onnx_export
from lungcli.training.pretrained import UNREADABLE

_TRAINING_ONLY = "num_batches_tracked"
_SAVE_AGAIN = "save the weights again: net.state_dict()"
# Of a zip archive, and of the pickles that torch wrote before.
_BEGINNINGS = (b"PK", b"\x80")
# Loading torch takes most of it, and more on a busy machine.
_MOST_SECONDS, _MOST_WAITED = 20, 180
# Names and shapes of weights, in a file that is written.
_HEADER_BYTES = 1 << 22
_WRAPPERS = ("state_dict", "model_state_dict")

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Exported:
    """What an adoption needs of an exported net: its name, its `logits` (n, K) of slices, and all its weights.

    `weights` is what `restore` reads, with preprocessing and order of the classes.
    """

    name: str
    channels: int
    logits: NDArray[np.float32]
    weights: bytes


class Preprocessed(nn.Module):
    """A net from elsewhere that takes grey slices: (grey − mean) / std, grey in 0..1, in each of its channels.

    Its logits are in alphabetical order of the `classes`.
    """

    scale: Tensor
    offset: Tensor
    order: Tensor

    def __init__(
        self, net: nn.Module, channels: int, mean: Sequence[float], std: Sequence[float], classes: Sequence[str]
    ) -> None:
        super().__init__()
        self.net = net
        scale, offset = 1 / (255 * torch.tensor(std)), -torch.tensor(mean) / torch.tensor(std)
        self.register_buffer("scale", scale.expand(channels).reshape(1, channels, 1, 1).clone())
        self.register_buffer("offset", offset.expand(channels).reshape(1, channels, 1, 1).clone())
        self.register_buffer("order", torch.tensor(sorted(range(len(classes)), key=classes.__getitem__)))

    def forward(self, slices: Tensor) -> Tensor:
        """Logits (N, K) of slices (N, 1, S, S) with values 0 to 255."""
        return cast(Tensor, self.net(slices * self.scale + self.offset)).index_select(1, self.order)


def export(path: Path, said: Conventions, slices: NDArray[np.uint8], to: Path, net: str = "") -> Exported:
    """Write the net whose weights `path` holds to the ONNX file `to`.

    It is the net of timm called `net`, else one of the registry. Raises ModelFileError for a file that is no state
    dict, and for weights of another net; UsageError where timm is missing, or has no such net.
    """
    tensors = read(path)
    size, classes, shapes = said.size or 0, said.classes or (), _shapes_of(tensors)
    channels = 3 if any(len(shape) == 4 and shape[1] == 3 for shape in shapes.values()) else 1
    if said.channels not in (None, channels):
        raise ModelFileError(
            f"{path} holds weights of a net of {channels} channel{'s' * (channels != 1)}, not {said.channels}",
            "leave --channels out",
        )
    for option, given, only in (("--layout", said.layout, "NCHW"), ("--activation", said.activation, "logits")):
        if given not in (None, only):
            raise ModelFileError(f"{path} holds weights, whose net has {only}, not {given}", f"leave {option} out")
    foreign_net.require_normalisation(msgspec.structs.replace(said, channels=channels))
    if net:
        name = net.removeprefix("timm/").partition(".")[0]
        built = _of_timm(name, len(classes), channels)
        if (share := _likeness(_shapes_of(built.state_dict()), shapes)) < 1:
            raise ModelFileError(
                f"{path} does not hold the weights of timm's {name} with {len(classes)} classes: {share:.0%} agree",
                "name the net that they are of, and every class: --net NAME --classes A,B,…",
            )
    else:
        name, outputs = recognise(path, shapes, size, channels)
        if outputs != len(classes):
            raise ModelFileError(
                f"{path} holds a {name} of {outputs} classes, and {len(classes)} are named",
                "name every class: --classes A,B,…",
            )
        built = _of_registry(name, outputs, size, channels)
    built.load_state_dict(built.state_dict() | tensors)
    whole = Preprocessed(built, channels, said.mean or (), said.std or (), classes).eval()
    with torch.inference_mode():
        logits = whole(torch.from_numpy(slices[:, None].astype(np.float32))).numpy()
    onnx_export.export(whole, size, to)
    weights = save({key: value.contiguous().clone() for key, value in whole.state_dict().items()})
    return Exported(name=name, channels=channels, logits=logits, weights=weights)


def restore(path: Path) -> Preprocessed | None:
    """Return the net of an adopted model file from the weights beside it; None where it has none, or not these.

    It is None, too, where the net cannot be built now: timm may be missing. Raises ModelFileError for a damaged file.
    """
    card = model_file.read_card(path)
    adoption, weights = card.adopted, model_paths.weights_beside(path)
    if not adoption or not adoption.weights or not weights.is_file():
        return None
    if hashlib.sha256(weights.read_bytes()).hexdigest() != adoption.weights:
        return None
    try:
        if adoption.timm:
            net = _of_timm(card.model, len(card.classes), adoption.channels)
        else:
            net = _of_registry(card.model, len(card.classes), card.size, adoption.channels)
        whole = Preprocessed(net, adoption.channels, adoption.mean, adoption.std, card.classes)
        whole.load_state_dict(_read_safetensors(weights))
    except (UsageError, RuntimeError):
        return None
    return whole.eval()


def _of_registry(name: str, classes: int, size: int, channels: int) -> nn.Module:
    net = nets.build_in_colour(registry.net(name), classes, size)
    return net if channels == 3 else nets.with_grey_stem(net)


def _of_timm(name: str, classes: int, channels: int) -> nn.Module:
    """Build the net that timm calls `name`. Raises UsageError where it is missing, or has no such net."""
    try:
        import timm
    except ImportError as error:
        raise UsageError(
            "weights of a net of timm need the extra `timm`, which is not installed",
            "install it: pip install 'lungcli[timm]'; or export the net: torch.onnx.export(net.eval(), …)",
        ) from error
    if not timm.is_model(name):
        raise UsageError(f"timm has no net {name!r}", names.suggestion(name, timm.list_models()))
    net: nn.Module = timm.create_model(name, pretrained=False, num_classes=classes, in_chans=channels)
    return net


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
            raise ModelFileError(f"to read {path} takes more than {most:,} MB or {_MOST_SECONDS} s", _SAVE_AGAIN)
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
    trial_run.bound(_MOST_SECONDS, _HEADER_BYTES + 2 * length)
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


def recognise(path: Path, shapes: Shapes, size: int, channels: int) -> tuple[str, int]:
    """Return the net of the registry that has weights of these names and shapes, and its number of classes.

    Raises ModelFileError naming the nearest.
    """
    likeness: dict[str, float] = {}
    for name in registry.NETS:
        expected = _shapes(name, 2, size, channels)
        if not any(len(shape) == 4 and shape[1] == channels for shape in expected.values()):
            continue
        head = next(reversed(expected))
        if head in shapes and shapes[head] and shapes[head][0] >= 2:
            expected = _shapes(name, shapes[head][0], size, channels)
        if expected == shapes:
            return name, shapes[head][0]
        likeness[name] = _likeness(expected, shapes)
    nearest = max(likeness, key=likeness.__getitem__)
    raise ModelFileError(
        f"{path} holds weights of no net of the registry with {channels} channel{'s' * (channels != 1)}; the nearest, "
        f"{nearest}, shares {likeness[nearest]:.0%} of them",
        f"export the net itself: torch.onnx.export(net.eval(), torch.zeros(1, {channels}, 224, 224), 'net.onnx')",
    )


def _likeness(expected: Shapes, given: Shapes) -> float:
    """Return the share of weights, of all that either has, that both have."""
    return len(expected.items() & given.items()) / max(1, len(expected.items() | given.items()))


def _shapes(name: str, classes: int, size: int, channels: int) -> Shapes:
    """Return the shapes of the weights of a net, allocating none; the last is that of its head."""
    try:
        with torch.device("meta"):
            state = _of_registry(name, classes, size, channels).state_dict()
    except NotImplementedError:
        # Its initial values are drawn first and copied then.
        state = _of_registry(name, classes, size, channels).state_dict()
    except UsageError:
        # It takes no slices of this size.
        return {}
    return _shapes_of(state)


def _shapes_of(state: Mapping[str, Tensor]) -> Shapes:
    """Return the shapes of weights, without counters, which some save and others do not, and no prediction needs."""
    return {key: tuple(value.shape) for key, value in state.items() if not key.endswith(_TRAINING_ONLY)}


if __name__ == "__main__":
    serve(Path(sys.argv[1]), Path(sys.argv[2]))
