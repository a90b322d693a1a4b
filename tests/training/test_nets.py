"""Every net of the catalog: one grey channel in, classes out."""

import pytest
import torch
from torch import nn

from lungcli.core import registry
from lungcli.core.errors import NetworkError, UsageError
from lungcli.training import nets

# Deep nets differ from their shallow sisters in repetition only, and take seconds each.
SMALL = sorted(name for name, row in registry.NETS.items() if row.millions < 13)


@pytest.mark.parametrize("name", SMALL)
def test_grey_slices_in_logits_out(name: str) -> None:
    net = nets.build(name, 3, 96)
    net.eval()
    with torch.inference_mode():
        assert net(torch.rand(2, 1, 96, 96) * 255).shape == (2, 3)
    first = next(module for module in net.modules() if isinstance(module, nn.Conv2d))
    assert first.in_channels == 1


def test_the_published_small_net_has_its_published_head() -> None:
    net = nets.CapstoneCNN(3)
    assert [m.in_features for m in net.modules() if isinstance(m, nn.Linear)] == [3872, 500, 250]
    assert [m.kernel_size for m in net.modules() if isinstance(m, nn.Conv2d)] == [(3, 3), (3, 3), (5, 5)]
    assert net(torch.zeros(1, 1, 224, 224)).shape == (1, 3)


def test_summed_kernels_equal_three_equal_channels() -> None:
    torch.manual_seed(0)
    colour = nn.Conv2d(3, 4, 3, padding=1)
    holder = nn.Sequential(colour)
    grey = nets._with_grey_stem(nn.Sequential(colour))
    picture = torch.rand(1, 1, 8, 8)
    torch.testing.assert_close(grey(picture), holder(picture.repeat(1, 3, 1, 1)))


def test_a_seed_repeats_the_weights() -> None:
    def weights() -> torch.Tensor:
        torch.manual_seed(3)
        return torch.cat([weight.flatten() for weight in nets.build("resnet18", 3, 64).parameters()])

    assert torch.equal(weights(), weights())


def test_parameters_are_counted() -> None:
    assert nets.parameters(nn.Linear(4, 3)) == 15
    assert 2.0e6 < nets.parameters(nets.build("mobilenetv2", 3, 64)) < 2.4e6


@pytest.mark.parametrize(("name", "size"), [("ownmodel", 40), ("alexnet", 48)])
def test_too_small_a_slice_is_told(name: str, size: int) -> None:
    with pytest.raises(UsageError, match=r"too small|at least"):
        nets.build(name, 3, size)


def test_no_pretrained_weights_for_the_own_net() -> None:
    with pytest.raises(UsageError, match="no ImageNet weights for 'ownmodel'"):
        nets.build("ownmodel", 3, 64, pretrained=True)


def test_offline_by_choice_nothing_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    def asked(*args: object, **options: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path_factory.mktemp("torch")))
    monkeypatch.setenv("LUNGCLI_OFFLINE", "1")
    monkeypatch.setattr("urllib.request.urlopen", asked)
    with pytest.raises(NetworkError, match="LUNGCLI_OFFLINE forbids the network"):
        nets.build("shufflenetv2", 3, 64, pretrained=True)


def test_offline_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    import urllib.error

    def refuse(*args: object, **options: object) -> None:
        raise urllib.error.URLError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path_factory.mktemp("torch")))
    monkeypatch.setattr("urllib.request.urlopen", refuse)
    with pytest.raises(NetworkError, match="cannot download the ImageNet weights of shufflenetv2") as caught:
        nets.build("shufflenetv2", 3, 64, pretrained=True)
    assert "leave --pretrained out" in caught.value.hint
