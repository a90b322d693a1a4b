"""Feature maps that a net hands on while it goes through a batch, for losses on features."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from lungcli.core.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureMaps:
    """The feature maps of a net's last pass, by their side in places: one of each resolution that it works at."""

    by_side: dict[int, Tensor] = field(default_factory=dict)

    def pop(self) -> list[Tensor]:
        """Return the maps (N, C, h, h) of the last pass, the finest first, and let go of them."""
        maps = [self.by_side[side] for side in sorted(self.by_side, reverse=True)]
        self.by_side.clear()
        return maps


def capture_features(net: nn.Module, size: int, *, training: bool) -> FeatureMaps:
    """Have `net` keep the last feature maps of each resolution, in passes in training mode or in evaluation mode only.

    A resolution's map is what the outermost module that works at it gives, the last of several: a stage of a ResNet,
    a block of a MobileNet. Copies of the net keep theirs in the same place, so the mode tells whose they are. `net` is
    left in evaluation mode. Raises UsageError when it hands on no maps of slices of `size` × `size`.
    """
    found = FeatureMaps()
    points = _capture_points(net, size)
    if not points:
        raise UsageError("this net hands on no feature maps to compare", "choose a --method on logits, such as kd")
    for side, name in points.items():

        def keep(module: nn.Module, _inputs: object, output: Tensor, side: int = side) -> None:
            # One module may work at several resolutions, as a ReLU that a block uses again.
            if module.training == training and output.shape[-1] == side:
                found.by_side[side] = output

        net.get_submodule(name).register_forward_hook(keep)
    return found


def _capture_points(net: nn.Module, size: int) -> dict[int, str]:
    """Name the module that gives the map of each side, in places, that is larger than 1."""
    names = {module: name for name, module in net.named_modules()}
    found: dict[int, str] = {}

    def note(module: nn.Module, _inputs: object, output: object) -> None:
        if isinstance(output, Tensor) and output.ndim == 4 and output.shape[2] == output.shape[3] > 1:
            side, name = output.shape[3], names[module]
            if side not in found or name.count(".") <= found[side].count("."):
                found[side] = name

    # Normalisations are exchanged for others where several GPUs train.
    hooks = [module.register_forward_hook(note) for module in names if not isinstance(module, _BatchNorm)]
    net.eval()
    with torch.inference_mode():
        net(torch.zeros(1, 1, size, size, device=next(net.parameters()).device))
    for hook in hooks:
        hook.remove()
    return found
