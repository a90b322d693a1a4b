"""Limits of a graph's operators, memory and multiplications, computed from the file before the runtime sees it.

A small file can describe a graph that fills any memory or never ends. Only operators whose output shapes follow from
their inputs' (ONNX specification, opset 18) are taken. Shapes are computed for 32 slices, the largest batch there is.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lungcli.modelfile import onnx_graph
from lungcli.modelfile.onnx_graph import Graph, Node, Shape

BATCH = 32
MAX_NODES = 20_000
MAX_RANK = 8
# Values alive at once, and multiplications, per pixel of a slice (registered nets take up to 78 and 360,000); then the
# least limit, for small slices, and the most.
VALUES, LEAST_VALUES, MOST_VALUES = 256, 4_000_000, 100_000_000
WORK, LEAST_WORK, MOST_WORK = 1_000_000, 4_000_000_000, 1_000_000_000_000
# Constants computed from others, such as weights from int8.
MAX_CONSTANTS = 1 << 29

_SHAPE_OF_FIRST = frozenset(
    {
        "BatchNormalization",
        "Cast",
        "Clip",
        "DequantizeLinear",
        "Elu",
        "Erf",
        "Exp",
        "Gelu",
        "HardSigmoid",
        "HardSwish",
        "Identity",
        "LayerNormalization",
        "LeakyRelu",
        "LogSoftmax",
        "Mish",
        "Neg",
        "QuantizeLinear",
        "Relu",
        "Sigmoid",
        "Softmax",
        "Softplus",
        "Sqrt",
        "Tanh",
    }
)
_BROADCAST = frozenset({"Add", "Div", "Max", "Min", "Mul", "PRelu", "Pow", "Sub", "Sum"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a graph takes for each slice of a batch: the most values alive at once, and all multiplications.

    `constants` are the values that it computes once.
    """

    values: int
    multiplications: int
    constants: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ShapedNode:
    """A node with the shapes of its inputs, and the entries of those that are small constants."""

    node: Node
    shapes: Sequence[Shape]
    entries: Sequence[tuple[int, ...] | None]

    def ints(self, name: str, default: Shape) -> Shape:
        return self.node.ints.get(name, default)

    def number(self, name: str, default: int) -> int:
        return self.ints(name, (default,))[0]

    def axis(self, default: int, rank: int) -> int:
        return _axis(self.number("axis", default), rank)

    def attribute_or_input(self, name: str, index: int) -> tuple[int, ...] | None:
        """Integers that are an attribute up to opset 12 and an input since; None where they are missing."""
        if name in self.node.ints:
            return self.node.ints[name]
        if index >= len(self.shapes) or not self.node.inputs[index]:
            return None
        return _require_known(self.entries[index])


def require(content: memoryview) -> Cost:
    """Return the cost of a graph. Raises ValueError for operators or costs that no classifier of slices needs."""
    graph = onnx_graph.read(content)
    if len(graph.nodes) > MAX_NODES:
        raise ValueError(f"it has more than {MAX_NODES:,} operators")
    try:
        cost, pixels = _cost_of(graph)
    except (IndexError, ZeroDivisionError, OverflowError) as error:
        raise ValueError("its shapes do not fit together") from error
    if cost.values > min(max(VALUES * pixels, LEAST_VALUES), MOST_VALUES):
        raise ValueError(f"it would keep {cost.values:.1e} values a slice in memory at once")
    if cost.multiplications > min(max(WORK * pixels, LEAST_WORK), MOST_WORK):
        raise ValueError(f"it would take {cost.multiplications:.1e} multiplications a slice")
    if cost.constants > MAX_CONSTANTS:
        raise ValueError(f"it would make {cost.constants:.1e} constants")
    return cost


def _cost_of(graph: Graph) -> tuple[Cost, int]:
    shapes = {name: tensor.shape for name, tensor in graph.tensors.items()}
    entries = {name: tensor.entries for name, tensor in graph.tensors.items()}
    constant = set(shapes)
    inputs = {name: _with_batch(shape) for name, shape in graph.inputs.items() if name not in shapes}
    shapes |= inputs
    pixels = max((math.prod(shape[-2:]) for shape in inputs.values()), default=1)
    uses_left = Counter(name for node in graph.nodes for name in set(node.inputs))
    uses_left.update(graph.outputs)
    alive = sum(map(math.prod, inputs.values()))
    peak, work, constants = alive, 0, 0
    for node in graph.nodes:
        shaped = ShapedNode(
            node=node, shapes=_input_shapes(node, shapes), entries=[entries.get(name) for name in node.inputs]
        )
        outputs, multiplications = _infer(shaped)
        if node.constant:
            entries[node.outputs[0]] = node.constant.entries
        is_constant = constant.issuperset(filter(None, node.inputs))
        for name, shape in zip(node.outputs, outputs, strict=False):
            if name in shapes:
                raise ValueError(f"{name!r} is made twice in it")
            shapes[name] = shape
            if is_constant:
                constant.add(name)
                constants += math.prod(shape)
            else:
                alive += math.prod(shape)
        work, peak = work + multiplications, max(peak, alive)
        for name in set(node.inputs):
            uses_left[name] -= 1
            if not uses_left[name] and name not in constant and name:
                alive -= math.prod(shapes[name])
        alive -= sum(
            math.prod(shapes[name]) for name in node.outputs if not uses_left[name] and name not in constant and name
        )
    return Cost(values=-(-peak // BATCH), multiplications=-(-work // BATCH), constants=constants), pixels


def _with_batch(shape: Sequence[int | None]) -> Shape:
    """Return the shape of an input with the open dimension as the batch."""
    if None in shape[1:] or len(shape) > MAX_RANK:
        raise ValueError("an input has an open shape")
    return tuple(BATCH if length is None else length for length in shape)


def _input_shapes(node: Node, shapes: "dict[str, Shape]") -> list[Shape]:
    if missing := next((name for name in node.inputs if name and name not in shapes), None):
        raise ValueError(f"{missing!r} is used in it before it is made")
    return [shapes.get(name, ()) for name in node.inputs]


def _infer(shaped: ShapedNode) -> tuple[list[Shape], int]:
    """Return the shapes of a node's outputs, and its multiplications."""
    node = shaped.node
    if node.domain not in ("", "ai.onnx"):
        raise ValueError(f"it has the operator {node.op!r} of {node.domain!r}")
    if node.op in _SHAPE_OF_FIRST:
        outputs, multiplications = [shaped.shapes[0]], math.prod(shaped.shapes[0])
    elif node.op in _BROADCAST:
        shape = _broadcast(shaped.shapes)
        outputs, multiplications = [shape], math.prod(shape)
    elif node.op in _RULES:
        outputs, multiplications = _RULES[node.op](shaped)
    else:
        raise ValueError(f"it has the operator {node.op!r}")
    if any(len(shape) > MAX_RANK or min(shape, default=1) < 0 for shape in outputs):
        raise ValueError(f"the shapes of {node.op!r} in it do not fit together")
    return outputs, multiplications


def _broadcast(shapes: Sequence[Shape]) -> Shape:
    rank = max(map(len, shapes))
    filled = [(1,) * (rank - len(shape)) + shape for shape in shapes]
    return tuple(0 if 0 in lengths else max(lengths) for lengths in zip(*filled, strict=True))


def _window(shaped: ShapedNode, kernel: Shape, channels: int) -> Shape:
    """Return the output shape of a sliding window over the first input, that of a convolution or pool."""
    batch, _, *sides = shaped.shapes[0]
    rank = len(sides)
    strides, dilations = shaped.ints("strides", (1,) * rank), shaped.ints("dilations", (1,) * rank)
    pads = shaped.ints("pads", (0,) * 2 * rank)
    if min(strides) < 1 or min(dilations) < 1 or min(pads) < 0 or min(kernel, default=1) < 1:
        raise ValueError("the shapes of a window in it do not fit together")
    if shaped.node.texts.get("auto_pad", "NOTSET") in ("SAME_UPPER", "SAME_LOWER"):
        return (batch, channels, *(-(-side // strides[i]) for i, side in enumerate(sides)))
    up = shaped.number("ceil_mode", 0)
    lengths = []
    for i, side in enumerate(sides):
        room = side + pads[i] + pads[i + rank] - dilations[i] * (kernel[i] - 1) - 1
        lengths.append((-(-room // strides[i]) if up else room // strides[i]) + 1)
    return (batch, channels, *lengths)


def _convolution(shaped: ShapedNode) -> tuple[list[Shape], int]:
    weights = shaped.shapes[1]
    shape = _window(shaped, weights[2:], weights[0])
    return [shape], math.prod(shape) * math.prod(weights[1:])


def _pool(shaped: ShapedNode) -> tuple[list[Shape], int]:
    kernel = shaped.ints("kernel_shape", ())
    shape = _window(shaped, kernel, shaped.shapes[0][1])
    return [shape] * len(shaped.node.outputs), math.prod(shape) * math.prod(kernel)


def _global_pool(shaped: ShapedNode) -> tuple[list[Shape], int]:
    shape = shaped.shapes[0]
    return [(*shape[:2], *(1 for _ in shape[2:]))], math.prod(shape)


def _gemm(shaped: ShapedNode) -> tuple[list[Shape], int]:
    left, right = shaped.shapes[:2]
    if len(left) != 2 or len(right) != 2:
        raise ValueError("a dense layer in it has no two dimensions")
    rows, inner = left[::-1] if shaped.number("transA", 0) else left
    columns = right[0] if shaped.number("transB", 0) else right[1]
    return [(rows, columns)], rows * inner * columns


def _matmul(shaped: ShapedNode) -> tuple[list[Shape], int]:
    left, right = shaped.shapes[:2]
    if len(left) < 2 or len(right) < 2:
        raise ValueError("a matrix product in it has fewer than two dimensions")
    shape = (*_broadcast([left[:-2], right[:-2]]), left[-2], right[-1])
    return [shape], math.prod(shape) * left[-1]


def _reduce(shaped: ShapedNode) -> tuple[list[Shape], int]:
    shape = shaped.shapes[0]
    axes = shaped.attribute_or_input("axes", 1)
    if not axes:
        axes = () if shaped.number("noop_with_empty_axes", 0) else tuple(range(len(shape)))
    removed = {_axis(axis, len(shape)) for axis in axes}
    keeps_dimensions = shaped.number("keepdims", 1)
    lengths = (1 if i in removed else length for i, length in enumerate(shape) if keeps_dimensions or i not in removed)
    return [tuple(lengths)], math.prod(shape)


def _reshape(shaped: ShapedNode) -> tuple[list[Shape], int]:
    shape, wanted = shaped.shapes[0], list(_require_known(shaped.entries[1]))
    if not shaped.number("allowzero", 0):
        wanted = [shape[i] if length == 0 else length for i, length in enumerate(wanted)]
    count = math.prod(shape)
    if wanted.count(-1) == 1:
        rest = -math.prod(wanted)
        wanted[wanted.index(-1)] = count // rest if rest else 0
    if min(wanted, default=1) < 0 or math.prod(wanted) != count:
        raise ValueError("a change of shape in it changes the number of values")
    return [tuple(wanted)], 0


def _flatten(shaped: ShapedNode) -> tuple[list[Shape], int]:
    shape = shaped.shapes[0]
    axis = shaped.number("axis", 1)
    axis += len(shape) if axis < 0 else 0
    return [(math.prod(shape[:axis]), math.prod(shape[axis:]))], 0


def _pad(shaped: ShapedNode) -> tuple[list[Shape], int]:
    shape, axes = shaped.shapes[0], shaped.attribute_or_input("axes", 3)
    pads = shaped.attribute_or_input("pads", 1) or ()
    sides = list(range(len(shape))) if axes is None else [_axis(axis, len(shape)) for axis in axes]
    if len(pads) != 2 * len(sides):
        raise ValueError("a padding in it does not fit")
    added = dict.fromkeys(range(len(shape)), 0)
    for i, side in enumerate(sides):
        added[side] = pads[i] + pads[i + len(sides)]
    padded = tuple(length + added[side] for side, length in enumerate(shape))
    return [padded], math.prod(padded)


def _transpose(shaped: ShapedNode) -> tuple[list[Shape], int]:
    shape = shaped.shapes[0]
    order = shaped.ints("perm", tuple(reversed(range(len(shape)))))
    if sorted(order) != list(range(len(shape))):
        raise ValueError("the axes of a transposition in it do not fit")
    return [tuple(shape[i] for i in order)], math.prod(shape)


def _concat(shaped: ShapedNode) -> tuple[list[Shape], int]:
    first = shaped.shapes[0]
    axis = shaped.axis(0, len(first))
    shape = (*first[:axis], sum(shape[axis] for shape in shaped.shapes), *first[axis + 1 :])
    return [shape], math.prod(shape)


def _split(shaped: ShapedNode) -> tuple[list[Shape], int]:
    shape = shaped.shapes[0]
    axis = shaped.axis(0, len(shape))
    count = len(shaped.node.outputs)
    sizes = shaped.attribute_or_input("split", 1)
    if sizes is None:
        even = -(-shape[axis] // count)
        sizes = (*[even] * (count - 1), shape[axis] - even * (count - 1))
    if len(sizes) != count or min(sizes) < 0 or sum(sizes) != shape[axis]:
        raise ValueError("the parts of a split in it do not fit")
    return [(*shape[:axis], size, *shape[axis + 1 :]) for size in sizes], math.prod(shape)


def _squeeze(shaped: ShapedNode) -> tuple[list[Shape], int]:
    shape = shaped.shapes[0]
    axes = shaped.attribute_or_input("axes", 1)
    removed = (
        {_axis(axis, len(shape)) for axis in axes} if axes else {i for i, length in enumerate(shape) if length == 1}
    )
    if any(shape[i] != 1 for i in removed):
        raise ValueError("the axes of a squeeze in it do not fit")
    return [tuple(length for i, length in enumerate(shape) if i not in removed)], 0


def _unsqueeze(shaped: ShapedNode) -> tuple[list[Shape], int]:
    axes = shaped.attribute_or_input("axes", 1) or ()
    rank = len(shaped.shapes[0]) + len(axes)
    new = {_axis(axis, rank) for axis in axes}
    old = iter(shaped.shapes[0])
    return [tuple(1 if i in new else next(old, 1) for i in range(rank))], 0


def _gather(shaped: ShapedNode) -> tuple[list[Shape], int]:
    shape, indices = shaped.shapes[:2]
    axis = shaped.axis(0, len(shape))
    gathered = (*shape[:axis], *indices, *shape[axis + 1 :])
    return [gathered], math.prod(gathered)


def _gather_nd(shaped: ShapedNode) -> tuple[list[Shape], int]:
    shape, indices = shaped.shapes[:2]
    batch = shaped.number("batch_dims", 0)
    if batch < 0 or not indices:
        raise ValueError("the indices of a gathering in it do not fit")
    gathered = (*indices[:-1], *shape[batch + indices[-1] :])
    return [gathered], math.prod(gathered)


def _slice(shaped: ShapedNode) -> tuple[list[Shape], int]:
    shape = list(shaped.shapes[0])
    starts, ends = _require_known(shaped.entries[1]), _require_known(shaped.entries[2])
    axes = shaped.attribute_or_input("axes", 3)
    steps = shaped.attribute_or_input("steps", 4) or (1,) * len(starts)
    for start, end, axis, stride in zip(starts, ends, axes or range(len(starts)), steps, strict=True):
        at = _axis(axis, len(shape))
        if not stride:
            raise ValueError("a slice in it stands still")
        shape[at] = len(range(*slice(start, end, stride).indices(shape[at])))
    return [tuple(shape)], math.prod(shape)


def _constant(shaped: ShapedNode) -> tuple[list[Shape], int]:
    if shaped.node.constant:
        return [shaped.node.constant.shape], 0
    return [(len(shaped.node.ints["value_ints"]),) if "value_ints" in shaped.node.ints else ()], 0


def _axis(axis: int, rank: int) -> int:
    if not -rank <= axis < rank:
        raise ValueError("an axis in it does not fit")
    return axis % rank


def _require_known(entries: tuple[int, ...] | None) -> tuple[int, ...]:
    if entries is None:
        raise ValueError("a shape in it is only known when it runs")
    return entries


_RULES: "dict[str, Callable[[ShapedNode], tuple[list[Shape], int]]]" = {
    "Concat": _concat,
    "Constant": _constant,
    "Conv": _convolution,
    "Flatten": _flatten,
    "Gather": _gather,
    "GatherND": _gather_nd,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Pad": _pad,
    "Reshape": _reshape,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
    **dict.fromkeys(("AveragePool", "MaxPool"), _pool),
    **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool"), _global_pool),
    **dict.fromkeys(("ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum"), _reduce),
}
