"""Weights kept smaller: as near to what they were as their form allows, and what is small is left alone."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from lungcli.core.errors import ModelFileError
from lungcli.quantize import weight_compression
from tests.modelfile import graphs

WEIGHTS = {
    "wide": np.random.default_rng(0).normal(size=(8, 1, 4, 8)).astype(np.float32),
    "narrow": np.random.default_rng(1).normal(size=(5, 8, 1, 1)).astype(np.float32),
    "head": np.random.default_rng(2).normal(size=(3, 100)).astype(np.float32),
    "bias": np.zeros(300, dtype=np.float32),
}
# A row of nothing, and one beyond what float16 holds.
WEIGHTS["wide"][3], WEIGHTS["wide"][5, 0, 0, 0] = 0, 1e6


@pytest.fixture
def net(tmp_path: Path) -> Path:
    """Weights of 256, 40 and 300 numbers, and 300 biases."""
    ends = {name: np.array([value], dtype=np.int64) for name, value in (("start", 0), ("end", 100), ("axis", 1))}
    nodes = [
        helper.make_node("Cast", ["slice"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Conv", ["float", "wide"], ["first"], strides=[4, 8]),
        helper.make_node("Conv", ["first", "narrow"], ["second"]),
        helper.make_node("Reshape", ["second", "one"], ["row"]),
        helper.make_node("Slice", ["row", "start", "end", "axis"], ["some"]),
        helper.make_node("Gemm", ["some", "head"], ["out"], transB=1),
        helper.make_node("ReduceSum", ["bias"], ["nothing"], keepdims=0),
        helper.make_node("Add", ["out", "nothing"], ["logits"]),
    ]
    return graphs.save(
        nodes, {**WEIGHTS, "one": np.array([0, -1], dtype=np.int64), **ends}, tmp_path / "net", 3, graphs.SIZE
    )


def kept(path: Path) -> dict[str, NDArray[np.generic]]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer}


def test_weights_become_float16_as_near_as_that_goes(net: Path, tmp_path: Path) -> None:
    weight_compression.compress_weights(net, tmp_path / "small", "float16")

    found = kept(tmp_path / "small")
    assert {name for name, value in found.items() if value.dtype == np.float16} == {"wide.float16", "head.float16"}
    np.testing.assert_array_equal(found["head.float16"], WEIGHTS["head"].astype(np.float16))
    np.testing.assert_array_equal(found["wide.float16"], np.clip(WEIGHTS["wide"], -65504, 65504).astype(np.float16))


def test_weights_become_int8_with_a_scale_an_output_channel(net: Path, tmp_path: Path) -> None:
    weight_compression.compress_weights(net, tmp_path / "small", "int8-weights")

    found = kept(tmp_path / "small")
    assert {name for name, value in found.items() if value.dtype == np.int8} == {"wide.int8", "head.int8"}
    assert found["wide.scale"].shape == (8, 1, 1, 1)
    assert found["head.scale"].shape == (3, 1)
    for name in ("wide", "head"):
        levels, scale = found[f"{name}.int8"].astype(np.float64), found[f"{name}.scale"].astype(np.float64)
        largest = np.abs(WEIGHTS[name]).reshape(len(scale), -1).max(axis=1)
        np.testing.assert_allclose(scale.ravel()[largest > 0] * 127, largest[largest > 0], rtol=1e-6)
        assert (np.abs(levels * scale - WEIGHTS[name]) <= scale * 0.5001).all()
    assert not found["wide.int8"][3].any()


@pytest.mark.parametrize("form", ["float16", "int8-weights"])
def test_what_is_small_or_no_matrix_stays_and_the_logits_are_near(
    form: weight_compression.Kept, net: Path, tmp_path: Path
) -> None:
    weight_compression.compress_weights(net, tmp_path / "small", form)

    found = kept(tmp_path / "small")
    np.testing.assert_array_equal(found["narrow"], WEIGHTS["narrow"])
    assert not onnx.load(tmp_path / "small").metadata_props
    slices = graphs.slices(4)[:, None]
    # The row beyond float16 is not what is asked about here.
    before, after = (
        onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(["logits"], {"slice": slices})
        for path in (net, tmp_path / "small")
    )
    if form == "int8-weights":
        assert np.abs(before[0] - after[0]).max() < 0.02 * np.ptp(before[0])


def test_what_is_no_net_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no net")
    with pytest.raises(ModelFileError, match="cannot quantize"):
        weight_compression.compress_weights(tmp_path / "text", tmp_path / "small", "float16")
