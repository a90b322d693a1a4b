"""The graph in an ONNX file, read from its bytes: nodes, shapes, and the small tensors that shapes depend on.

The field numbers are those of onnx.proto3 (ONNX IR); `onnx_wire` reads the encoding.
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from lungcli.modelfile.onnx_wire import fields, varint

_VARINT, _BYTES = 0, 2
_INT32, _INT64 = 6, 7
# Tensors that shapes depend on have an entry for each dimension, or for each part of a split.
_MOST_ENTRIES = 64

_TWICE = "a field that may come once comes twice"

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """A constant: its shape, and its entries where they are few integers."""

    name: str
    shape: Shape
    entries: tuple[int, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One operator: its integer and text attributes, and the constant that it gives, if it is one."""

    op: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    ints: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    constant: Tensor | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """Nodes in the order of the file, inputs with None for an open dimension, and constants."""

    nodes: tuple[Node, ...]
    inputs: Mapping[str, tuple[int | None, ...]]
    outputs: tuple[str, ...]
    tensors: Mapping[str, Tensor]


def read(content: memoryview) -> Graph:
    """Read the graph of a model.

    Raises ValueError for more than one, and for parts whose cost is unknown before they run: functions, training steps,
    graphs inside nodes, sparse tensors.
    """
    graphs = _locate(content, 0, len(content), {7: "graph"}, {20: "training steps", 25: "functions"})
    if not graphs:
        raise ValueError("there is no graph in it")
    _, start, end = graphs[0]
    nodes: list[Node] = []
    inputs: dict[str, tuple[int | None, ...]] = {}
    outputs: list[str] = []
    tensors: dict[str, Tensor] = {}
    for number, at, stop in _locate(
        content, start, end, {1: "", 5: "", 11: "", 12: ""}, {15: "sparse tensors"}, many=True
    ):
        if number == 1:
            nodes.append(_node(content, at, stop))
        elif number == 5:
            tensor = _tensor(content, at, stop)
            tensors[tensor.name] = tensor
        else:
            name, shape = _value(content, at, stop)
            if number == 11:
                inputs[name] = shape
            else:
                outputs.append(name)
    return Graph(nodes=tuple(nodes), inputs=inputs, outputs=tuple(outputs), tensors=tensors)


def _locate(
    content: memoryview,
    start: int,
    end: int,
    wanted: Mapping[int, str],
    refused: Mapping[int, str],
    *,
    many: bool = False,
) -> list[tuple[int, int, int]]:
    """Return where the wanted fields lie: (field, start, end).

    Raises ValueError for a refused one, and unless `many` for a field that comes twice: readers would merge them.
    """
    places = []
    for number, wire, value, stop in fields(content, start, end):
        if number in refused:
            raise ValueError(f"it has {refused[number]}")
        if wire == _BYTES and number in wanted:
            places.append((number, value, stop))
    if not many and len({number for number, *_ in places}) < len(places):
        raise ValueError(_TWICE)
    return places


def _node(content: memoryview, start: int, end: int) -> Node:
    inputs: list[str] = []
    outputs: list[str] = []
    op, domain = "", ""
    ints: dict[str, tuple[int, ...]] = {}
    texts: dict[str, str] = {}
    constant = None
    for number, wire, value, stop in fields(content, start, end):
        if wire != _BYTES:
            continue
        if number == 5:
            name, whole_numbers, text, tensor = _attribute(content, value, stop)
            if name in ints:
                raise ValueError(_TWICE)
            ints[name], texts[name] = whole_numbers, text
            constant = tensor or constant
        elif number in (1, 2, 4, 7):
            text = bytes(content[value:stop]).decode()
            if number == 1:
                inputs.append(text)
            elif number == 2:
                outputs.append(text)
            elif number == 4:
                op = text
            else:
                domain = text
    return Node(
        op=op,
        domain=domain,
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        ints={name: found for name, found in ints.items() if found},
        texts={name: text for name, text in texts.items() if text},
        constant=constant,
    )


def _attribute(content: memoryview, start: int, end: int) -> tuple[str, tuple[int, ...], str, Tensor | None]:
    name, text, tensor = "", "", None
    single: list[int] = []
    ints: list[int] = []
    for number, wire, value, stop in fields(content, start, end):
        if number in (6, 11):
            raise ValueError("it has graphs inside nodes")
        if number in (22, 23):
            raise ValueError("it has sparse tensors")
        if number == 1 and wire == _BYTES:
            name = bytes(content[value:stop]).decode()
        elif number == 4 and wire == _BYTES:
            text = bytes(content[value:stop]).decode("utf-8", "replace")
        elif number == 3 and wire == _VARINT:
            single.append(_signed(value))
        elif number == 8:
            ints += _ints(content, wire, value, stop)
        elif number == 5 and wire == _BYTES:
            if tensor:
                raise ValueError(_TWICE)
            tensor = _tensor(content, value, stop)
    # Readers may differ in which of them they take.
    if len(single) > 1 or (single and ints):
        raise ValueError(_TWICE)
    return name, tuple(single or ints), text, tensor


def _tensor(content: memoryview, start: int, end: int) -> Tensor:
    name, kind, raw = "", 0, b""
    shape: list[int] = []
    entries: list[int] = []
    for number, wire, value, stop in fields(content, start, end):
        if number == 1:
            shape += _ints(content, wire, value, stop)
        elif number == 2 and wire == _VARINT:
            kind = value
        elif number in (5, 7):
            # int8 weights may be kept as integers too: their shape is enough.
            entries += _ints(content, wire, value, stop) if stop - value <= 10 * _MOST_ENTRIES else []
        elif number == 8 and wire == _BYTES:
            name = bytes(content[value:stop]).decode()
        elif number == 9 and wire == _BYTES:
            raw = bytes(content[value:stop]) if stop - value <= 8 * _MOST_ENTRIES else b""
    if min(shape, default=0) < 0:
        raise ValueError("a tensor has a negative dimension")
    if kind not in (_INT32, _INT64):
        return Tensor(name=name, shape=tuple(shape), entries=None)
    if raw:
        width = 8 if kind == _INT64 else 4
        entries = list(
            struct.unpack(f"<{len(raw) // width}{'q' if width == 8 else 'i'}", raw[: len(raw) // width * width])
        )
    count = 1
    for length in shape:
        count *= length
    return Tensor(name=name, shape=tuple(shape), entries=tuple(entries) if len(entries) == count else None)


def _value(content: memoryview, start: int, end: int) -> tuple[str, tuple[int | None, ...]]:
    """Name and shape of an input or output; the shape is empty where it is no tensor."""
    name, at = "", (start, end)
    for number, value, stop in _locate(content, start, end, {1: "name", 2: "type"}, {}):
        if number == 1:
            name = bytes(content[value:stop]).decode()
        else:
            at = (value, stop)
    # Type, tensor, shape, one inside the other.
    for number in (1, 2):
        inner = _locate(content, *at, {number: ""}, {})
        if not inner:
            return name, ()
        at = inner[0][1:]
    return name, tuple(
        _dimension(content, value, stop) for _, value, stop in _locate(content, *at, {1: ""}, {}, many=True)
    )


def _dimension(content: memoryview, start: int, end: int) -> int | None:
    length = None
    for number, wire, value, _ in fields(content, start, end):
        if (number, wire) == (1, _VARINT):
            length = _signed(value)
    return length


def _ints(content: memoryview, wire: int, value: int, stop: int) -> Iterator[int]:
    """Yield integers, one by one or packed."""
    if wire == _VARINT:
        yield _signed(value)
    elif wire == _BYTES:
        at = value
        while at < stop:
            number, at = varint(content, at, stop)
            yield _signed(number)


def _signed(number: int) -> int:
    number &= (1 << 64) - 1
    return number - (1 << 64) if number >> 63 else number
