"""Smaller files that compute in float: weights kept as float16, or as int8 with one scale per output channel.

The runtime turns the weights back into float32 when it starts: half or a quarter of the size, at the same speed.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from lungcli.core import paths
from lungcli.quantize import static_qdq

if TYPE_CHECKING:
    import onnx

Kept = Literal["float16", "int8-weights"]

# Smaller tensors are biases and constants: little size to gain, and accuracy to lose.
_SMALLEST = 256


def compress_weights(source: Path, to: Path, kept: Kept) -> None:
    """Write the net `source` with its weights kept as `kept` to `to`, atomically and without a model card.

    Raises ModelFileError when `source` is no net.
    """
    import onnx
    from onnx import numpy_helper

    net = static_qdq.prepare(source)
    nodes: list[onnx.NodeProto] = []
    tensors: list[onnx.TensorProto] = []
    for tensor in net.graph.initializer:
        weights = numpy_helper.to_array(tensor)
        if weights.dtype != np.float32 or weights.ndim < 2 or weights.size < _SMALLEST:
            tensors.append(tensor)
            continue
        more_tensors, more_nodes = _float16(tensor.name, weights) if kept == "float16" else _int8(tensor.name, weights)
        tensors += more_tensors
        nodes += more_nodes
    nodes += net.graph.node
    del net.graph.initializer[:], net.graph.node[:], net.metadata_props[:]
    net.graph.initializer.extend(tensors)
    net.graph.node.extend(nodes)
    paths.atomic_write(to, net.SerializeToString(deterministic=True))


def _float16(name: str, weights: NDArray[np.float32]) -> "tuple[list[onnx.TensorProto], list[onnx.NodeProto]]":
    from onnx import TensorProto, helper, numpy_helper

    largest = float(np.finfo(np.float16).max)
    half = np.clip(weights, -largest, largest).astype(np.float16)
    cast = helper.make_node("Cast", [f"{name}.float16"], [name], name=f"{name}.cast", to=TensorProto.FLOAT)
    return [numpy_helper.from_array(half, f"{name}.float16")], [cast]


def _int8(name: str, weights: NDArray[np.float32]) -> "tuple[list[onnx.TensorProto], list[onnx.NodeProto]]":
    """One scale per row of the first axis: the output channel of a convolution or of a transposed dense layer."""
    from onnx import TensorProto, helper, numpy_helper

    rest = tuple(range(1, weights.ndim))
    scale = np.maximum(np.abs(weights).max(axis=rest, keepdims=True), np.finfo(np.float32).tiny) / np.float32(127)
    levels = np.clip(np.rint(weights / scale), -127, 127).astype(np.int8)
    # Cast and Mul of constants are computed once, at the start; the runtime would repeat a DequantizeLinear each call.
    return (
        [
            numpy_helper.from_array(levels, f"{name}.int8"),
            numpy_helper.from_array(scale.astype(np.float32), f"{name}.scale"),
        ],
        [
            helper.make_node("Cast", [f"{name}.int8"], [f"{name}.levels"], name=f"{name}.cast", to=TensorProto.FLOAT),
            helper.make_node("Mul", [f"{name}.levels", f"{name}.scale"], [name], name=f"{name}.scaled"),
        ],
    )
