"""Pruning: what is cut, what stays, and that a file's shapes are enough to build the narrower net again."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from lungcli.core import registry
from lungcli.core.errors import LungcliError
from lungcli.training import checkpoint, nets, onnx_export, prune

# One of each kind of connection: plain, residual, inverted residual, squeeze-excitation, concatenation, no dense head.
NETS = [
    "ownmodel",
    "resnet18",
    "mobilenetv2",
    "efficientnet-lite0",
    "mobilenetv3-small",
    "googlenet",
    "squeezenet",
    "mnasnet",
    "regnet-y-400mf",
]
OTHERS = [name for name, row in registry.NETS.items() if row.prunable and name not in NETS]


def pruned(name: str, share: float = 0.5, size: int = 64) -> nets.Normalised:
    torch.manual_seed(0)
    net = nets.build(name, 3, size)
    slices = torch.randint(0, 256, (6, 1, size, size), dtype=torch.uint8)
    prune.prune(net, slices, torch.arange(6) % 3, 3, share)
    return net


@pytest.mark.parametrize("name", [*NETS, *(pytest.param(name, marks=pytest.mark.long) for name in OTHERS)])
def test_a_pruned_net_is_built_again_from_its_weights(name: str, tmp_path: Path) -> None:
    net, whole = pruned(name), nets.build(name, 3, 64)
    assert nets.parameter_count(net) < 0.6 * nets.parameter_count(whole)
    checkpoint.save_weights(tmp_path / "weights", net)
    checkpoint.load_weights(tmp_path / "weights", whole)
    slices = torch.rand(2, 1, 64, 64) * 255
    with torch.inference_mode():
        assert torch.equal(whole.eval()(slices), net(slices))
    told = [(module.in_channels, module.groups) for module in whole.modules() if isinstance(module, nn.Conv2d)]
    assert told == [(module.in_channels, module.groups) for module in net.modules() if isinstance(module, nn.Conv2d)]


@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
def test_widths_are_multiples_of_eight_and_both_ends_stay(share: float) -> None:
    net = pruned("mobilenetv2", share)
    layers = [module for module in net.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    assert (layers[0].weight.shape[1], layers[-1].weight.shape[0]) == (1, 3)
    widths = [len(layer.weight) for layer in layers[:-1]]
    assert all(width >= 8 and width % 8 == 0 for width in widths)
    usual = [
        len(module.weight) for module in nets.build("mobilenetv2", 3, 64).modules() if isinstance(module, nn.Conv2d)
    ]
    for width, whole in zip(widths, usual, strict=True):
        assert width <= whole
        assert share > 0.5 or abs(width - (1 - share) * whole) <= 8


def test_the_same_channels_go_every_time() -> None:
    first, again = (pruned("mobilenetv2").state_dict() for _ in range(2))
    assert all(torch.equal(first[key], again[key]) for key in first)


def test_channels_that_decide_nothing_go_first() -> None:
    """Half of the channels are read with a weight of 0: without them every verdict is as it was."""
    torch.manual_seed(0)
    first, second, head = nn.Conv2d(1, 16, 3), nn.Conv2d(16, 16, 3), nn.Linear(16, 3)
    net = nn.Sequential(first, nn.ReLU(), second, nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)
    with torch.no_grad():
        second.weight[:, ::2] = 0
        head.weight[:, 1::2] = 0
    slices = torch.randint(0, 256, (6, 1, 12, 12), dtype=torch.uint8)
    with torch.inference_mode():
        before = net(slices.float())
    prune.prune(net, slices, torch.arange(6) % 3, 3, 0.5)
    with torch.inference_mode():
        torch.testing.assert_close(net(slices.float()), before)
    assert [len(layer.weight) for layer in (first, second, head)] == [8, 8, 3]


def test_a_net_for_other_classes_or_of_another_kind_is_no_pruned_one(tmp_path: Path) -> None:
    checkpoint.save_weights(tmp_path / "two", nets.build("mobilenetv2", 2, 64))
    checkpoint.save_weights(tmp_path / "other", nets.build("resnet18", 3, 64))
    for name in ("two", "other"):
        with pytest.raises(LungcliError, match="do not fit this net"):
            checkpoint.load_weights(tmp_path / name, nets.build("mobilenetv2", 3, 64))


def test_without_the_head_weights_of_other_classes_are_loaded(tmp_path: Path) -> None:
    theirs, ours = nets.build("mobilenetv2", 2, 64), nets.build("mobilenetv2", 3, 64)
    checkpoint.save_weights(tmp_path / "two", theirs)
    own_head = ours.state_dict()["net.classifier.1.weight"].clone()
    checkpoint.load_weights(tmp_path / "two", ours, head=False)
    loaded = ours.state_dict()
    assert torch.equal(loaded.pop("net.classifier.1.weight"), own_head)
    loaded.pop("net.classifier.1.bias")
    assert all(torch.equal(value, theirs.state_dict()[name]) for name, value in loaded.items())


def test_a_net_never_gets_wider() -> None:
    net = pruned("mobilenetv2")
    before = nets.parameter_count(net)
    prune.narrow(net, nets.build("mobilenetv2", 3, 64).state_dict())
    assert nets.parameter_count(net) == before


def test_a_pruned_net_is_exported_with_its_evidence(tmp_path: Path) -> None:
    net = pruned("resnet18")
    onnx_export.export(net, 64, tmp_path / "graph.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "graph.onnx"), providers=["CPUExecutionProvider"])
    logits, evidence = session.run(["logits", "evidence"], {"slice": np.full((2, 1, 64, 64), 99, dtype=np.uint8)})
    np.testing.assert_allclose(evidence.mean(axis=(2, 3)), logits, rtol=1e-3, atol=1e-4)


def test_multiply_adds_are_counted() -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Flatten(), nn.Linear(4 * 32 * 32, 3))
    assert prune.multiply_adds(net, 32) == 32 * 32 * 9 * 4 + 4 * 32 * 32 * 3


@pytest.mark.parametrize("name", ["shufflenetv2", "shufflenetv2-x0.5", "convnext-tiny"])
def test_nets_said_not_to_be_prunable_are_not(name: str) -> None:
    """Nor are those with attention, on which the attempt takes minutes."""
    assert not registry.net(name).prunable
    with pytest.raises((ZeroDivisionError, UserWarning), match=r"division|modulo|Unwrapped"):
        pruned(name)
