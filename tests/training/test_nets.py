"""Building nets: their stems, sizes and seeds."""

import pytest
import torch
from torch import nn

from lungcli.core import registry
from lungcli.core.errors import NetworkError, UsageError
from lungcli.training import nets


def test_the_published_small_net_has_its_published_head() -> None:
    net = nets.CapstoneCNN(3)
    assert [m.in_features for m in net.modules() if isinstance(m, nn.Linear)] == [3872, 500, 250]
    assert [m.out_features for m in net.modules() if isinstance(m, nn.Linear)] == [500, 250, 3]
    convolutions = [m for m in net.modules() if isinstance(m, nn.Conv2d)]
    assert [m.kernel_size for m in convolutions] == [(3, 3), (3, 3), (5, 5)]
    assert [(m.in_channels, m.out_channels, m.stride) for m in convolutions] == [
        (1, 128, (2, 2)),
        (128, 64, (1, 1)),
        (64, 8, (1, 1)),
    ]
    assert [type(m).__name__ for m in net.features] == ["Conv2d", "ReLU", "MaxPool2d"] * 2 + ["Conv2d", "ReLU"]
    assert net(torch.zeros(1, 1, 224, 224)).shape == (1, 3)


def test_the_published_small_net_takes_slices_of_49_pixels_and_no_smaller_ones() -> None:
    for size in (49, 50, 55, 64, 101):
        assert nets.CapstoneCNN(3, size)(torch.zeros(1, 1, size, size)).shape == (1, 3)
    with pytest.raises(UsageError, match="at least 49 pixels, not 48"):
        nets.CapstoneCNN(3, 48)


def test_greys_are_normalised_by_the_net_itself() -> None:
    slices = torch.rand(2, 1, 4, 4) * 255
    torch.testing.assert_close(nets.Normalised(nn.Identity(), 30.0, 60.0)(slices), (slices - 30) / 60)
    built = nets.build("mobilenetv2", 3, 64)
    row = registry.net("mobilenetv2")
    assert (built.mean, built.std) == (row.grey_mean, row.grey_std)


def test_a_grey_stem_keeps_stride_padding_and_bias() -> None:
    colour = nn.Conv2d(3, 4, (5, 3), stride=(2, 1), padding=(2, 1), bias=False)
    grey = next(m for m in nets.with_grey_stem(nn.Sequential(colour)).modules() if isinstance(m, nn.Conv2d))
    assert (grey.in_channels, grey.out_channels, grey.kernel_size) == (1, 4, (5, 3))
    assert (grey.stride, grey.padding, grey.bias) == ((2, 1), (2, 1), None)
    second = nn.Conv2d(3, 4, 3)
    assert second in set(nets.with_grey_stem(nn.Sequential(nn.Conv2d(1, 3, 3), second)).modules())


def test_summed_kernels_equal_three_equal_channels() -> None:
    torch.manual_seed(0)
    colour = nn.Conv2d(3, 4, 3, padding=1)
    holder = nn.Sequential(colour)
    grey = nets.with_grey_stem(nn.Sequential(colour))
    picture = torch.rand(1, 1, 8, 8)
    torch.testing.assert_close(grey(picture), holder(picture.repeat(1, 3, 1, 1)))


def test_a_seed_repeats_the_weights() -> None:
    def weights() -> torch.Tensor:
        torch.manual_seed(3)
        return torch.cat([weight.flatten() for weight in nets.build("resnet18", 3, 64).parameters()])

    assert torch.equal(weights(), weights())


def test_parameters_are_counted() -> None:
    assert nets.parameter_count(nn.Linear(4, 3)) == 15
    assert 2.0e6 < nets.parameter_count(nets.build("mobilenetv2", 3, 64)) < 2.4e6


def test_patches_must_fit() -> None:
    with pytest.raises(UsageError, match="patches of 16 pixels, and 100 is no multiple") as caught:
        nets.build("vit-b-16", 3, 100)
    assert "96" in caught.value.hint


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
