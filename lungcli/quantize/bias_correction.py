"""Bias correction: the shift that rounding adds to the mean of a layer's outputs is subtracted from its bias.

Nagel et al. (1906.04721), section 4.2, with means measured on slices as in its appendix. It costs a file nothing, and
helps nets whose rounding errors do not cancel out, as in depthwise convolutions, which sum only nine products.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lungcli.core import cpu
from lungcli.modelfile import model_file, trial_run
from lungcli.quantize import sensitivity

if TYPE_CHECKING:
    import onnx

Array = NDArray[Any]

# The first activations of a large net are tens of megabytes a slice.
_BATCH = 8


def correct(quantized: "onnx.ModelProto", net: "onnx.ModelProto", slices: NDArray[np.uint8]) -> None:
    """Correct the biases of `quantized`, the int8 form of `net`, so that its layers' mean outputs are those of `net`.

    Layers are matched by name and corrected in order, each measured after those before it, on prepared slices of
    training groups, uint8 (n, S, S), n ≥ 1. A layer without a bias stays as it is.
    """
    twins = {node.name: node for node in quantized.graph.node}
    pairs = [
        (node.output[0], twins[node.name])
        for node in sensitivity.ancestors(net, model_file.OUTPUT)
        if node.op_type in sensitivity.LAYERS and node.name in twins and len(node.input) > 2
    ]
    activations: dict[str, Array] = {model_file.INPUT: slices[:, None]}
    target_means = _channel_means(net, [name for name, _ in pairs], activations[model_file.INPUT])
    # Each layer is run from the corrected outputs of the layers before it.
    outputs = [model_file.INPUT, *(twin.output[0] for _, twin in pairs)]
    parts = [
        sensitivity.ancestors(quantized, outputs[number + 1], known=outputs[: number + 1])
        for number in range(len(pairs))
    ]
    for number, (name, twin) in enumerate(pairs):
        output = np.concatenate([batch for (batch,) in _run(quantized, parts[number], [twin.output[0]], activations)])
        shift = _add_to_bias(
            quantized, twin, target_means[name] - output.mean(axis=_all_but_channels(output), dtype=np.float64)
        )
        activations[twin.output[0]] = output + np.expand_dims(shift.astype(np.float32), _all_but_channels(output))
        later = {name for part in parts[number + 1 :] for node in part for name in node.input}
        activations = {name: tensor for name, tensor in activations.items() if name in later}


def _add_to_bias(
    net: "onnx.ModelProto", layer: "onnx.NodeProto", correction: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Add `correction` (C,) to the bias of a layer; return what was added: a quantized bias has whole steps."""
    from onnx import numpy_helper

    weights = {tensor.name: tensor for tensor in net.graph.initializer}
    dequantize = next((node for node in net.graph.node if layer.input[2] in node.output), None)
    bias = weights[dequantize.input[0] if dequantize else layer.input[2]]
    before = numpy_helper.to_array(bias)
    step = numpy_helper.to_array(weights[dequantize.input[1]]) if dequantize else np.ones((), dtype=np.float32)
    added = np.rint(correction / step) if dequantize else correction
    bias.CopyFrom(numpy_helper.from_array((before + added).astype(before.dtype), bias.name))
    return np.asarray(added * step, dtype=np.float64)


def _channel_means(
    net: "onnx.ModelProto", outputs: Sequence[str], slices: NDArray[np.uint8]
) -> dict[str, NDArray[np.float64]]:
    """Return, for each tensor (n, C, …) named, its channel means (C,) over slices and positions."""
    sums = {name: np.zeros(()) for name in outputs}
    for batch in _run(net, sensitivity.ancestors(net, *outputs), outputs, {model_file.INPUT: slices}):
        for name, tensor in zip(outputs, batch, strict=True):
            sums[name] = sums[name] + len(tensor) * tensor.mean(axis=_all_but_channels(tensor), dtype=np.float64)
    return {name: total / len(slices) for name, total in sums.items()}


def _all_but_channels(tensor: Array) -> tuple[int, ...]:
    """Return the axes of a tensor (n, C, …) without that of channels."""
    return tuple(axis for axis in range(tensor.ndim) if axis != 1)


def _run(
    net: "onnx.ModelProto", nodes: "Sequence[onnx.NodeProto]", outputs: Sequence[str], tensors: Mapping[str, Array]
) -> Iterator[list[Array]]:
    """Run some nodes of a net on given tensors (n, …), batch by batch."""
    import onnxruntime
    from onnx import TensorProto, helper

    if not nodes:
        return
    read = {name for node in nodes for name in node.input}
    fed = {name: tensor for name, tensor in tensors.items() if name in read}
    kinds = {np.dtype(np.uint8): TensorProto.UINT8, np.dtype(np.float32): TensorProto.FLOAT}
    graph = helper.make_graph(
        nodes,
        "part",
        [helper.make_tensor_value_info(name, kinds[tensor.dtype], None) for name, tensor in fed.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [tensor for tensor in net.graph.initializer if tensor.name in read],
    )
    part = helper.make_model(graph, opset_imports=net.opset_import, ir_version=net.ir_version)
    options = model_file.session_options(cpu.physical_cores())
    # What is fused depends on where a net is cut, and fusing changes the rounding.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = model_file.start(part.SerializeToString(), Path("the net"), options)
    count = len(next(iter(fed.values())))
    for start in range(0, count, _BATCH):
        yield trial_run.run(session, outputs, {name: tensor[start : start + _BATCH] for name, tensor in fed.items()})
