"""Building nets: torchvision's architectures with one grey input channel, and the published table's own small one."""

import importlib
from typing import cast

import torch
from torch import Tensor, nn

from lungcli.core import catalog
from lungcli.core.errors import NetworkError, UsageError

# Mean and standard deviation of grey ImageNet pictures: what pretrained stems expect once their channels are summed.
GREY_MEAN, GREY_STD = 0.449 * 255, 0.226 * 255


class OwnModel(nn.Module):
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
            raise UsageError(f"ownmodel needs slices of at least 55 pixels, not {size}", "choose a larger --size")
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
    """A net that takes grey values from 0 to 255, so that no caller can normalise differently."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, slices: Tensor) -> Tensor:
        """Logits (N, K), float32 or the autocast type, of slices (N, 1, S, S) with values 0 to 255."""
        return cast(Tensor, self.net((slices - GREY_MEAN) * (1 / GREY_STD)))


def build(name: str, classes: int, size: int, *, pretrained: bool = False) -> Normalised:
    """Build the net that `name` means for `classes` classes and slices of `size` × `size`.

    Raises UsageError for unknown names, sizes too small and nets without ImageNet weights; NetworkError when the
    weights cannot be downloaded.
    """
    row = catalog.net(name)
    module, function = row.build.split(":")
    maker = getattr(importlib.import_module(module), function)
    if function == "OwnModel":
        net = maker(classes, size)
    elif function == "googlenet":
        net = maker(weights=None, num_classes=classes, aux_logits=False, init_weights=True)
    else:
        net = maker(weights=None, num_classes=classes)
    if pretrained:
        _load_imagenet(net, row)
    grey = Normalised(_with_grey_stem(net))
    _refuse_too_small(grey, name, size)
    return grey


def parameters(net: nn.Module) -> int:
    """Count the trainable numbers of `net`."""
    return sum(weight.numel() for weight in net.parameters())


def _with_grey_stem(net: nn.Module) -> nn.Module:
    """Replace the first convolution by one with a single input channel whose kernel is the sum of the three.

    Three equal channels and one channel with summed kernels give the same features, at a third of the cost.
    """
    for path, module in net.named_modules():
        if isinstance(module, nn.Conv2d):
            if module.in_channels == 3:
                net.set_submodule(path, _grey_convolution(module))
            return net
    raise UsageError("this net has no convolution to feed")


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


def _load_imagenet(net: nn.Module, row: catalog.Net) -> None:
    """Fill `net` with torchvision's ImageNet weights, all but the head, whose classes are others."""
    if not row.weights:
        raise UsageError(f"there are no ImageNet weights for {row.name!r}", "leave --pretrained out")
    from torchvision.models import get_weight

    try:
        weights = get_weight(row.weights).get_state_dict(progress=False, check_hash=True)
    except (OSError, RuntimeError) as error:
        raise NetworkError(
            f"cannot download the ImageNet weights of {row.name}: {error}",
            "go online and try again, or leave --pretrained out",
        ) from error
    own = net.state_dict()
    fitting = {key: value for key, value in weights.items() if key in own and own[key].shape == value.shape}
    missing, _ = net.load_state_dict(fitting, strict=False)
    if len(missing) > 2:
        raise NetworkError(f"the downloaded weights do not fit {row.name}: {len(missing)} tensors are missing")


def _refuse_too_small(net: nn.Module, name: str, size: int) -> None:
    net.eval()
    try:
        with torch.inference_mode():
            net(torch.zeros(1, 1, size, size))
    except RuntimeError as error:
        raise UsageError(f"slices of {size} pixels are too small for {name}", "choose a larger --size") from error
