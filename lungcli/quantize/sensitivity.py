"""The layers of an ONNX net: which the logits depend on, which are first and last, which are most sensitive to int8."""

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lungcli.core import cpu, paths
from lungcli.modelfile import model_file, trial_run
from lungcli.quantize import static_qdq
from lungcli.quantize.static_qdq import Ranges

if TYPE_CHECKING:
    import onnx

LAYERS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
# Operators that round their output when they are quantized; others pass on what is rounded already.
_ROUNDING = LAYERS | {"Add", "Mul", "Sigmoid", "HardSigmoid", "HardSwish", "GlobalAveragePool", "AveragePool"}


def ancestors(net: "onnx.ModelProto", *outputs: str, known: Collection[str] = ()) -> "list[onnx.NodeProto]":
    """Return the nodes that the tensors `outputs` depend on, given the tensors `known`, in the order of execution."""
    needed, nodes = set(outputs), []
    for node in reversed(net.graph.node):
        if not needed.isdisjoint(node.output):
            needed.update(name for name in node.input if name not in known)
            nodes.append(node)
    return nodes[::-1]


def count_layers(net: "onnx.ModelProto") -> int:
    """Count the convolutions and matrix products that the logits depend on."""
    return sum(node.op_type in LAYERS for node in ancestors(net, model_file.OUTPUT))


def end_layers(net: "onnx.ModelProto") -> tuple[str, ...]:
    """Name the layers that no layer comes before, and those that none comes after (also for the activation map)."""
    behind: set[str] = set()
    first, feeding = set(), set()
    for node in net.graph.node:
        fed = not behind.isdisjoint(node.input)
        if node.op_type in LAYERS and not fed:
            first.add(node.name)
        if fed or node.op_type in LAYERS:
            behind.update(node.output)
    ahead: set[str] = set()
    for node in reversed(net.graph.node):
        feeds = not ahead.isdisjoint(node.output)
        if node.op_type in LAYERS and feeds:
            feeding.add(node.name)
        if feeds or node.op_type in LAYERS:
            ahead.update(node.input)
    return tuple(
        node.name
        for node in net.graph.node
        if node.op_type in LAYERS and (node.name in first or node.name not in feeding)
    )


def rank_by_sensitivity(
    net: "onnx.ModelProto", ranges: Ranges, slices: NDArray[np.uint8], *, per_channel: bool
) -> tuple[str, ...]:
    """Name the nodes that change the logits of prepared slices (n, S, S) when quantized alone, the worst first.

    The change is the mean square over slices and classes. Nodes that change nothing are left out.
    """
    in_float = set(static_qdq.normalization_nodes(net))
    candidates = [
        node.name
        for node in ancestors(net, model_file.OUTPUT)
        if node.op_type in _ROUNDING and node.name not in in_float
    ]
    before = _logits(net.SerializeToString(), slices)
    changes = {}
    with paths.scratch("layers") as folder:
        for name in candidates:
            alone = folder / "alone.onnx"
            static_qdq.write(static_qdq.quantize(net, ranges, per_channel=per_channel, only=[name]), alone)
            changes[name] = float(np.square(_logits(alone.read_bytes(), slices) - before).mean())
    return tuple(sorted((name for name in changes if changes[name] > 0), key=lambda name: -changes[name]))


def _logits(content: bytes, slices: NDArray[np.uint8]) -> NDArray[np.float32]:
    session = model_file.start(content, Path("the net"), model_file.session_options(cpu.physical_cores()))
    logits: NDArray[np.float32] = trial_run.run(session, [model_file.OUTPUT], {model_file.INPUT: slices[:, None]})[0]
    return logits
