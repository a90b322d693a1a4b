"""ImageNet weights out of a package: the right tensors in the right places, or a clear refusal."""

import dataclasses
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision.models import mobilenet_v2

from lungcli.core import registry
from lungcli.core.errors import LungcliError, UsageError
from lungcli.training import efficientnet_lite, nets, pretrained, torchvision_nets

ROW = dataclasses.replace(registry.net("mobilenetv2"), package="shipped_weights:inner/body.pt", weights="")


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package on the path that ships nothing yet; the file that `ROW` names."""
    (tmp_path / "shipped_weights" / "inner").mkdir(parents=True)
    # To import it would fail: only its files may be read.
    (tmp_path / "shipped_weights" / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path / "shipped_weights" / "inner" / "body.pt"


def test_tensors_go_by_order_whatever_they_are_called(package: Path) -> None:
    torch.manual_seed(1)
    theirs = mobilenet_v2(weights=None, num_classes=7).state_dict()
    torch.save({f"other.{i}": value for i, value in enumerate(theirs.values())}, package)
    torch.manual_seed(2)
    ours = mobilenet_v2(weights=None, num_classes=3)
    head = ours.classifier[1].weight.clone()

    pretrained.load_imagenet_weights(ours, ROW)

    for key, value in ours.state_dict().items():
        if not key.startswith("classifier") and not key.endswith("num_batches_tracked"):
            torch.testing.assert_close(value, theirs[key])
    torch.testing.assert_close(ours.classifier[1].weight, head)
    assert "shipped_weights" not in sys.modules


def test_weights_of_another_net_are_refused(package: Path) -> None:
    torch.save({"a": torch.zeros(3, 3)}, package)
    with pytest.raises(LungcliError, match="do not fit mobilenetv2"):
        pretrained.load_imagenet_weights(mobilenet_v2(weights=None, num_classes=3), ROW)


@pytest.mark.parametrize("content", [b"", b"not weights"])
def test_a_damaged_file_is_told(package: Path, content: bytes) -> None:
    package.write_bytes(content)
    with pytest.raises(LungcliError, match="cannot read the ImageNet weights of mobilenetv2") as caught:
        pretrained.load_imagenet_weights(mobilenet_v2(weights=None, num_classes=3), ROW)
    assert "shipped-weights" in caught.value.hint


def test_a_package_that_is_not_there_names_the_extra() -> None:
    row = dataclasses.replace(ROW, package="no_such_package_here:a.pt")
    with pytest.raises(UsageError, match="no-such-package-here, which is not installed") as caught:
        pretrained.load_imagenet_weights(mobilenet_v2(weights=None, num_classes=3), row)
    assert "lungcli[pretrained]" in caught.value.hint


@pytest.mark.parametrize(("make", "millions"), [(efficientnet_lite.lite0, 4.65), (efficientnet_lite.lite2, 6.09)])
def test_efficientnet_lite_has_the_published_size(make: object, millions: float) -> None:
    assert callable(make)
    assert nets.parameter_count(make(num_classes=1000)) / 1e6 == pytest.approx(millions, abs=0.01)


def test_efficientnet_lite_has_the_published_dropout_and_normalisation() -> None:
    for make, dropout in ((efficientnet_lite.lite0, 0.2), (efficientnet_lite.lite2, 0.3)):
        net = make(num_classes=3)
        assert [m.p for m in net.modules() if isinstance(m, nn.Dropout)] == [dropout]
        norms = {(m.eps, m.momentum) for m in net.modules() if isinstance(m, nn.BatchNorm2d)}
        assert norms == {(1e-3, 0.01)}


def test_efficientnet_lite_adds_what_went_in_where_shapes_allow() -> None:
    """Nine of sixteen blocks repeat another; convolutions that halve are padded below and to the right first."""
    net = efficientnet_lite.lite0(num_classes=3)
    assert sum(getattr(m, "residual", False) for m in net.modules()) == 9
    assert [m.padding for m in net.modules() if isinstance(m, nn.ZeroPad2d)] == [
        (0, 1, 0, 1),
        (0, 1, 0, 1),
        (1, 2, 1, 2),
        (0, 1, 0, 1),
        (1, 2, 1, 2),
    ]


def test_efficientnet_lite_halves_five_times() -> None:
    net = efficientnet_lite.lite0(num_classes=3).eval()
    with torch.inference_mode():
        assert net.features(torch.zeros(1, 3, 64, 64)).shape == (1, 1280, 2, 2)
        assert net(torch.zeros(2, 3, 64, 64)).shape == (2, 3)


def test_a_vision_transformer_of_another_size_stretches_what_it_knows_of_places() -> None:
    """A straight slope over 4 × 4 places is one over 7 × 7, corner to corner; the class token's stays."""
    slope = torch.linspace(0, 1, 4)[:, None] + torch.linspace(0, 3, 4)
    places = torch.cat([torch.tensor([9.0]), slope.flatten()])[None, :, None]
    stretched = pretrained._resized_embeddings(places, 1 + 7 * 7)
    assert stretched[0, 0] == 9
    across = torch.linspace(0, 1, 7)[:, None] + torch.linspace(0, 3, 7)
    corners = stretched[0, 1:, 0].view(7, 7)[::6, ::6]
    torch.testing.assert_close(corners, across[::6, ::6])
    torch.testing.assert_close(pretrained._resized_embeddings(places, 17), places)


def test_weights_of_a_vision_transformer_are_loaded_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    theirs = torchvision_nets.vit_b_16(1000, 32).state_dict()
    ours = torchvision_nets.vit_b_16(3, 48)
    monkeypatch.setattr(pretrained, "_downloaded", lambda _row: theirs)
    pretrained.load_imagenet_weights(ours, registry.net("vit-b-16"))
    key = "encoder.layers.encoder_layer_11.self_attention.in_proj_weight"
    torch.testing.assert_close(ours.state_dict()[key], theirs[key])
    assert ours.encoder.pos_embedding.shape == (1, 10, 768)
