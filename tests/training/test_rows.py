"""Every row of the registry taken to its end: nets built, exported, accepted and quantized; losses learned from."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

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

SIZE = 64
# Wider, deeper or grouped sisters of nets that are tested always, with the same operators.
SISTERS = {
    "efficientnet-lite2",
    "efficientnetv2-s",
    "mobilenetv3-large",
    "resnet101",
    "resnet152",
    "resnext50",
    "shufflenetv2",
    "wideresnet50",
}
ROWS = [pytest.param(name, marks=[pytest.mark.long] if name in SISTERS else []) for name in registry.NETS]


def lively(name: str) -> nets.Normalised:
    """A net of three classes whose normalisations have met something, and whose head tells slices apart."""
    torch.manual_seed(0)
    net = nets.build(name, 3, SIZE)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)  # type: ignore[arg-type]
            nn.init.uniform_(module.running_var, 0.5, 2.0)  # type: ignore[arg-type]
    nn.init.normal_(list(net.parameters())[-2], std=0.05)
    return net


@pytest.mark.parametrize("name", ROWS)
def test_a_net_is_built_exported_accepted_and_quantized_as_its_row_says(name: str, tmp_path: Path) -> None:
    row, net, graph = registry.net(name), lively(name), tmp_path / "graph" / "graph.onnx"
    graph.parent.mkdir()
    assert next(module for module in net.modules() if isinstance(module, nn.Conv2d)).in_channels == 1

    checkpoint.save_weights(tmp_path / "weights", net)
    again = nets.build(name, 3, SIZE)
    checkpoint.load_weights(tmp_path / "weights", again)
    onnx_export.export(again, SIZE, graph)
    assert list(graph.parent.iterdir()) == [graph]
    model_file.write(graph, graphs.card(size=SIZE), tmp_path / "float.onnx")
    model = model_file.load(tmp_path / "float.onnx", threads=1)

    for count in (1, 5):
        slices = np.random.default_rng(count).integers(0, 256, (count, SIZE, SIZE), dtype=np.uint8)
        with torch.inference_mode():
            expected = net(torch.from_numpy(slices[:, None]).float()).numpy()
        np.testing.assert_allclose(model.logits(slices), expected, rtol=1e-3, atol=1e-4)
        evidence = model.evidence(slices)
        assert (evidence is not None) == row.evidence
        if evidence is not None:
            np.testing.assert_allclose(evidence.mean(axis=(2, 3)), expected, rtol=1e-3, atol=1e-4)

    graphs.quantized(tmp_path / "float.onnx", graphs.slices(4, size=SIZE), tmp_path / "int8")
    model_file.write(tmp_path / "int8", graphs.card(size=SIZE, precision="int8"), tmp_path / "int8.onnx")
    proved = proved_int8(tmp_path / "float.onnx", tmp_path / "int8.onnx", slices)
    assert int8_coverage.is_int8(proved, int8_coverage.FULL_SHARE) == (row.quantizable != "no")
    assert proved.size_ratio < 0.4


@pytest.mark.parametrize("name", ["convnext-tiny", "swin-t", "vit-b-16"])
def test_a_net_with_parts_written_anew_computes_what_torchvision_does(name: str) -> None:
    from torchvision import models

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
def test_a_loss_teaches_a_student_of_another_family(method: str, tmp_path: Path) -> None:
    settled = {"epochs": 1, "batch": 16, "size": SIZE, "patience": 0, "warmup": 0.5}
    place = {"device": "cpu", "precision": "float32", "threads": 1}
    recipe = recipes.make(data="d", model="ownmodel", method=method, **settled, **place)
    teacher = Teacher(model="shufflenetv2-x0.5", weights=tmp_path / "teacher")
    torch.manual_seed(1)
    checkpoint.save_weights(teacher.weights, nets.build(teacher.model, 3, SIZE))

    def losses_of(name: str, *teachers: Teacher) -> list[float]:
        events = trainer.learn("student", recipe, material(), tmp_path / name, teachers)
        return [event.loss for event in events if isinstance(event, BatchDone)]

    taught = losses_of("taught", teacher)
    assert np.isfinite(taught).all()
    assert taught != losses_of("alone")
    assert (tmp_path / "taught" / loop.BEST).read_bytes() != (tmp_path / "alone" / loop.BEST).read_bytes()
