"""Checkpoints: whole, or refused with a reason."""

from pathlib import Path

import pytest
import torch
from torch import nn

from lungcli.core.errors import LungcliError
from lungcli.training import checkpoint
from lungcli.training.checkpoint import Position


def trained(seed: int) -> tuple[nn.Module, nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(seed)
    net, average = nn.Linear(3, 2), nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(net.parameters())
    net(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    return net, average, optimizer


def test_everything_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    net, average, optimizer = trained(0)
    position = Position(recipe="r", epoch=3, batch=7, loss=1.25, best=(0.5, -1.0), best_epoch=2)
    checkpoint.save(path, position, net, average, optimizer)
    other, other_average, other_optimizer = trained(1)
    assert checkpoint.restore(path, "r", other, other_average, other_optimizer) == position
    for ours, theirs in ((net, other), (average, other_average)):
        for a, b in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True):
            assert torch.equal(a, b)
    for a, b in zip(optimizer.state.values(), other_optimizer.state.values(), strict=True):
        assert all(torch.equal(a[key], b[key]) for key in a)


def test_none_is_the_start(tmp_path: Path) -> None:
    assert checkpoint.restore(tmp_path / "none", "r", *trained(0)) == Position(recipe="r")


@pytest.mark.parametrize("content", [b"", b"\x00" * 64, b"not a checkpoint"])
def test_damage_is_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(content)
    with pytest.raises(LungcliError, match="cannot read"):
        checkpoint.restore(path, "r", *trained(0))


def test_weights_of_another_net_are_refused(tmp_path: Path) -> None:
    checkpoint.save_weights(tmp_path / "w", nn.Linear(3, 2))
    with pytest.raises(LungcliError, match="do not fit"):
        checkpoint.load_weights(tmp_path / "w", nn.Linear(4, 2))
