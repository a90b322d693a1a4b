"""MixStyle: feature maps whose means and deviations are blended with those of other slices (Zhou et al., 2104.02008).

What differs between scanners lies mostly in these statistics of the early maps, so a net that is trained on blends of
them relies less on where a slice comes from.
"""

import functools
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from lungcli.core.errors import UsageError
from lungcli.training import features

# As in the paper, section 3.2: λ from Beta(α, α), and what is added to variances.
_ALPHA = 0.1
_LEAST_VARIANCE = 1e-6
# Sides of the maps that are mixed are such parts of the slice's: the ends of the first stages, as in its experiments.
_PARTS = (4, 8)


def attach(net: nn.Module, size: int, share: float) -> None:
    """Have `net`, which takes slices of `size` × `size`, mix styles in a `share` (0 to 1) of its passes in training.

    The last maps of about a quarter and an eighth of the side are mixed. Draws come from torch's own random state on
    the CPU. `net` is left in evaluation mode, in which nothing is mixed. Raises UsageError where it has no such maps.
    """
    points = features.capture_points(net, size)
    if not points:
        raise UsageError(
            "this net has no feature maps whose styles could be mixed", "leave `mixstyle` out of the recipe"
        )
    for side in {_nearest(points, size / part) for part in _PARTS}:
        net.get_submodule(points[side]).register_forward_hook(functools.partial(_mix, share=share))


def mixed(maps: Tensor, others: Tensor, own: Tensor) -> Tensor:
    """Give each of `maps` (N, C, h, w) a blend of its channels' means and deviations and those of `others` (N,).

    `own` (N, 1, 1, 1) is the share of its own, λ (section 3.2 of the paper). No gradient goes into the statistics.
    """
    mean = maps.mean(dim=(2, 3), keepdim=True).detach()
    deviation = (maps.var(dim=(2, 3), keepdim=True, correction=0) + _LEAST_VARIANCE).sqrt().detach()
    blended_mean, blended_deviation = (torch.lerp(value[others], value, own) for value in (mean, deviation))
    return (maps - mean) / deviation * blended_deviation + blended_mean


def _nearest(sides: Iterable[int], wanted: float) -> int:
    return min(sides, key=lambda side: abs(side - wanted))


def _mix(module: nn.Module, _inputs: object, output: Tensor, share: float) -> Tensor:
    if not module.training or torch.rand(()) >= share:
        return output
    own = torch.distributions.Beta(_ALPHA, _ALPHA).sample(torch.Size((len(output), 1, 1, 1)))
    others = torch.randperm(len(output))
    # Small deviations are lost in 8 bits of mantissa.
    with torch.autocast(output.device.type, enabled=False):
        return mixed(output.float(), others.to(output.device), own.to(output.device)).to(output.dtype)
