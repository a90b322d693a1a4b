"""Small classifiers as others make them: their own input, their own output, no model card."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

SIZE = 64
CLASSES = ("normal", "benign", "malignant")

Dimensions = Sequence[int | str]


def save(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    weights: Mapping[str, NDArray[np.generic]],
    taken: Dimensions,
    given: Mapping[str, Dimensions],
    *,
    kind: int = TensorProto.FLOAT,
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """Write a net with the input `taken` of the type `kind` and the outputs `given`, by name."""
    graph = helper.make_graph(
        list(nodes),
        "foreign",
        [helper.make_tensor_value_info("images", kind, taken)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in given.items()],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)
    helper.set_model_props(model, dict(metadata or {}))
    onnx.save(model, path)
    return path


def classifier(
    path: Path,
    *,
    layout: str = "NCHW",
    channels: int = 3,
    size: int | str | tuple[int, int] = SIZE,
    batch: int | str = "n",
    ends: Sequence[str] = (),
    outputs: int = 3,
    given: Mapping[str, Dimensions] | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """Write a net of one convolution and a dense layer that ends in further operators, as Keras's in NHWC."""
    rng = np.random.default_rng(0)
    weights: dict[str, NDArray[np.generic]] = {
        "kernel": rng.normal(size=(8, channels, 3, 3)).astype(np.float32) / 3,
        "dense": rng.normal(size=(8, outputs)).astype(np.float32),
        "flat": np.array([1, 8], dtype=np.int64),
    }
    first = [helper.make_node("Transpose", ["images"], ["picture"], perm=[0, 3, 1, 2])]
    reshape = helper.make_node("Reshape", ["pooled", "flat"], ["features"])
    flatten = helper.make_node("Flatten", ["pooled"], ["features"])
    nodes = [
        *(first if layout == "NHWC" else [helper.make_node("Identity", ["images"], ["picture"])]),
        helper.make_node("Conv", ["picture", "kernel"], ["convolved"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["convolved"], ["positive"]),
        helper.make_node("GlobalAveragePool", ["positive"], ["pooled"]),
        reshape if batch == 1 else flatten,
        helper.make_node("MatMul", ["features", "dense"], ["scores"]),
    ]
    last = "scores"
    for operator in ends:
        nodes.append(helper.make_node(operator, [last], [f"{last}.{operator}"]))
        last = nodes[-1].output[0]
    nodes.append(helper.make_node("Identity", [last], ["output"]))
    if ends:
        nodes.pop()
        nodes[-1].output[0] = "output"
    sides = size if isinstance(size, tuple) else (size, size)
    shape = (batch, channels, *sides) if layout == "NCHW" else (batch, *sides, channels)
    return save(path, nodes, weights, shape, given or {"output": (batch, outputs)}, metadata=metadata)
