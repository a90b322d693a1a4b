"""Every row of the registry taken to its end: nets built, exported, accepted and quantized; losses learned from."""

import functools
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torchvision import models
from torchvision.models.swin_transformer import SwinTransformerBlock

from lungcli.core import recipe as recipes
from lungcli.core import registry
from lungcli.core.events import BatchDone
from lungcli.modelfile import model_file
from lungcli.quantize import int8_coverage
from lungcli.training import checkpoint, loop, nets, onnx_export, torchvision_nets, trainer
from lungcli.training.trainer import Teacher
from tests.modelfile import graphs
from tests.quantize.test_int8_coverage import proved as proved_int8
from tests.training.test_loop import material

pytestmark = pytest.mark.long

SIZE = 64


def narrow_alexnet(num_classes: int) -> nn.Module:
    net: nn.Module = models.AlexNet(num_classes)
    for name, inputs, outputs in (("1", 256 * 6 * 6, 64), ("4", 64, 64), ("6", 64, num_classes)):
        net.set_submodule(f"classifier.{name}", nn.Linear(inputs, outputs))
    return net


# Sisters of other nets, with the same operators: wider, deeper, grouped, or arranged in another way.
SISTERS = (
    "efficientnet-lite0",
    "efficientnet-lite2",
    "efficientnetv2-s",
    "googlenet",
    "mnasnet",
    "mobilenetv3-large",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnext50",
    "shufflenetv2",
    "wideresnet50",
)
# Two nets have no blocks that can be left out.
SMALLER = {"alexnet": narrow_alexnet, "densenet121": functools.partial(models.DenseNet, 32, (2, 2, 2, 2), 64)}


def lively(name: str) -> nets.Normalised:
    """A net of three classes with random batch normalisation statistics and a head that tells slices apart."""
    torch.manual_seed(0)
    net = nets.build(name, 3, SIZE)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)  # type: ignore[arg-type]
            nn.init.uniform_(module.running_var, 0.5, 2.0)  # type: ignore[arg-type]
    nn.init.normal_(list(net.parameters())[-2], std=0.05)
    return net


def saved_and_loaded(name: str, folder: Path) -> nets.Normalised:
    """A lively net whose weights have been through a file, also those that make its first convolution grey."""
    net, loaded = lively(name), nets.build(name, 3, SIZE)
    assert next(module for module in net.modules() if isinstance(module, nn.Conv2d)).in_channels == 1
    checkpoint.save_weights(folder / "weights", net)
    checkpoint.load_weights(folder / "weights", loaded)
    before, after = net.state_dict(), loaded.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[key]) for key, value in before.items())
    return loaded


def shorten(net: nn.Module) -> None:
    """Leave out blocks that keep the shape of their input, except the first of a class: they repeat its operators.

    The exporter takes up to a second for each. Every second block of a Swin transformer shifts its windows.
    """
    keeping: dict[type[nn.Module], list[nn.Module]] = defaultdict(list)

    def note(block: nn.Module, inputs: tuple[object, ...], output: object) -> None:
        taken = inputs[0]
        if isinstance(taken, torch.Tensor) and isinstance(output, torch.Tensor) and taken.shape == output.shape:
            keeping[type(block)].append(block)

    blocks = [
        block for block in net.modules() if len(list(block.modules())) > 4 and not isinstance(block, nn.Sequential)
    ]
    hooks = [block.register_forward_hook(note) for block in blocks]
    with torch.inference_mode():
        net(torch.zeros(1, 1, SIZE, SIZE))
    for hook in hooks:
        hook.remove()
    kept = defaultdict(lambda: 1, {SwinTransformerBlock: 2})
    surplus = {block for kind, same in keeping.items() for block in same[kept[kind] :]}
    for parent in list(net.modules()):
        for name, child in parent.named_children():
            if child in surplus:
                setattr(parent, name, nn.Identity())


@pytest.mark.parametrize("name", [name for name in registry.NETS if name not in SISTERS])
def test_a_net_is_built_loaded_exported_and_quantized_as_its_row_says(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name in SMALLER:
        monkeypatch.setattr(models, name, SMALLER[name])
    net = saved_and_loaded(name, tmp_path)
    shorten(net)
    require_as_row_says(name, net, tmp_path)


@pytest.mark.parametrize("name", SISTERS)
def test_a_sister_of_another_net_can_be_exported_with_the_evidence_its_row_says(name: str, tmp_path: Path) -> None:
    """The first step of the export, in which nets fail; the sister of this one goes through all steps."""
    net = saved_and_loaded(name, tmp_path)
    shorten(net)
    assert (onnx_export._evidence_parts(net, SIZE) is not None) == registry.net(name).evidence
    batch = {"slices": {0: torch.export.Dim("slices")}}
    program = torch.export.export(net, (torch.zeros(2, 1, SIZE, SIZE),), dynamic_shapes=batch)
    slices = torch.rand(5, 1, SIZE, SIZE) * 255
    with torch.inference_mode():
        torch.testing.assert_close(program.module()(slices), net(slices), rtol=1e-3, atol=1e-4)


@pytest.mark.long
@pytest.mark.parametrize("name", registry.NETS)
def test_a_net_of_full_depth_is_exported_and_quantized_as_its_row_says(name: str, tmp_path: Path) -> None:
    require_as_row_says(name, lively(name), tmp_path)


def require_as_row_says(name: str, net: nets.Normalised, folder: Path) -> None:
    """Export `net`, run the graph beside it, and quantize it."""
    row, graph = registry.net(name), folder / "graph" / "graph.onnx"
    graph.parent.mkdir()
    onnx_export.export(net, SIZE, graph)
    assert list(graph.parent.iterdir()) == [graph]
    model_file.write(graph, graphs.card(size=SIZE), folder / "float.onnx")
    model = model_file.load(folder / "float.onnx", threads=1)

    for count in (1, 5):
        slices = np.random.default_rng(count).integers(0, 256, (count, SIZE, SIZE), dtype=np.uint8)
        with torch.inference_mode():
            expected = net(torch.from_numpy(slices[:, None]).float()).numpy()
        np.testing.assert_allclose(model.logits(slices), expected, rtol=1e-3, atol=1e-4)
        evidence = model.evidence(slices)
        assert (evidence is not None) == row.evidence
        if evidence is not None:
            np.testing.assert_allclose(evidence.mean(axis=(2, 3)), expected, rtol=1e-3, atol=1e-4)

    graphs.quantized(folder / "float.onnx", graphs.slices(2, size=SIZE), folder / "int8")
    model_file.write(folder / "int8", graphs.card(size=SIZE, precision="int8"), folder / "int8.onnx")
    proof = proved_int8(folder / "float.onnx", folder / "int8.onnx", slices)
    assert int8_coverage.is_int8(proof, int8_coverage.FULL_SHARE) == (row.quantizable != "no")
    assert proof.size_ratio < 0.4


@pytest.mark.parametrize("name", ["convnext-tiny", "swin-t", "vit-b-16"])
def test_replaced_layers_compute_the_same_as_those_of_torchvision(name: str) -> None:
    sized = {"image_size": 32} if name == "vit-b-16" else {}
    theirs = getattr(models, name.replace("-", "_"))(num_classes=3, **sized).eval()
    build = getattr(torchvision_nets, name.replace("-", "_"))
    ours = (build(3, 32) if registry.net(name).sized else build(3)).eval()
    nn.init.normal_(list(theirs.parameters())[-2], std=0.05)
    ours.load_state_dict(theirs.state_dict())

    slices = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(ours(slices), theirs(slices))


@pytest.mark.parametrize("method", registry.METHODS)
def test_every_distillation_loss_trains_a_student_of_another_family(method: str, tmp_path: Path) -> None:
    settings = {"epochs": 1, "batch": 16, "size": SIZE, "patience": 0, "warmup": 0.5}
    compute = {"device": "cpu", "precision": "float32", "threads": 1}
    recipe = recipes.make(data="d", model="ownmodel", method=method, **settings, **compute)
    teacher = Teacher(model="shufflenetv2-x0.5", weights=tmp_path / "teacher")
    torch.manual_seed(1)
    checkpoint.save_weights(teacher.weights, nets.build(teacher.model, 3, SIZE))

    def losses_of(name: str, *teachers: Teacher) -> list[float]:
        events = trainer.train("student", recipe, material(), tmp_path / name, teachers)
        return [event.loss for event in events if isinstance(event, BatchDone)]

    distilled = losses_of("distilled", teacher)
    assert np.isfinite(distilled).all()
    assert distilled != losses_of("alone")
    assert (tmp_path / "distilled" / loop.BEST).read_bytes() != (tmp_path / "alone" / loop.BEST).read_bytes()
