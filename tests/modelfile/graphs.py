"""Tiny nets with the input and output of the real ones, and cards to go with them."""

import datetime
from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from lungcli.core.recipe import Recipe
from lungcli.imaging.preprocessing import VERSION
from lungcli.modelfile import model_file as modelfile
from lungcli.modelfile.model_card import DataCard, ModelCard, SplitCard
from lungcli.quantize import static_qdq

SIZE = 32
CLASSES = ("benign", "malignant", "normal")


def card(**changes: object) -> ModelCard:
    """Return a card for `brightness` and `convolutional` nets, with `changes`."""
    plain = ModelCard(
        model="tiny",
        stage="student",
        precision="float32",
        classes=CLASSES,
        size=SIZE,
        preparation=VERSION,
        temperature=2.0,
        parameters=10,
        teacher="",
        data=DataCard(name="phantom", digest="d", slices=6, groups=3, synthetic=True, licence="CC0-1.0", citation=""),
        split=SplitCard(protocol="grouped", seed=0, digest="s"),
        recipe=Recipe(data="phantom", model="tiny", size=SIZE),
        created=datetime.datetime(2025, 1, 1, tzinfo=datetime.UTC),
        versions={},
    )
    return msgspec.structs.replace(plain, **changes)


def brightness(path: Path, classes: int = len(CLASSES), size: int = SIZE) -> Path:
    """Write a net without weights to learn: the logit of class k is k × the mean grey of the slice (0 to 1)."""
    nodes = [
        helper.make_node("Cast", ["slice"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("GlobalAveragePool", ["float"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("MatMul", ["flat", "slope"], ["logits"]),
    ]
    slope = np.arange(classes, dtype=np.float32)[None] / np.float32(255)
    return save(nodes, {"slope": slope}, path, classes, size)


def convolutional(path: Path, seed: int = 0) -> Path:
    """Write a net with the parts of real ones: plain and depthwise convolutions, sum, hard-swish, dense head."""
    rng = np.random.default_rng(seed)
    weights: dict[str, NDArray[np.float32]] = {
        "grey": np.full(1, 127.5, dtype=np.float32),
        "scale": np.full(1, 1 / 127.5, dtype=np.float32),
        "stem.w": _normal(rng, (16, 1, 3, 3)),
        "stem.b": _normal(rng, (16,)),
        "depthwise.w": _normal(rng, (16, 1, 3, 3)),
        "depthwise.b": _normal(rng, (16,)),
        "point.w": _normal(rng, (16, 16, 1, 1)),
        "point.b": _normal(rng, (16,)),
        "head.w": _normal(rng, (len(CLASSES), 16)),
        "head.b": _normal(rng, (len(CLASSES),)),
    }
    nodes = [
        helper.make_node("Cast", ["slice"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["float", "grey"], ["centred"]),
        helper.make_node("Mul", ["centred", "scale"], ["normal"]),
        helper.make_node("Conv", ["normal", "stem.w", "stem.b"], ["stem"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["stem"], ["stem.out"]),
        helper.make_node("Conv", ["stem.out", "depthwise.w", "depthwise.b"], ["dw"], group=16, pads=[1, 1, 1, 1]),
        helper.make_node("HardSwish", ["dw"], ["dw.out"]),
        helper.make_node("Conv", ["dw.out", "point.w", "point.b"], ["point"]),
        helper.make_node("Add", ["point", "stem.out"], ["sum"]),
        helper.make_node("GlobalAveragePool", ["sum"], ["pool"]),
        helper.make_node("Flatten", ["pool"], ["flat"]),
        helper.make_node("Gemm", ["flat", "head.w", "head.b"], ["logits"], transB=1),
    ]
    return save(nodes, weights, path, len(CLASSES), SIZE)


def nodules(path: Path, size: int = 128, *, evidence: bool = True) -> Path:
    """Write a net that knows nodules by shape: bright where all eight places around, some pixels away, are dark.

    Its evidence for the class malignant is how much brighter than the brightest of the eight; the others get none.
    Its two convolutions blur, and shift and subtract. Without `evidence` it keeps that to itself.
    """
    reach, spread = 10, 2
    around = [(reach, 0), (7, 7), (0, reach), (-7, 7), (-reach, 0), (-7, -7), (0, -reach), (7, -7)]
    axis = np.arange(-2 * spread, 2 * spread + 1)
    bell = np.exp(-0.5 * (axis / spread) ** 2)
    shifts = np.zeros((8, 1, 2 * reach + 1, 2 * reach + 1), dtype=np.float32)
    for channel, (right, down) in enumerate(around):
        shifts[channel, 0, reach, reach] = 1
        shifts[channel, 0, reach + down, reach + right] = -1
    weights: dict[str, NDArray[np.float32]] = {
        "scale": np.full(1, 1 / 255, dtype=np.float32),
        "bell": (np.outer(bell, bell) / bell.sum() ** 2).astype(np.float32)[None, None],
        "shifts": shifts,
        "least": np.full(8, -0.1, dtype=np.float32),
        "head": np.array([0, 16000, 0], dtype=np.float32).reshape(3, 1, 1, 1),
        "usual": np.array([0, 0, 1], dtype=np.float32),
    }
    pads = {"pads": [2 * spread] * 4}, {"pads": [reach] * 4}
    nodes = [
        helper.make_node("Cast", ["slice"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["float", "scale"], ["grey"]),
        helper.make_node("Conv", ["grey", "bell"], ["blurred"], **pads[0]),
        helper.make_node("Conv", ["blurred", "shifts", "least"], ["brighter"], **pads[1]),
        helper.make_node("Relu", ["brighter"], ["positive"]),
        helper.make_node("ReduceMin", ["positive", "channels"], ["all"], keepdims=1),
        helper.make_node("Conv", ["all", "head", "usual"], ["evidence"]),
        helper.make_node("GlobalAveragePool", ["evidence"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["logits"]),
    ]
    channels = {"channels": np.array([1], dtype=np.int64)}
    return save(nodes, {**weights, **channels}, path, 3, size, evidence=(size, size) if evidence else None)


def model_file(path: Path, **changes: object) -> Path:
    """Write a `brightness` net as a model file."""
    graph = brightness(path.with_suffix(".graph"))
    modelfile.write(graph, card(**changes), path)
    return path


def nodule_file(path: Path, **changes: object) -> Path:
    """Write a `nodules` net as a model file."""
    graph = nodules(path.with_suffix(".graph"))
    modelfile.write(graph, card(size=128, temperature=1.0, **changes), path)
    return path


def quantized(
    source: Path,
    calibration: NDArray[np.uint8],
    to: Path,
    method: static_qdq.RangeMethod = "minmax",
    *,
    per_channel: bool = True,
) -> None:
    """Write the int8 form of the model file `source`, without a card."""
    net = static_qdq.prepare(source)
    ranges = static_qdq.measure_ranges(net, calibration, method)
    static_qdq.write(static_qdq.quantize(net, ranges, per_channel=per_channel), to)


def slices(count: int, seed: int = 0, size: int = SIZE) -> NDArray[np.uint8]:
    """Draw slices (count, size, size) of different brightness and texture."""
    rng = np.random.default_rng(seed)
    level = rng.uniform(40, 215, size=(count, 1, 1))
    return np.clip(level + rng.normal(0, 40, size=(count, size, size)), 0, 255).astype(np.uint8)


def _normal(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
    fan_in = max(int(np.prod(shape[1:])), 1)
    return np.asarray(rng.normal(scale=(2 / fan_in) ** 0.5, size=shape), dtype=np.float32)


def save(
    nodes: list[onnx.NodeProto],
    weights: Mapping[str, NDArray[np.generic]],
    path: Path,
    classes: int,
    size: int,
    evidence: tuple[int, int] | None = None,
) -> Path:
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", classes])]
    if evidence:
        outputs.append(helper.make_tensor_value_info("evidence", TensorProto.FLOAT, ["N", classes, *evidence]))
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("slice", TensorProto.UINT8, ["N", 1, size, size])],
        outputs,
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, path)
    return path
