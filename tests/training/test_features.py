"""Captured feature maps: one per resolution, of passes in the right mode only."""

import copy

import pytest
import torch
from torch import nn

from lungcli.core import registry
from lungcli.core.errors import UsageError
from lungcli.training import features, nets


def test_the_last_map_of_each_resolution_is_captured_finest_first() -> None:
    net = nets.build("resnet18", 3, 64)
    watched = features.capture_features(net, 64, training=False)
    slices = torch.rand(2, 1, 64, 64) * 255
    net.eval()(slices)
    maps = watched.pop()
    assert [tuple(each.shape) for each in maps] == [
        (2, 64, 32, 32),
        (2, 64, 16, 16),
        (2, 128, 8, 8),
        (2, 256, 4, 4),
        (2, 512, 2, 2),
    ]
    assert watched.pop() == []
    layers = nn.Sequential(*list(net.net.children())[:8]).eval()
    torch.testing.assert_close(maps[-1], layers((slices - net.mean) / net.std), rtol=1e-3, atol=1e-4)


def test_passes_in_the_other_mode_are_not_kept_and_so_no_validation_of_a_copy() -> None:
    net = nets.build("ownmodel", 3, 64)
    watched = features.capture_features(net, 64, training=True)
    average = copy.deepcopy(net)
    slices = torch.rand(2, 1, 64, 64)
    net.train()(slices)
    average.eval()(slices + 1)
    kept = watched.pop()
    assert kept
    assert all(each.requires_grad for each in kept)
    net.eval()(slices)
    assert watched.pop() == []


@pytest.mark.parametrize("name", ["squeezenet", "mobilenetv2", "swin-t"])
def test_nets_have_the_maps_their_rows_say(name: str) -> None:
    assert registry.net(name).feature_maps
    net = nets.build(name, 3, 64)
    watched = features.capture_features(net, 64, training=False)
    with torch.inference_mode():
        net.eval()(torch.rand(1, 1, 64, 64))
    assert min(each.shape[2] for each in watched.pop()) == (3 if name == "squeezenet" else 2)


def test_a_net_without_maps_is_refused() -> None:
    with pytest.raises(UsageError, match="no feature maps"):
        features.capture_features(nn.Sequential(nn.Flatten(), nn.Linear(64, 3)), 8, training=True)
