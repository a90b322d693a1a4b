"""Bias correction: each layer of an int8 net gives the means that it gave in float."""

import copy
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from lungcli.modelfile import model_file
from lungcli.quantize import bias_correction, static_qdq
from tests.modelfile import graphs

SLICES = graphs.slices(24, seed=1)
LAYERS = ("stem", "dw", "point")


@pytest.fixture
def net(tmp_path: Path) -> onnx.ModelProto:
    model_file.write(graphs.convolutional(tmp_path / "net"), graphs.card(), tmp_path / "float.onnx")
    return static_qdq.prepare(tmp_path / "float.onnx")


def rounded(net: onnx.ModelProto, *in_float: str) -> onnx.ModelProto:
    return static_qdq.quantize(
        net, static_qdq.measure_ranges(net, SLICES, "minmax"), per_channel=False, in_float=in_float
    )


def means(net: onnx.ModelProto, layer: str) -> NDArray[np.float64]:
    """The mean a channel of what a layer gives, by the runtime on the whole net."""
    whole = copy.deepcopy(net)
    if layer not in (item.name for item in whole.graph.output):
        whole.graph.output.append(helper.make_tensor_value_info(layer, TensorProto.FLOAT, None))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(whole.SerializeToString(), options, providers=["CPUExecutionProvider"])
    tensor = session.run([layer], {"slice": SLICES[:, None]})[0]
    return np.asarray(tensor.mean(axis=tuple(axis for axis in range(tensor.ndim) if axis != 1), dtype=np.float64))


def error(made: onnx.ModelProto, net: onnx.ModelProto, layer: str) -> float:
    """How far the means of a layer are off; its output has another name where the runtime's quantizer renames it."""
    name = next(node.name for node in net.graph.node if layer in node.output)
    twin = next(node for node in made.graph.node if node.name == name)
    return float(np.abs(means(made, twin.output[0]) - means(net, layer)).max())


def bias(made: onnx.ModelProto, name: str) -> onnx.TensorProto:
    return next(tensor for tensor in made.graph.initializer if tensor.name.startswith(name))


def test_each_layer_gives_the_means_it_gave_in_float(net: onnx.ModelProto) -> None:
    made = rounded(net)
    before = [error(made, net, layer) for layer in LAYERS]
    bias_correction.correct(made, net, SLICES)
    after = [error(made, net, layer) for layer in LAYERS]
    assert max(after) < 1e-3
    assert all(least < most / 5 for least, most in zip(after, before, strict=True))


def test_layers_left_in_float_make_good_what_those_before_them_lost(net: onnx.ModelProto) -> None:
    name = next(node.name for node in net.graph.node if "point" in node.output)
    made = rounded(net, name)
    assert bias(made, "point.b").data_type == TensorProto.FLOAT
    assert error(made, net, "point") > 1e-3
    bias_correction.correct(made, net, SLICES)
    assert error(made, net, "point") < 1e-5


def test_a_bias_that_is_off_comes_back(net: onnx.ModelProto) -> None:
    """What was added to the first layer is taken off there, and no later layer takes it off again."""
    made = rounded(net)
    bias_correction.correct(made, net, SLICES)
    spoilt = copy.deepcopy(made)
    tensor = bias(spoilt, "stem.b")
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) + np.int32(400), tensor.name))
    bias_correction.correct(spoilt, net, SLICES)
    for name in ("stem.b", "depthwise.b", "point.b", "head.b"):
        off = numpy_helper.to_array(bias(spoilt, name)).astype(np.int64) - numpy_helper.to_array(bias(made, name))
        assert np.abs(off).max() <= 1


def test_nothing_but_biases_changes(net: onnx.ModelProto) -> None:
    made = rounded(net)
    kept = copy.deepcopy(made)
    bias_correction.correct(made, net, SLICES)
    changed = [old.name for old, new in zip(kept.graph.initializer, made.graph.initializer, strict=True) if old != new]
    assert changed
    assert all(name.partition(".b")[1] for name in changed)
    assert list(kept.graph.node) == list(made.graph.node)


def test_a_layer_without_a_bias_stays_as_it_is(tmp_path: Path) -> None:
    model_file.write(graphs.brightness(tmp_path / "net"), graphs.card(), tmp_path / "float.onnx")
    net = static_qdq.prepare(tmp_path / "float.onnx")
    made = rounded(net)
    before = made.SerializeToString(deterministic=True)
    bias_correction.correct(made, net, SLICES)
    assert made.SerializeToString(deterministic=True) == before


def test_logits_are_nearer_to_what_they_were_on_the_mean(tmp_path: Path) -> None:
    gains = []
    for seed in range(8):
        model_file.write(graphs.convolutional(tmp_path / "net", seed), graphs.card(), tmp_path / "float.onnx")
        net = static_qdq.prepare(tmp_path / "float.onnx")
        made = rounded(net)
        before = float(np.abs(means(made, "logits") - means(net, "logits")).max())
        bias_correction.correct(made, net, SLICES)
        gains.append(before / max(float(np.abs(means(made, "logits") - means(net, "logits")).max()), 1e-9))
    assert np.median(gains) > 2
