"""Feature maps of a net, captured in its forward pass, for distillation losses on features."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from lungcli.core.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureMaps:
    """The feature maps of a net's last forward pass, by their side h: one for each resolution."""

    by_side: dict[int, Tensor] = field(default_factory=dict)

    def pop(self) -> list[Tensor]:
        """Return the maps (N, C, h, h) of the last pass, the finest first, and forget them."""
        maps = [self.by_side[side] for side in sorted(self.by_side, reverse=True)]
        self.by_side.clear()
        return maps


def capture_features(net: nn.Module, size: int, *, training: bool) -> FeatureMaps:
    """Capture the last feature map of each resolution, in passes of `net` in `training` or in evaluation mode only.

    The map of a resolution is the output of the outermost module that works at it, the last of several: a stage of a
    ResNet, a block of a MobileNet. Copies of the net write to the same place, so the mode tells whose maps they are.
    `net` is left in evaluation mode. Raises UsageError when it has no feature maps for slices of `size` × `size`.
    """
    maps = FeatureMaps()
    points = capture_points(net, size)
    if not points:
        raise UsageError("this net has no feature maps to compare", "choose a --method on logits, such as kd")
    for side, name in points.items():

        def record(module: nn.Module, _inputs: object, output: Tensor, side: int = side) -> None:
            # One module may work at several resolutions, such as a ReLU that a block uses twice.
            if module.training == training and output.shape[-1] == side:
                maps.by_side[side] = output

        net.get_submodule(name).register_forward_hook(record)
    return maps


def capture_points(net: nn.Module, size: int) -> dict[int, str]:
    """Return the name of the module whose output is the map of each side h > 1."""
    names = {module: name for name, module in net.named_modules()}
    points: dict[int, str] = {}

    def record(module: nn.Module, _inputs: object, output: object) -> None:
        if isinstance(output, Tensor) and output.ndim == 4 and output.shape[2] == output.shape[3] > 1:
            side, name = output.shape[3], names[module]
            if side not in points or name.count(".") <= points[side].count("."):
                points[side] = name

    # Batch normalisation is replaced by a synchronized one where several GPUs train.
    hooks = [module.register_forward_hook(record) for module in names if not isinstance(module, _BatchNorm)]
    net.eval()
    with torch.inference_mode():
        net(torch.zeros(1, 1, size, size, device=next(net.parameters()).device))
    for hook in hooks:
        hook.remove()
    return points
