import contextlib
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from lungcli.modelfile import onnx_wire
from tests.modelfile import graphs


def _model(*nodes: onnx.NodeProto, weights: tuple[onnx.TensorProto, ...] = ()) -> onnx.ModelProto:
    return helper.make_model(helper.make_graph(nodes, "g", [], [], list(weights)))


def _external() -> onnx.TensorProto:
    tensor = numpy_helper.from_array(np.zeros(3, dtype=np.float32), "w")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../secret")
    return tensor


def _summary(model: onnx.ModelProto) -> onnx_wire.Summary:
    return onnx_wire.summary(memoryview(model.SerializeToString()))


@settings(deadline=None, max_examples=40)
@given(st.dictionaries(st.text(), st.text(), max_size=4))
def test_metadata_is_what_onnx_wrote(metadata: dict[str, str]) -> None:
    model = _model()
    helper.set_model_props(model, metadata)
    assert _summary(model).metadata == metadata


def test_a_net_with_its_own_weights_is_not_external(tmp_path: Path) -> None:
    content = graphs.convolutional(tmp_path / "net.onnx").read_bytes()
    assert not onnx_wire.summary(memoryview(content)).external


@pytest.mark.parametrize("field", ["value", "tensors"])
def test_external_weights_are_found_in_attributes(field: str) -> None:
    node = helper.make_node("Constant", [], ["w"], **{field: _external() if field == "value" else [_external()]})
    assert _summary(_model(node)).external


@pytest.mark.parametrize("field", ["external_data", "data_location"])
def test_either_sign_of_external_weights_is_enough(field: str) -> None:
    tensor = _external()
    tensor.ClearField(field)
    assert _summary(_model(weights=(tensor,))).external


def test_external_weights_are_found_in_a_list_of_graphs() -> None:
    node = helper.make_node("Branches", [], [], graphs=[_model(weights=(_external(),)).graph])
    assert _summary(_model(node)).external


def test_external_weights_are_found_however_deep() -> None:
    model = _model(weights=(_external(),))
    assert _summary(model).external
    for _ in range(20):
        branch = helper.make_node("If", ["c"], ["y"], then_branch=model.graph)
        model = _model(branch)
    assert _summary(model).external


@pytest.mark.parametrize("content", [b"", b"hello, this is no model\n", b"\x00" * 64, b"\xff" * 64, b"PK\x03\x04zip"])
def test_other_files_are_refused(content: bytes) -> None:
    with pytest.raises(ValueError):
        onnx_wire.summary(memoryview(content))


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_a_file_cut_short_is_refused_or_has_no_graph_lost(data: st.DataObject) -> None:
    model = _model(helper.make_node("Relu", ["a"], ["b"]))
    model.graph.name = "g" * 50
    whole = model.SerializeToString()
    graph_starts = whole.index(b"g" * 50)
    cut = data.draw(st.integers(0, graph_starts + 49))
    with pytest.raises(ValueError):
        onnx_wire.summary(memoryview(whole[:cut]))


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=200))
def test_any_bytes_end_in_a_summary_or_a_value_error(content: bytes) -> None:
    with contextlib.suppress(ValueError):
        onnx_wire.summary(memoryview(content))
