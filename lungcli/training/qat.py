"""Quantization-aware fine-tuning: a trained net learns to predict the same in int8 as in float.

Quantization is simulated in float (Jacob et al., 1712.05877, section 3): weights are rounded to 255 levels per output
channel, activations to 256 levels per tensor, and gradients pass straight through. The result is a float net like any
other, to be quantized like any other.
"""

import copy
import dataclasses
import operator
from collections.abc import Generator
from pathlib import Path

import msgspec
import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.nn import functional
from torch.nn.utils import fusion, parametrize

from lungcli.core import cpu, paths
from lungcli.core.errors import UsageError
from lungcli.core.events import Event, StageStarted, now
from lungcli.core.recipe import Recipe
from lungcli.training import checkpoint, loop, nets, onnx_export
from lungcli.training.loop import TrainingData
from lungcli.training.losses import criteria

# Without batch normalisation, which is folded, a larger step would diverge.
_RATE = 1e-4
_TEMPERATURE = 2.0
# How fast the ranges of activations follow those of the batches.
_RANGE_DECAY = 0.05
_BATCH = 64
# The runtime fuses these into the layer before, so that only their output is rounded.
_ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.Hardtanh)
_ROUNDED = (
    nn.Conv2d,
    nn.Linear,
    nn.ReLU,
    nn.ReLU6,
    nn.Hardtanh,
    nn.Hardswish,
    nn.Hardsigmoid,
    nn.SiLU,
    nn.Sigmoid,
    nn.AdaptiveAvgPool2d,
    nn.AvgPool2d,
)
_ROUNDED_FUNCTIONS = frozenset(
    {operator.add, operator.iadd, operator.mul, torch.add, torch.mul, torch.cat, functional.adaptive_avg_pool2d}
)


def tune(recipe: Recipe, epochs: int, data: TrainingData, weights: Path, to: Path) -> Generator[Event, None, None]:
    """Fine-tune the net of `recipe` with these weights for `epochs`, and write its float graph to `to`.

    Its teacher is the float net itself, on the same augmented slices; the epoch that agrees with it best on the
    validation part is kept. Raises LungcliError when the weights are missing or damaged, UsageError when the net
    cannot be traced.
    """
    about = f"learn to predict in int8 as in float; balanced accuracy is agreement with float, {epochs} epochs"
    yield StageStarted(time=now(), stage="fine-tune", about=about, epochs=epochs)
    torch.manual_seed(recipe.seed)
    classes = len(data.classes)
    net = nets.build(recipe.model, classes, recipe.size)
    checkpoint.load_weights(weights, net)
    net.eval()
    teacher = copy.deepcopy(net)
    fold_batch_norm(net, recipe.model)
    relabelled = with_predicted_labels(teacher, data)
    fake_quantized = with_fake_quantization(net, recipe.model)
    _calibrate_ranges(fake_quantized, data)
    tuning_recipe = msgspec.structs.replace(
        recipe,
        epochs=epochs,
        learning_rate=min(_RATE, recipe.learning_rate),
        warmup=0.5,
        weight_decay=0.0,
        ema=0.9,
        patience=0,
        mixup=0.0,
        method="kd",
        alpha=1.0,
        temperature=_TEMPERATURE,
        label_smoothing=0.0,
        precision="float32",
    )
    labels = torch.from_numpy(relabelled.labels[relabelled.train])
    teachers = [teacher.to(memory_format=torch.channels_last)]
    criterion = criteria.distillation_loss(tuning_recipe, labels, classes, teachers, fake_quantized)
    with paths.scratch("fine-tuning") as folder:
        yield from loop.train("fine-tune", fake_quantized, criterion, tuning_recipe, relabelled, folder)
        checkpoint.load_weights(folder / loop.BEST, fake_quantized)
    for module in list(net.modules()):
        if parametrize.is_parametrized(module):
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=False)
    onnx_export.export(net, recipe.size, to)


def require_tunable(net: nn.Module, name: str) -> None:
    """Raise UsageError when the net called `name` cannot be traced, which fine-tuning needs."""
    _trace(net, name)


def fold_batch_norm(net: nn.Module, name: str) -> None:
    """Fold every batch normalisation that follows a convolution into it, as the runtime will; outputs stay the same.

    The net must be in evaluation mode. Raises UsageError when it cannot be traced.
    """
    modules = dict(net.named_modules())
    for node in _trace(net, name).nodes:
        before = node.args[0] if node.args else None
        if node.op != "call_module" or not isinstance(before, fx.Node) or before.op != "call_module":
            continue
        norm, convolution = modules[str(node.target)], modules[str(before.target)]
        if isinstance(norm, nn.BatchNorm2d) and isinstance(convolution, nn.Conv2d) and len(before.users) == 1:
            # A bias that is added here does not require a gradient by default.
            folded = fusion.fuse_conv_bn_eval(convolution, norm).requires_grad_()
            net.set_submodule(str(before.target), folded)
            net.set_submodule(str(node.target), nn.Identity())


def with_fake_quantization(net: nn.Module, name: str) -> fx.GraphModule:
    """Return `net`, already folded, with simulated quantization; it shares every weight with `net`.

    Raises UsageError when it cannot be traced.
    """
    graph = _trace(net, name)
    modules = dict(net.named_modules())
    for node in list(graph.nodes):
        if _is_module(node, modules, (nn.Identity, nn.Dropout)):
            node.replace_all_uses_with(node.all_input_nodes[0])
            graph.erase_node(node)
    fake_quantized = fx.GraphModule(net, graph)
    quantized: set[fx.Node] = set()
    for number, node in enumerate(list(graph.nodes)):
        layer = _is_module(node, modules, (nn.Conv2d, nn.Linear))
        has_quantized_input = not quantized.isdisjoint(node.all_input_nodes)
        if layer and not has_quantized_input:
            _insert_fake_quantize(fake_quantized, graph, node.all_input_nodes[0], f"rounding_{number}_in")
        if not (layer or has_quantized_input):
            continue
        quantized.add(node)
        is_quantized_later = node.users and all(_is_module(user, modules, _ACTIVATIONS) for user in node.users)
        if _is_quantized(node, modules) and not is_quantized_later:
            _insert_fake_quantize(fake_quantized, graph, node, f"rounding_{number}")
            quantized.update(node.users)
    graph.lint()
    fake_quantized.recompile()
    for module in modules.values():
        if isinstance(module, nn.Conv2d | nn.Linear):
            parametrize.register_parametrization(module, "weight", _FakeQuantizedWeight())
    return fake_quantized


def with_predicted_labels(net: nn.Module, data: TrainingData) -> TrainingData:
    """Return `data` with the predictions of `net` as labels, so that accuracy becomes agreement with `net`."""
    labels = data.labels.copy()
    rows = np.concatenate([data.train, data.validation])
    with torch.inference_mode():
        for start in range(0, len(rows), _BATCH):
            batch = rows[start : start + _BATCH]
            slices = torch.from_numpy(data.pixels[batch][:, np.newaxis]).float()
            labels[batch] = net(slices).argmax(dim=1).numpy()
    return dataclasses.replace(data, labels=labels)


class _FakeQuantizedWeight(nn.Module):
    """Weights rounded to the levels of their output channel: symmetric, as the runtime's quantizer rounds them."""

    def __init__(self) -> None:
        super().__init__()
        # One bit fewer without VNNI, as in the final int8 file.
        self.most = 63 if cpu.has_vnni() is False else 127

    def forward(self, weight: Tensor) -> Tensor:
        """The rounded weights, in the shape of the first argument: output channels first."""
        largest = weight.detach().abs().flatten(1).amax(dim=1)
        scale = largest.clamp(min=torch.finfo(torch.float32).tiny * self.most) / self.most
        zero = torch.zeros(len(scale), dtype=torch.int32, device=weight.device)
        return torch.fake_quantize_per_channel_affine(weight, scale, zero, 0, -self.most, self.most)


class _FakeQuantizedActivation(nn.Module):
    """Activations rounded to the 256 levels of a range that follows the training batches."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("low", torch.zeros(()))
        self.register_buffer("high", torch.zeros(()))
        self.low: Tensor
        self.high: Tensor

    def forward(self, values: Tensor) -> Tensor:
        """The values rounded, in the same shape; 0 is always a level."""
        if self.training:
            with torch.no_grad():
                pace = _RANGE_DECAY if self.high > self.low else 1.0
                self.low.lerp_(values.min().clamp(max=0).float(), pace)
                self.high.lerp_(values.max().clamp(min=0).float(), pace)
        scale = ((self.high - self.low) / 255).clamp(min=1e-9)
        zero = (-self.low / scale).round().clamp(0, 255).to(torch.int32)
        return torch.fake_quantize_per_tensor_affine(values, scale, zero, 0, 255)


def _calibrate_ranges(fake_quantized: nn.Module, data: TrainingData) -> None:
    """Initialise the ranges of activations with training slices, before the first step."""
    rows = data.train[:: max(1, len(data.train) // _BATCH)][:_BATCH]
    fake_quantized.eval()
    for module in fake_quantized.modules():
        module.train(isinstance(module, _FakeQuantizedActivation))
    with torch.no_grad():
        fake_quantized(torch.from_numpy(data.pixels[rows][:, np.newaxis]).float())


def _trace(net: nn.Module, name: str) -> fx.Graph:
    try:
        return fx.Tracer().trace(net)
    except (fx.proxy.TraceError, TypeError, NotImplementedError) as error:
        raise UsageError(f"{name} cannot be fine-tuned in int8: {error}", "leave --qat-epochs out") from error


def _insert_fake_quantize(fake_quantized: fx.GraphModule, graph: fx.Graph, node: fx.Node, name: str) -> None:
    """Insert fake quantization after `node`, for all that read it."""
    fake_quantized.add_submodule(name, _FakeQuantizedActivation())
    with graph.inserting_after(node):
        fake_quantize = graph.call_module(name, (node,))
    node.replace_all_uses_with(fake_quantize, delete_user_cb=lambda user: user is not fake_quantize)


def _is_module(node: fx.Node, modules: dict[str, nn.Module], kinds: tuple[type[nn.Module], ...]) -> bool:
    return node.op == "call_module" and isinstance(modules.get(str(node.target)), kinds)


def _is_quantized(node: fx.Node, modules: dict[str, nn.Module]) -> bool:
    if node.op == "call_function":
        return node.target in _ROUNDED_FUNCTIONS
    return _is_module(node, modules, _ROUNDED) or (node.op == "call_method" and node.target == "mean")
