"""Bias correction: what rounding adds to the mean of a layer's outputs, the layer's bias takes off again.

Nagel et al. (1906.04721), section 4.2, with means measured on slices as in its appendix. It costs a file nothing, and
saves nets whose rounding errors do not cancel out, as in depthwise convolutions, which sum nine products only.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lungcli.core import machine
from lungcli.inference import layers, modelfile

if TYPE_CHECKING:
    import onnx
    import onnxruntime

# At once: the first activations of a large net are tens of megabytes a slice.
_BATCH = 8


def correct(rounded: "onnx.ModelProto", net: "onnx.ModelProto", slices: NDArray[np.uint8]) -> None:
    """Change the biases of `rounded`, the int8 form of `net`, until its layers give the means that those of `net` give.

    Layers are matched by name and follow one another: each is measured with those before it corrected already, on
    prepared slices of training groups, uint8 (n, S, S), n ≥ 1. A layer without a bias stays as it is.
    """
    from onnx import numpy_helper

    twins = {node.name: node for node in rounded.graph.node}
    named = [
        node
        for node in layers.towards(net, modelfile.OUTPUT)
        if node.op_type in layers.LAYERS and node.name in twins and len(node.input) > 2
    ]
    wanted = _means(net, [node.output[0] for node in named], slices) if named else []
    weights = {tensor.name: tensor for tensor in rounded.graph.initializer}
    producers = {name: node for node in rounded.graph.node for name in node.output}
    for node, mean in zip(named, wanted, strict=True):
        twin = twins[node.name]
        (seen,) = _means(rounded, [twin.output[0]], slices)
        kept = producers.get(twin.input[2])
        if kept is None:
            bias, step = weights[twin.input[2]], np.ones((), dtype=np.float32)
        else:
            bias, step = weights[kept.input[0]], numpy_helper.to_array(weights[kept.input[1]])
        before = numpy_helper.to_array(bias)
        change = (mean - seen) / step
        after = before + (change if kept is None else np.rint(change))
        bias.CopyFrom(numpy_helper.from_array(after.astype(before.dtype), bias.name))


def _means(net: "onnx.ModelProto", outputs: Sequence[str], slices: NDArray[np.uint8]) -> list[NDArray[np.float64]]:
    """Return, for each tensor (n, C, …) named, its mean a channel (C,) over slices and places."""
    session = _up_to(net, outputs)
    sums = [np.zeros(())] * len(outputs)
    for start in range(0, len(slices), _BATCH):
        batch = slices[start : start + _BATCH, None]
        for number, tensor in enumerate(session.run(list(outputs), {modelfile.INPUT: batch})):
            places = tuple(axis for axis in range(tensor.ndim) if axis != 1)
            sums[number] = sums[number] + len(batch) * tensor.mean(axis=places, dtype=np.float64)
    return [total / len(slices) for total in sums]


def _up_to(net: "onnx.ModelProto", outputs: Sequence[str]) -> "onnxruntime.InferenceSession":
    """Start the runtime on what leads to some tensors only: layers near the input are measured in no time."""
    import onnxruntime
    from onnx import TensorProto, helper

    nodes = layers.towards(net, *outputs)
    read = {name for node in nodes for name in node.input}
    part = helper.make_graph(
        nodes,
        "part",
        list(net.graph.input),
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [tensor for tensor in net.graph.initializer if tensor.name in read],
    )
    whole = helper.make_model(part, opset_imports=net.opset_import, ir_version=net.ir_version)
    options = modelfile.session_options(machine.physical_cores())
    # What is fused depends on where a net is cut off, and fused or not it rounds otherwise.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return modelfile.start(whole.SerializeToString(), Path("the net"), options)
