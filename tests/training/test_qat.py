"""Quantization-aware fine-tuning: folding, the places of fake quantization, and agreement with the float net."""

from pathlib import Path

import msgspec
import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from lungcli.core.errors import UsageError
from lungcli.core.events import EpochDone
from lungcli.training import checkpoint, loop, nets, qat, trainer
from lungcli.training.loop import TrainingData
from tests.training.test_loop import RECIPE, material


def with_statistics(name: str, size: int = 64) -> nn.Module:
    """A net whose batch normalisations have met something."""
    torch.manual_seed(0)
    net = nets.build(name, 3, size).eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            for buffer, low, high in ((module.running_mean, -0.1, 0.1), (module.running_var, 0.5, 2.0)):
                if buffer is not None:
                    buffer.uniform_(low, high)
    return net


@pytest.mark.parametrize("name", ["mobilenetv2", "resnet18", "densenet121"])
def test_folding_changes_no_output(name: str) -> None:
    """What normalises before a convolution, as in a DenseNet, is left alone."""
    net = with_statistics(name)
    slices = torch.rand(2, 1, 64, 64) * 255
    with torch.inference_mode():
        before = net(slices)
        qat.fold_batch_norm(net, name)
        torch.testing.assert_close(net(slices), before, rtol=1e-3, atol=1e-5)
    left = sum(isinstance(module, nn.BatchNorm2d) for module in net.modules())
    assert left == (62 if name == "densenet121" else 0)
    assert all(weight.requires_grad for weight in net.parameters())


def test_weights_are_rounded_by_output_channel() -> None:
    levels = qat._FakeQuantizedWeight()
    levels.most = 127
    rounded = levels(torch.tensor([[1.27, 0.014, -0.016], [127.0, 1.4, 0.0]]))
    torch.testing.assert_close(rounded, torch.tensor([[1.27, 0.01, -0.02], [127.0, 1.0, 0.0]]))
    assert torch.equal(levels(torch.zeros(2, 3)), torch.zeros(2, 3))


def test_activations_are_rounded_to_the_range_of_training_batches() -> None:
    seen = qat._FakeQuantizedActivation()
    seen(torch.tensor([-1.0, 1.55]))
    seen.eval()
    torch.testing.assert_close(seen(torch.tensor([0.0, 0.014, 9.0, -9.0])), torch.tensor([0.0, 0.01, 1.55, -1.0]))
    seen.train()
    seen(torch.tensor([-1.0, 3.55]))
    assert 1.55 < float(seen.high) < 3.55


def test_every_tensor_is_rounded_once_where_the_runtime_rounds_it() -> None:
    """The slice behind its normalisation, limited convolutions, unlimited ones, sums, pooled features, logits."""
    net = with_statistics("mobilenetv2")
    qat.fold_batch_norm(net, "mobilenetv2")
    playing = qat.with_fake_quantization(net, "mobilenetv2")
    limits = sum(isinstance(module, nn.ReLU6) for module in net.modules())
    layers = sum(isinstance(module, nn.Conv2d | nn.Linear) for module in net.modules())
    sums, pooled, first = 10, 1, 1
    assert (
        sum(isinstance(module, qat._FakeQuantizedActivation) for module in playing.modules())
        == layers + sums + pooled + first
    )
    assert limits < layers
    slices = torch.rand(2, 1, 64, 64) * 255
    playing(slices).sum().backward()
    assert all(weight.grad is not None for weight in playing.parameters())


def test_labels_of_both_parts_become_the_predictions_of_the_net() -> None:
    """More slices than are predicted at once; those of no part keep the labels they have."""
    rng = np.random.default_rng(0)
    found = TrainingData(
        pixels=rng.integers(0, 256, (150, 32, 32), dtype=np.uint8),
        labels=np.full(150, 2),
        classes=("benign", "malignant", "normal"),
        train=np.arange(0, 140, 2),
        validation=np.arange(1, 140, 2),
        digest="d",
    )
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(32 * 32, 2))
    told = qat.with_predicted_labels(net, found)
    with torch.inference_mode():
        expected = net(torch.from_numpy(found.pixels[:140, None]).float()).argmax(dim=1).numpy()
    assert set(expected) == {0, 1}
    np.testing.assert_array_equal(told.labels, [*expected, *[2] * 10])


def test_the_fine_tuned_net_predicts_as_the_float_net(tmp_path: Path) -> None:
    recipe = msgspec.structs.replace(RECIPE, learning_rate=1e-4)
    for _ in trainer.train("train", msgspec.structs.replace(RECIPE, epochs=3), material(), tmp_path / "float"):
        pass
    weights = tmp_path / "float" / loop.BEST
    events = list(qat.tune(recipe, 2, material(), weights, tmp_path / "tuned.onnx"))
    epochs = [event for event in events if isinstance(event, EpochDone)]
    assert [event.stage for event in epochs] == ["fine-tune", "fine-tune"]
    # Balanced accuracy is that of agreement with the float net.
    assert max(event.balanced_accuracy for event in epochs) > 0.9
    net = nets.build(recipe.model, 3, recipe.size).eval()
    checkpoint.load_weights(weights, net)
    slices = material().pixels[42:60][:, None]
    session = onnxruntime.InferenceSession(str(tmp_path / "tuned.onnx"), providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"slice": slices})
    with torch.inference_mode():
        before = net(torch.from_numpy(slices).float()).numpy()
    assert not np.array_equal(logits, before)
    assert (logits.argmax(axis=1) == before.argmax(axis=1)).mean() > 0.9


def test_a_net_that_cannot_be_traced_is_refused() -> None:
    class Moody(nn.Module):
        def forward(self, slices: torch.Tensor) -> torch.Tensor:
            return slices if slices.sum() > 0 else -slices

    with pytest.raises(UsageError, match="moody cannot be fine-tuned in int8") as caught:
        qat.fold_batch_norm(Moody(), "moody")
    assert "--qat-epochs" in caught.value.hint
