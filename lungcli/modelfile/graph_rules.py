"""What a graph may hold: operators whose cost depends on no pixel, so that one run tells what each will take.

What that is, `trial_run` finds out. The field numbers are those of onnx.proto3 (ONNX IR).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from lungcli.modelfile.onnx_wire import BYTES, fields

MAX_NODES = 20_000

# By operator (ONNX specification, opset 18): its inputs that decide a shape, which must be constants.
_OPERATORS: Mapping[str, tuple[int, ...]] = {
    **dict.fromkeys(("Add", "Div", "Max", "Min", "Mul", "PRelu", "Pow", "Sub", "Sum"), ()),
    **dict.fromkeys(("AveragePool", "Conv", "GlobalAveragePool", "GlobalMaxPool", "MaxPool"), ()),
    **dict.fromkeys(("BatchNormalization", "LayerNormalization"), ()),
    **dict.fromkeys(("Cast", "Clip", "DequantizeLinear", "Identity", "QuantizeLinear"), ()),
    **dict.fromkeys(("Concat", "Constant", "Flatten", "Gather", "GatherND", "Transpose"), ()),
    **dict.fromkeys(("Elu", "Erf", "Exp", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Log", "LogSoftmax"), ()),
    **dict.fromkeys(("Mish", "Neg", "Relu", "Sigmoid", "Softmax", "Softplus", "Sqrt", "Tanh"), ()),
    **dict.fromkeys(("Gemm", "MatMul"), ()),
    **dict.fromkeys(("ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum", "Reshape", "Split"), (1,)),
    **dict.fromkeys(("Squeeze", "Unsqueeze"), (1,)),
    "Pad": (1, 3),
    "Slice": (1, 2, 3, 4),
}
# Of nets that are often brought, what such an operator says of them.
_TELLS = {
    "Shape": ": its sizes are dynamic",
    "NonMaxSuppression": ", as a detector has",
    "RoiAlign": ", as a detector has",
    "Resize": ", as a segmenter has",
    "ConvTranspose": ", as a segmenter has",
}
_IN_MODEL = {20: "training steps", 25: "functions"}
_IN_ATTRIBUTE = {6: "graphs inside nodes", 11: "graphs inside nodes", 22: "sparse tensors", 23: "sparse tensors"}
_GRAPH, _NODE, _INITIALIZER, _SPARSE = 7, 1, 5, 15
_INPUT, _OUTPUT, _OPERATOR, _ATTRIBUTE, _DOMAIN = 1, 2, 4, 5, 7
_TENSOR_NAME = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class _Node:
    operator: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def require(content: memoryview) -> None:
    """Raise ValueError for a graph with parts that no classifier of slices needs."""
    graphs = []
    for number, wire, value, end in fields(content, 0, len(content)):
        if number in _IN_MODEL:
            raise ValueError(f"it has {_IN_MODEL[number]}")
        if (number, wire) == (_GRAPH, BYTES):
            graphs.append((value, end))
    if len(graphs) != 1:
        raise ValueError(f"it has {len(graphs)} graphs")
    nodes: list[_Node] = []
    constants: set[str] = set()
    for number, wire, value, end in fields(content, *graphs[0]):
        if number == _SPARSE:
            raise ValueError("it has sparse tensors")
        if (number, wire) == (_NODE, BYTES):
            nodes.append(_node(content, value, end))
        elif (number, wire) == (_INITIALIZER, BYTES):
            constants.update(_texts(content, value, end, _TENSOR_NAME))
    if len(nodes) > MAX_NODES:
        raise ValueError(f"it has more than {MAX_NODES:,} operators")
    constants.update(name for node in nodes if node.operator == "Constant" for name in node.outputs)
    for node in nodes:
        if node.domain not in ("", "ai.onnx"):
            raise ValueError(f"it has the operator {node.operator!r} of {node.domain!r}")
        if node.operator not in _OPERATORS:
            raise ValueError(f"it has the operator {node.operator!r}{_TELLS.get(node.operator, '')}")
        if any(name and name not in constants for at in _OPERATORS[node.operator] for name in node.inputs[at : at + 1]):
            raise ValueError("a shape in it is only known when it runs")


def _node(content: memoryview, start: int, end: int) -> _Node:
    for number, wire, value, stop in fields(content, start, end):
        if (number, wire) == (_ATTRIBUTE, BYTES):
            for inner, *_ in fields(content, value, stop):
                if inner in _IN_ATTRIBUTE:
                    raise ValueError(f"it has {_IN_ATTRIBUTE[inner]}")
    return _Node(
        operator="".join(_texts(content, start, end, _OPERATOR)[-1:]),
        domain="".join(_texts(content, start, end, _DOMAIN)[-1:]),
        inputs=_texts(content, start, end, _INPUT),
        outputs=_texts(content, start, end, _OUTPUT),
    )


def _texts(content: memoryview, start: int, end: int, wanted: int) -> tuple[str, ...]:
    """Return the texts of a field, in order."""
    return tuple(
        bytes(content[value:stop]).decode()
        for number, wire, value, stop in fields(content, start, end)
        if (number, wire) == (wanted, BYTES)
    )
