"""Nets as others' programs write them: adopted, they predict as those programs themselves do, within 1e-4."""

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import nn

from lungcli.core.errors import ModelFileError, UsageError
from lungcli.modelfile import adopt, foreign_net, model_file, model_paths
from lungcli.modelfile.adopt import Adopted
from lungcli.modelfile.foreign_net import Conventions
from lungcli.pipeline import adopt_weights
from lungcli.training import state_dict
from tests.modelfile import graphs

pytestmark = pytest.mark.long

CLASSES = ("benign", "malignant", "normal")
SIZE = 64
IMAGENET = foreign_net.SCALES["imagenet"]
TIMM_NET = "mobilenetv3_small_050"
# A mean and a deviation of channels that no convention has.
GREYS = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)


def said(**changes: Any) -> Conventions:
    mean, std = IMAGENET
    return Conventions(**{"classes": CLASSES, "mean": mean, "std": std, "resize": "stretch"} | changes)


def outputs(net: nn.Module, slices: NDArray[np.uint8], mean: Any, std: Any) -> torch.Tensor:
    """What torch itself gives for prepared slices (n, S, S), which it is given as its authors normalise pictures."""
    grey = torch.from_numpy(slices[:, None].astype(np.float32)).expand(-1, 3, -1, -1) / 255
    taken = (grey - torch.tensor(mean).reshape(1, -1, 1, 1)) / torch.tensor(std).reshape(1, -1, 1, 1)
    with torch.no_grad():
        given = net.eval()(taken)
    # Ultralytics' give probabilities, too.
    return given if isinstance(given, torch.Tensor) else given[1]


def probabilities(net: nn.Module, slices: NDArray[np.uint8], mean: Any, std: Any) -> NDArray[np.float32]:
    """Probabilities (n, K) of prepared slices."""
    shares: NDArray[np.float32] = outputs(net, slices, mean, std).softmax(dim=1).numpy()
    return shares


def require_same(name: str, expected: NDArray[Any], slices: NDArray[np.uint8]) -> None:
    model = model_file.load(model_paths.resolve(name))
    assert expected.std(axis=0).max() > 1e-3, "it tells slices apart"
    np.testing.assert_allclose(model.probabilities(slices), expected, atol=1e-4)


@torch.no_grad()
def lively(net: nn.Module, mean: Any, std: Any) -> nn.Module:
    """Statistics that are not those of a fresh net, and a head with which slices are told apart."""
    generator = torch.Generator().manual_seed(0)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None and module.running_var is not None:
            module.running_mean.copy_(torch.rand(module.running_mean.shape, generator=generator) / 10)
            module.running_var.copy_(torch.rand(module.running_var.shape, generator=generator) + 0.5)
        elif isinstance(module, nn.Conv2d):
            # As many authors begin with; what is smaller fades from layer to layer, and the head would raise its noise.
            nn.init.kaiming_normal_(module.weight, generator=generator)
    *_, head = (module for module in net.modules() if isinstance(module, nn.Linear | nn.Conv2d))
    assert head.bias is not None
    head.bias.zero_()
    logits = outputs(net, graphs.slices(3, size=SIZE), mean, std)
    spread = logits.std(dim=0).max()
    head.weight.div_(spread)
    if isinstance(head, nn.Linear):
        head.bias.sub_(logits.mean(dim=0) / spread)
    return net


def exported(net: nn.Module, path: Path, *, dynamo: bool) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net, (torch.zeros(1, 3, SIZE, SIZE),), path, dynamo=dynamo, external_data=False, verbose=False
        )
    return path


@pytest.mark.parametrize("dynamo", [False, True], ids=["torchscript", "dynamo"])
def test_a_resnet_of_torchvision_as_both_exporters_of_torch_write_it(tmp_path: Path, *, dynamo: bool) -> None:
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        net = lively(torchvision.models.resnet18(weights=None, num_classes=3), *IMAGENET)
    adopt.adopt(exported(net, tmp_path / "net.onnx", dynamo=dynamo), adopt.free_name("resnet"), said())
    slices = graphs.slices(3, size=SIZE)
    require_same("resnet", probabilities(net, slices, *IMAGENET), slices)


@pytest.fixture(scope="module")
def timm_net() -> nn.Module:
    timm: Any = pytest.importorskip("timm", reason="needs the extra `timm`")
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        net: nn.Module = timm.create_model(TIMM_NET, num_classes=3)
    return lively(net, *GREYS)


def test_a_mobilenet_of_timm_as_onnx(tmp_path: Path, timm_net: nn.Module) -> None:
    mean, std = GREYS
    source = exported(timm_net, tmp_path / "net.onnx", dynamo=True)
    adopt.adopt(source, adopt.free_name("timm-onnx"), said(mean=mean, std=std))
    slices = graphs.slices(3, size=SIZE)
    require_same("timm-onnx", probabilities(timm_net, slices, mean, std), slices)


def test_weights_of_timm_with_what_the_hub_has_beside_them(tmp_path: Path, timm_net: nn.Module) -> None:
    """Its name, classes and normalisation are in `config.json`, as `timm.models.push_to_hf_hub` writes it."""
    save_file(timm_net.state_dict(), tmp_path / "model.safetensors")
    mean, std = GREYS
    settings = {"input_size": [3, SIZE, SIZE], "mean": mean, "std": std, "crop_pct": 0.9, "interpolation": "bicubic"}
    config = {"architecture": TIMM_NET, "num_classes": 3, "label_names": CLASSES, "pretrained_cfg": settings}
    (tmp_path / "config.json").write_text(json.dumps(config))
    result: Adopted = adopt_weights.adopt_weights(
        tmp_path / "model.safetensors", adopt.free_name("timm"), Conventions(resize="stretch")
    )
    assert result.card.model == TIMM_NET
    assert result.in_words()["mean"] == ("0.5, 0.4, 0.3", "config.json beside it")
    assert result.reasons["resize"] == "the command line"
    slices = graphs.slices(3, size=SIZE)
    require_same("timm", probabilities(timm_net, slices, mean, std), slices)
    restored = state_dict.restore(model_paths.resolve("timm"))
    assert restored, "it teaches in torch"
    with torch.no_grad():
        shares = restored(torch.from_numpy(slices[:, None]).float()).softmax(dim=1)
    np.testing.assert_allclose(shares, probabilities(timm_net, slices, mean, std), atol=1e-4)


def test_weights_of_another_net_of_timm_are_refused(tmp_path: Path, timm_net: nn.Module) -> None:
    torch.save(timm_net.state_dict(), tmp_path / "net.pth")
    to = adopt.free_name("other")
    with pytest.raises(
        ModelFileError, match=r"not hold the weights of timm's mobilenetv3_small_075 with 3 classes: \d"
    ):
        adopt_weights.adopt_weights(tmp_path / "net.pth", to, said(size=SIZE), "mobilenetv3_small_075")
    with pytest.raises(UsageError, match="timm has no net 'mobilenet3_small'") as refused:
        adopt_weights.adopt_weights(tmp_path / "net.pth", to, said(size=SIZE), "mobilenet3_small")
    assert "mobilenetv3_small" in refused.value.hint
    assert not to.exists()


def test_what_transformers_writes_beside_a_net_is_taken(tmp_path: Path) -> None:
    """As `ViTImageProcessor` and `AutoConfig` save it: greys times a factor, less a mean."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(1)
        net = lively(torchvision.models.squeezenet1_1(num_classes=3), (0.5, 0.5, 0.5), (0.5, 0.25, 0.5))
    exported(net, tmp_path / "model.onnx", dynamo=False)
    (tmp_path / "config.json").write_text(
        json.dumps({"architectures": ["X"], "id2label": {"2": "normal", "0": "benign", "1": "malignant"}})
    )
    processor = {"do_rescale": True, "rescale_factor": 1 / 127.5, "do_normalize": True, "image_mean": [1.0, 1.0, 1.0]}
    processor |= {"image_std": [1.0, 0.5, 1.0], "do_resize": True, "size": {"height": SIZE, "width": SIZE}}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(processor))
    result = adopt.adopt(tmp_path / "model.onnx", adopt.free_name("vit"), Conventions())
    assert result.reasons["classes"] == "config.json beside it"
    assert result.reasons["resize"] == result.reasons["mean"] == "preprocessor_config.json beside it"
    slices = graphs.slices(3, size=SIZE)
    require_same("vit", probabilities(net, slices, (0.5, 0.5, 0.5), (0.5, 0.25, 0.5)), slices)


@pytest.mark.parametrize(
    ("processor", "size", "resize"),
    [
        ({"size": 224}, 224, "stretch"),
        ({"size": {"shortest_edge": 224}, "do_center_crop": True, "crop_size": 224}, 224, "crop"),
        (
            {"size": {"shortest_edge": 256}, "do_center_crop": True, "crop_size": {"height": 224, "width": 224}},
            224,
            None,
        ),
        ({"size": {"shortest_edge": 224}}, None, None),
        ({}, None, None),
    ],
)
def test_resizing_that_is_not_known_here_is_left_open(
    tmp_path: Path, processor: dict[str, Any], size: int | None, resize: str | None
) -> None:
    from lungcli.modelfile import foreign_metadata

    (tmp_path / "preprocessor_config.json").write_text(json.dumps(processor))
    conventions = foreign_metadata.beside(tmp_path / "net.onnx").parts[0][1]
    assert (conventions.size, conventions.resize) == (size, resize)


def test_damaged_files_beside_a_net_are_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"id2label": {"x": 1}}')
    graphs.brightness(tmp_path / "net.onnx")
    with pytest.raises(ModelFileError, match=r"config\.json is damaged: "):
        adopt.adopt(tmp_path / "net.onnx", adopt.free_name("x"), said())


# What Keras 3.15 itself predicted for the slices below (TensorFlow 2.21, a small separable net of 96 pixels).
KERAS = [[0.369305, 0.611474, 0.019221], [0.397249, 0.533439, 0.069311], [0.389632, 0.455889, 0.154479]]


@pytest.mark.parametrize("file", ["keras-tf2onnx.onnx", "keras-export.onnx"])
def test_a_net_of_keras_that_tf2onnx_has_written(file: str) -> None:
    """NHWC and softmax; one by `tf2onnx.convert`, one by `Model.export(format="onnx")`."""
    mean, std = foreign_net.SCALES["0..1"]
    to = adopt.free_name("keras")
    result = adopt.adopt(Path(__file__).parent / "files" / file, to, said(mean=mean, std=std))
    assert (result.conventions.layout, result.conventions.activation) == ("NHWC", "softmax")
    whole = np.random.default_rng(0).integers(0, 256, (3, 96, 96), dtype=np.uint8)
    slices = np.stack([whole[0], (whole[1] * 0.6).astype(np.uint8), (whole[2] * 0.3).astype(np.uint8)])
    require_same("keras", np.array(KERAS), slices)


def test_a_classifier_as_ultralytics_exports_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that it takes is in its metadata; the package is AGPL, so in an environment of its own."""
    monkeypatch.setenv("YOLO_OFFLINE", "1")
    monkeypatch.setenv("YOLO_CONFIG_DIR", str(tmp_path))
    ultralytics: Any = pytest.importorskip("ultralytics", reason="AGPL, and so no dependency")
    with torch.random.fork_rng(devices=()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        yolo = ultralytics.YOLO("yolov8n-cls.yaml")
        usual = yolo.model.args
        yolo.model = ultralytics.nn.tasks.ClassificationModel("yolov8n-cls.yaml", nc=3, verbose=False)
        yolo.model.args, yolo.model.task, yolo.model.names = usual, "classify", dict(enumerate(CLASSES))
        lively(yolo.model, *foreign_net.SCALES["0..1"])
        monkeypatch.chdir(tmp_path)
        file = Path(yolo.export(format="onnx", imgsz=SIZE, simplify=False, verbose=False))
    adopt.adopt(file, adopt.free_name("yolo"), Conventions())
    slices = graphs.slices(3, size=SIZE)
    require_same("yolo", probabilities(yolo.model, slices, *foreign_net.SCALES["0..1"]), slices)
