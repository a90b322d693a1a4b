"""Building nets: architectures with one grey input channel, and the published table's own small one."""

from typing import cast

import torch
from torch import Tensor, nn

from lungcli.core import registry
from lungcli.core.errors import UsageError
from lungcli.core.names import imported
from lungcli.training.pretrained import load_imagenet_weights


class CapstoneCNN(nn.Module):
    """The published capstone's own net: convolutions of 128, 64 and 8 channels (3×3, 3×3, 5×5), dense 500 and 250.

    With a first stride of 2 a 224×224 slice reaches the head as the published 3,872 features (8 × 22 × 22); other
    sizes give 8 × side² features.
    """

    def __init__(self, num_classes: int, size: int = 224) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 128, 3, stride=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Conv2d(128, 64, 3),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Conv2d(64, 8, 5),
            nn.ReLU(inplace=True),
        )
        side = (((size - 3) // 2 + 1) // 2 - 2) // 2 - 4
        if side < 1:
            raise UsageError(f"ownmodel needs slices of at least 49 pixels, not {size}", "choose a larger --size")
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Linear(8 * side * side, 500),
            nn.ReLU(inplace=True),
            nn.Linear(500, 250),
            nn.ReLU(inplace=True),
            nn.Linear(250, num_classes),
        )

    def forward(self, slices: Tensor) -> Tensor:
        """Logits (N, K) of slices (N, 1, S, S)."""
        return cast(Tensor, self.classifier(self.features(slices)))


class Normalised(nn.Module):
    """A net whose input is grey values from 0 to 255, so that no caller can normalise them differently."""

    def __init__(self, net: nn.Module, mean: float, std: float) -> None:
        super().__init__()
        self.net, self.mean, self.std = net, mean, std

    def forward(self, slices: Tensor) -> Tensor:
        """Logits (N, K), float32 or the autocast type, of slices (N, 1, S, S) with values 0 to 255."""
        return cast(Tensor, self.net((slices - self.mean) * (1 / self.std)))


def build(name: str, classes: int, size: int, *, pretrained: bool = False) -> Normalised:
    """Build the net that `name` means for `classes` classes and slices of `size` × `size`.

    Raises UsageError for an unknown name or too small a size, and what `load_imagenet_weights` raises.
    """
    row = registry.net(name)
    net = build_in_colour(row, classes, size)
    if pretrained:
        load_imagenet_weights(net, row)
    normalised = Normalised(with_grey_stem(net), row.grey_mean, row.grey_std)
    _require_large_enough(normalised, name, size)
    return normalised


def build_in_colour(row: registry.ArchSpec, classes: int, size: int) -> nn.Module:
    """Build a net as its authors do: with three input channels, but for the capstone's, and no normalisation."""
    build_net = imported(row.build)
    return cast(nn.Module, build_net(num_classes=classes, size=size) if row.sized else build_net(num_classes=classes))


def parameter_count(net: nn.Module) -> int:
    """Number of trainable parameters of `net`."""
    return sum(weight.numel() for weight in net.parameters())


def with_grey_stem(net: nn.Module) -> nn.Module:
    """Replace the first convolution by one with a single input channel whose kernel is the sum of the three.

    One channel with summed kernels gives the same features as three equal channels, at a third of the cost.
    """
    for path, module in net.named_modules():
        if isinstance(module, nn.Conv2d):
            if module.in_channels == 3:
                net.set_submodule(path, _grey_convolution(module))
            return net
    raise UsageError("this net has no convolution")


def _grey_convolution(colour: nn.Conv2d) -> nn.Conv2d:
    grey = nn.Conv2d(
        1,
        colour.out_channels,
        cast(tuple[int, int], colour.kernel_size),
        stride=cast(tuple[int, int], colour.stride),
        padding=cast(tuple[int, int], colour.padding),
        bias=colour.bias is not None,
    )
    with torch.no_grad():
        grey.weight.copy_(colour.weight.sum(dim=1, keepdim=True))
        if grey.bias is not None and colour.bias is not None:
            grey.bias.copy_(colour.bias)
    return grey


def _require_large_enough(net: nn.Module, name: str, size: int) -> None:
    net.eval()
    try:
        with torch.inference_mode():
            net(torch.zeros(1, 1, size, size))
    except RuntimeError as error:
        raise UsageError(f"slices of {size} pixels are too small for {name}", "choose a larger --size") from error
