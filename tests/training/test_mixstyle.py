"""Means and deviations of feature maps are blended with those of other slices, in training only."""

from pathlib import Path

import msgspec
import pytest
import torch
from torch import nn

from lungcli.core.errors import UsageError
from lungcli.core.events import BatchDone
from lungcli.training import loop, mixstyle, nets, trainer
from tests.training.test_loop import RECIPE, material

SIDE = 64


def test_a_blend_by_hand() -> None:
    """One channel of four places each: means 1 and 10, deviations 1 and 4; a quarter of the first is its own."""
    maps = torch.tensor([[0.0, 2, 0, 2], [6, 14, 6, 14]]).reshape(2, 1, 2, 2)
    own = torch.tensor([0.25, 1.0]).reshape(2, 1, 1, 1)
    blend = mixstyle.mixed(maps, torch.tensor([1, 0]), own)
    # 7.75 = 1/4 · 1 + 3/4 · 10, and 3.25 = 1/4 · 1 + 3/4 · 4.
    assert blend[0].flatten().tolist() == pytest.approx([4.5, 11, 4.5, 11], abs=1e-4)
    assert blend[1].flatten().tolist() == pytest.approx([6, 14, 6, 14], abs=1e-4)


def test_no_gradient_goes_into_the_statistics() -> None:
    """It is that of a scaling: 3.25 at each place, where through the mean and deviation it would be 0."""
    maps = torch.tensor([[0.0, 2, 0, 2], [6, 14, 6, 14]]).reshape(2, 1, 2, 2).requires_grad_()
    mixstyle.mixed(maps, torch.tensor([1, 0]), torch.full((2, 1, 1, 1), 0.25))[0].sum().backward()  # type: ignore[no-untyped-call]
    assert maps.grad is not None
    assert maps.grad[0].flatten().tolist() == pytest.approx([3.25] * 4, abs=1e-4)


def test_a_channel_without_any_deviation_stays_finite() -> None:
    maps = torch.stack([torch.zeros(1, 4, 4), torch.randn(1, 4, 4)])
    assert torch.isfinite(mixstyle.mixed(maps, torch.tensor([1, 0]), torch.full((2, 1, 1, 1), 0.5))).all()


@pytest.mark.parametrize("name", ["mobilenetv2", "ownmodel"])
def test_a_net_mixes_in_training_only(name: str) -> None:
    """Two maps, a quarter and an eighth as wide as the slice; `ownmodel` has none of exactly that side."""
    torch.manual_seed(1)
    plain, slices = nets.build(name, 3, SIDE), torch.rand(4, 1, SIDE, SIDE) * 255
    torch.manual_seed(1)
    mixing = nets.build(name, 3, SIDE)
    mixstyle.attach(mixing, SIDE, 1.0)
    assert sum(bool(module._forward_hooks) for module in mixing.modules()) == 2
    assert torch.equal(mixing(slices), plain.eval()(slices))

    for net in (plain, mixing):
        net.train()
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d | nn.Dropout):
                module.eval()
    outputs = []
    for seed in (2, 2, 3):
        torch.manual_seed(seed)
        outputs.append(mixing(slices))
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[0], outputs[2])
    assert not torch.equal(outputs[0], plain(slices))


def test_a_share_of_the_passes_is_mixed() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1, stride=4), nn.Conv2d(2, 2, 1)).eval()
    slices = torch.rand(4, 1, SIDE, SIDE)
    plain = net(slices)
    mixstyle.attach(net, SIDE, 0.3)
    net.train()
    torch.manual_seed(0)
    assert 15 <= sum(not torch.equal(net(slices), plain) for _ in range(100)) <= 45


def test_a_net_without_maps_is_refused() -> None:
    with pytest.raises(UsageError, match="no feature maps"):
        mixstyle.attach(nn.Sequential(nn.Flatten(), nn.Linear(SIDE**2, 3)), SIDE, 0.5)


def test_a_training_that_mixes_goes_on_as_if_it_had_not_stopped(tmp_path: Path) -> None:
    recipe = msgspec.structs.replace(RECIPE, epochs=2, mixstyle=0.7)
    list(trainer.train("train", recipe, material(), tmp_path / "whole"))
    stopped = trainer.train("train", recipe, material(), tmp_path / "stopped")
    for event in stopped:
        if isinstance(event, BatchDone):
            stopped.close()
    list(trainer.train("train", recipe, material(), tmp_path / "stopped"))
    whole, resumed = ((tmp_path / name / loop.BEST).read_bytes() for name in ("whole", "stopped"))
    assert whole == resumed

    list(trainer.train("train", msgspec.structs.replace(recipe, mixstyle=0.0), material(), tmp_path / "plain"))
    assert (tmp_path / "plain" / loop.BEST).read_bytes() != whole
