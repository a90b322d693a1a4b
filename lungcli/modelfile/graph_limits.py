"""What a graph may do, and how large it may get: worked out from the file's bytes before the runtime sees them.

A small file can describe a graph that fills any memory or never ends. Ours are made of few operators, whose output
sizes follow from those of their inputs (ONNX operator specification, opset 18), so whatever else a file holds is
refused. Sizes are worked out for a batch of 32 slices, the most that is judged at once.
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
# Values alive at once, and multiplications, for each pixel of a slice (ours take up to 78 and 360,000); next to them
# what a net may take for the smallest and for the largest slice.
VALUES, LEAST_VALUES, MOST_VALUES = 256, 4_000_000, 100_000_000
WORK, LEAST_WORK, MOST_WORK = 1_000_000, 4_000_000_000, 1_000_000_000_000
# Constants that are worked out from others, such as weights from int8.
MAX_CONSTANTS = 1 << 29

_LIKE_FIRST = frozenset(
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
_POOLS = frozenset({"AveragePool", "MaxPool"})
_GLOBAL = frozenset({"GlobalAveragePool", "GlobalMaxPool"})
_REDUCED = frozenset({"ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """What a graph takes for each slice of a batch: values alive at once at most, and multiplications in all.

    `constants` are the values that it works out once.
    """

    values: int
    work: int
    constants: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainStep:
    """A node with the shapes it is given, and the entries of those that are small constants."""

    node: Node
    shapes: Sequence[Shape]
    entries: Sequence[tuple[int, ...] | None]

    def ints(self, name: str, default: Shape) -> Shape:
        return self.node.ints.get(name, default)

    def number(self, name: str, default: int) -> int:
        return self.ints(name, (default,))[0]

    def axis(self, default: int, rank: int) -> int:
        return _axis(self.number("axis", default), rank)

    def listed(self, name: str, index: int) -> tuple[int, ...] | None:
        """Whole numbers that came as an attribute up to opset 12 and come as an input since; None where they don't."""
        if name in self.node.ints:
            return self.node.ints[name]
        if index >= len(self.shapes) or not self.node.inputs[index]:
            return None
        return _known(self.entries[index])


def require(content: memoryview) -> Weight:
    """Weigh a graph. Raises ValueError, saying why, for one that does or takes more than a classifier of slices."""
    graph = onnx_graph.read(content)
    if len(graph.nodes) > MAX_NODES:
        raise ValueError(f"it has more than {MAX_NODES:,} steps")
    try:
        found, pixels = _weighed(graph)
    except (IndexError, ZeroDivisionError, OverflowError) as error:
        raise ValueError("the shapes in it do not fit together") from error
    if found.values > min(max(VALUES * pixels, LEAST_VALUES), MOST_VALUES):
        raise ValueError(f"it would keep {found.values:.1e} values a slice in memory at once")
    if found.work > min(max(WORK * pixels, LEAST_WORK), MOST_WORK):
        raise ValueError(f"it would take {found.work:.1e} multiplications a slice")
    if found.constants > MAX_CONSTANTS:
        raise ValueError(f"it would make {found.constants:.1e} constants")
    return found


def _weighed(graph: Graph) -> tuple[Weight, int]:
    shapes = {name: tensor.shape for name, tensor in graph.tensors.items()}
    entries = {name: tensor.entries for name, tensor in graph.tensors.items()}
    constant = set(shapes)
    given = {name: _open(shape) for name, shape in graph.inputs.items() if name not in shapes}
    shapes |= given
    pixels = max((math.prod(shape[-2:]) for shape in given.values()), default=1)
    last = Counter(name for node in graph.nodes for name in set(node.inputs))
    last.update(graph.outputs)
    alive = sum(map(math.prod, given.values()))
    most, work, constants = alive, 0, 0
    for node in graph.nodes:
        step = TrainStep(node=node, shapes=_taken(node, shapes), entries=[entries.get(name) for name in node.inputs])
        made, effort = _run(step)
        if node.constant:
            entries[node.outputs[0]] = node.constant.entries
        fixed = constant.issuperset(filter(None, node.inputs))
        for name, shape in zip(node.outputs, made, strict=False):
            if name in shapes:
                raise ValueError(f"{name!r} is made twice in it")
            shapes[name] = shape
            if fixed:
                constant.add(name)
                constants += math.prod(shape)
            else:
                alive += math.prod(shape)
        work, most = work + effort, max(most, alive)
        for name in set(node.inputs):
            last[name] -= 1
            if not last[name] and name not in constant and name:
                alive -= math.prod(shapes[name])
        alive -= sum(
            math.prod(shapes[name]) for name in node.outputs if not last[name] and name not in constant and name
        )
    return Weight(values=-(-most // BATCH), work=-(-work // BATCH), constants=constants), pixels


def _open(shape: Sequence[int | None]) -> Shape:
    """The shape of an input with the batch in it."""
    if None in shape[1:] or len(shape) > MAX_RANK:
        raise ValueError("an input has an open shape")
    return tuple(BATCH if length is None else length for length in shape)


def _taken(node: Node, shapes: "dict[str, Shape]") -> list[Shape]:
    if missing := next((name for name in node.inputs if name and name not in shapes), None):
        raise ValueError(f"{missing!r} is used in it before it is made")
    return [shapes.get(name, ()) for name in node.inputs]


def _run(step: TrainStep) -> tuple[list[Shape], int]:
    """Shapes of what a node gives, and how many multiplications it takes."""
    node = step.node
    if node.domain not in ("", "ai.onnx"):
        raise ValueError(f"it has the operator {node.op!r} of {node.domain!r}")
    if node.op in _LIKE_FIRST:
        made, effort = [step.shapes[0]], math.prod(step.shapes[0])
    elif node.op in _BROADCAST:
        shape = _broadcast(step.shapes)
        made, effort = [shape], math.prod(shape)
    elif node.op in _RULES:
        made, effort = _RULES[node.op](step)
    else:
        raise ValueError(f"it has the operator {node.op!r}")
    if any(len(shape) > MAX_RANK or min(shape, default=1) < 0 for shape in made):
        raise ValueError(f"the shapes of {node.op!r} in it do not fit together")
    return made, effort


def _broadcast(shapes: Sequence[Shape]) -> Shape:
    rank = max(map(len, shapes))
    filled = [(1,) * (rank - len(shape)) + shape for shape in shapes]
    return tuple(0 if 0 in lengths else max(lengths) for lengths in zip(*filled, strict=True))


def _window(step: TrainStep, kernel: Shape, channels: int) -> Shape:
    """The shape of what slides over the first input: convolutions and pools."""
    batch, _, *sides = step.shapes[0]
    rank = len(sides)
    strides, dilations = step.ints("strides", (1,) * rank), step.ints("dilations", (1,) * rank)
    pads = step.ints("pads", (0,) * 2 * rank)
    if min(strides) < 1 or min(dilations) < 1 or min(pads) < 0 or min(kernel, default=1) < 1:
        raise ValueError("the shapes of a window in it do not fit together")
    if step.node.texts.get("auto_pad", "NOTSET") in ("SAME_UPPER", "SAME_LOWER"):
        return (batch, channels, *(-(-side // strides[i]) for i, side in enumerate(sides)))
    up = step.number("ceil_mode", 0)
    lengths = []
    for i, side in enumerate(sides):
        room = side + pads[i] + pads[i + rank] - dilations[i] * (kernel[i] - 1) - 1
        lengths.append((-(-room // strides[i]) if up else room // strides[i]) + 1)
    return (batch, channels, *lengths)


def _convolution(step: TrainStep) -> tuple[list[Shape], int]:
    weights = step.shapes[1]
    shape = _window(step, weights[2:], weights[0])
    return [shape], math.prod(shape) * math.prod(weights[1:])


def _pool(step: TrainStep) -> tuple[list[Shape], int]:
    kernel = step.ints("kernel_shape", ())
    shape = _window(step, kernel, step.shapes[0][1])
    return [shape] * len(step.node.outputs), math.prod(shape) * math.prod(kernel)


def _global(step: TrainStep) -> tuple[list[Shape], int]:
    shape = step.shapes[0]
    return [(*shape[:2], *(1 for _ in shape[2:]))], math.prod(shape)


def _dense(step: TrainStep) -> tuple[list[Shape], int]:
    left, right = step.shapes[:2]
    if len(left) != 2 or len(right) != 2:
        raise ValueError("a dense layer in it has no two dimensions")
    rows, inner = left[::-1] if step.number("transA", 0) else left
    columns = right[0] if step.number("transB", 0) else right[1]
    return [(rows, columns)], rows * inner * columns


def _product(step: TrainStep) -> tuple[list[Shape], int]:
    left, right = step.shapes[:2]
    if len(left) < 2 or len(right) < 2:
        raise ValueError("a matrix product in it has fewer than two dimensions")
    shape = (*_broadcast([left[:-2], right[:-2]]), left[-2], right[-1])
    return [shape], math.prod(shape) * left[-1]


def _reduced(step: TrainStep) -> tuple[list[Shape], int]:
    shape = step.shapes[0]
    axes = step.listed("axes", 1)
    if not axes:
        axes = () if step.number("noop_with_empty_axes", 0) else tuple(range(len(shape)))
    gone = {_axis(axis, len(shape)) for axis in axes}
    kept = step.number("keepdims", 1)
    lengths = (1 if i in gone else length for i, length in enumerate(shape) if kept or i not in gone)
    return [tuple(lengths)], math.prod(shape)


def _reshape(step: TrainStep) -> tuple[list[Shape], int]:
    shape, wanted = step.shapes[0], list(_known(step.entries[1]))
    if not step.number("allowzero", 0):
        wanted = [shape[i] if length == 0 else length for i, length in enumerate(wanted)]
    count = math.prod(shape)
    if wanted.count(-1) == 1:
        rest = -math.prod(wanted)
        wanted[wanted.index(-1)] = count // rest if rest else 0
    if min(wanted, default=1) < 0 or math.prod(wanted) != count:
        raise ValueError("a change of shape in it changes the number of values")
    return [tuple(wanted)], 0


def _flat(step: TrainStep) -> tuple[list[Shape], int]:
    shape = step.shapes[0]
    axis = step.number("axis", 1)
    axis += len(shape) if axis < 0 else 0
    return [(math.prod(shape[:axis]), math.prod(shape[axis:]))], 0


def _padded(step: TrainStep) -> tuple[list[Shape], int]:
    shape, axes = step.shapes[0], step.listed("axes", 3)
    pads = step.listed("pads", 1) or ()
    sides = list(range(len(shape))) if axes is None else [_axis(axis, len(shape)) for axis in axes]
    if len(pads) != 2 * len(sides):
        raise ValueError("a padding in it does not fit")
    added = dict.fromkeys(range(len(shape)), 0)
    for i, side in enumerate(sides):
        added[side] = pads[i] + pads[i + len(sides)]
    made = tuple(length + added[side] for side, length in enumerate(shape))
    return [made], math.prod(made)


def _turned(step: TrainStep) -> tuple[list[Shape], int]:
    shape = step.shapes[0]
    order = step.ints("perm", tuple(reversed(range(len(shape)))))
    if sorted(order) != list(range(len(shape))):
        raise ValueError("the axes of a transposition in it do not fit")
    return [tuple(shape[i] for i in order)], math.prod(shape)


def _joined(step: TrainStep) -> tuple[list[Shape], int]:
    first = step.shapes[0]
    axis = step.axis(0, len(first))
    shape = (*first[:axis], sum(shape[axis] for shape in step.shapes), *first[axis + 1 :])
    return [shape], math.prod(shape)


def _parted(step: TrainStep) -> tuple[list[Shape], int]:
    shape = step.shapes[0]
    axis = step.axis(0, len(shape))
    count = len(step.node.outputs)
    sizes = step.listed("split", 1)
    if sizes is None:
        each = -(-shape[axis] // count)
        sizes = (*[each] * (count - 1), shape[axis] - each * (count - 1))
    if len(sizes) != count or min(sizes) < 0 or sum(sizes) != shape[axis]:
        raise ValueError("the parts of a split in it do not fit")
    return [(*shape[:axis], size, *shape[axis + 1 :]) for size in sizes], math.prod(shape)


def _squeezed(step: TrainStep) -> tuple[list[Shape], int]:
    shape = step.shapes[0]
    axes = step.listed("axes", 1)
    gone = {_axis(axis, len(shape)) for axis in axes} if axes else {i for i, length in enumerate(shape) if length == 1}
    if any(shape[i] != 1 for i in gone):
        raise ValueError("the axes of a squeeze in it do not fit")
    return [tuple(length for i, length in enumerate(shape) if i not in gone)], 0


def _unsqueezed(step: TrainStep) -> tuple[list[Shape], int]:
    axes = step.listed("axes", 1) or ()
    rank = len(step.shapes[0]) + len(axes)
    new = {_axis(axis, rank) for axis in axes}
    old = iter(step.shapes[0])
    return [tuple(1 if i in new else next(old, 1) for i in range(rank))], 0


def _gathered(step: TrainStep) -> tuple[list[Shape], int]:
    shape, indices = step.shapes[:2]
    axis = step.axis(0, len(shape))
    made = (*shape[:axis], *indices, *shape[axis + 1 :])
    return [made], math.prod(made)


def _picked(step: TrainStep) -> tuple[list[Shape], int]:
    shape, indices = step.shapes[:2]
    batch = step.number("batch_dims", 0)
    if batch < 0 or not indices:
        raise ValueError("what is gathered in it does not fit")
    made = (*indices[:-1], *shape[batch + indices[-1] :])
    return [made], math.prod(made)


def _sliced(step: TrainStep) -> tuple[list[Shape], int]:
    shape = list(step.shapes[0])
    starts, ends = _known(step.entries[1]), _known(step.entries[2])
    axes = step.listed("axes", 3)
    steps = step.listed("steps", 4) or (1,) * len(starts)
    for start, end, axis, stride in zip(starts, ends, axes or range(len(starts)), steps, strict=True):
        at = _axis(axis, len(shape))
        if not stride:
            raise ValueError("a slice in it stands still")
        shape[at] = len(range(*slice(start, end, stride).indices(shape[at])))
    return [tuple(shape)], math.prod(shape)


def _constant(step: TrainStep) -> tuple[list[Shape], int]:
    if step.node.constant:
        return [step.node.constant.shape], 0
    return [(len(step.node.ints["value_ints"]),) if "value_ints" in step.node.ints else ()], 0


def _axis(axis: int, rank: int) -> int:
    if not -rank <= axis < rank:
        raise ValueError("an axis in it does not fit")
    return axis % rank


def _known(entries: tuple[int, ...] | None) -> tuple[int, ...]:
    if entries is None:
        raise ValueError("a shape in it is only known when it runs")
    return entries


_RULES: "dict[str, Callable[[TrainStep], tuple[list[Shape], int]]]" = {
    "Concat": _joined,
    "Constant": _constant,
    "Conv": _convolution,
    "Flatten": _flat,
    "Gather": _gathered,
    "GatherND": _picked,
    "Gemm": _dense,
    "MatMul": _product,
    "Pad": _padded,
    "Reshape": _reshape,
    "Slice": _sliced,
    "Split": _parted,
    "Squeeze": _squeezed,
    "Transpose": _turned,
    "Unsqueeze": _unsqueezed,
    **dict.fromkeys(_POOLS, _pool),
    **dict.fromkeys(_GLOBAL, _global),
    **dict.fromkeys(_REDUCED, _reduced),
}
