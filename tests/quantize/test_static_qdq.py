import logging
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnxruntime.quantization import shape_inference

from lungcli.core import cpu
from lungcli.core.errors import ModelFileError, UsageError
from lungcli.modelfile import model_file
from lungcli.quantize import int8_coverage, static_qdq
from tests.modelfile import graphs


def _int8(folder: Path, source: Path, **options: object) -> model_file.Model:
    graphs.quantized(source, graphs.slices(20, seed=1), folder / "int8", **options)  # type: ignore[arg-type]
    model_file.write(folder / "int8", graphs.card(precision="int8"), folder / "int8.onnx")
    return model_file.load(folder / "int8.onnx")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    model_file.write(graphs.convolutional(tmp_path / "net"), graphs.card(), tmp_path / "float.onnx")
    return tmp_path / "float.onnx"


@pytest.mark.parametrize("method", ["minmax", "entropy", "percentile"])
@pytest.mark.parametrize("per_channel", [True, False])
def test_the_int8_net_predicts_nearly_the_same(method: str, per_channel: bool, source: Path, tmp_path: Path) -> None:
    slices = graphs.slices(30, seed=2)
    before = model_file.load(source).logits(slices)
    after = _int8(tmp_path, source, method=method, per_channel=per_channel).logits(slices)
    assert np.abs(after - before).max() < 0.2 * np.ptp(before)
    assert (after.argmax(axis=1) == before.argmax(axis=1)).mean() >= 0.9


def test_convolutions_sum_and_head_run_on_integers(source: Path, tmp_path: Path) -> None:
    operators = int8_coverage.executed_operators(_int8(tmp_path, source))
    assert operators["QLinearConv"] == 3
    assert operators["QLinearAdd"] == 1
    assert operators["QGemm"] == 1
    assert not Counter(operators) & Counter(["Conv", "FusedConv", "Gemm", "MatMul", "Add"])


def test_a_layer_left_in_float_between_int8_ones_is_computed_in_float(source: Path, tmp_path: Path) -> None:
    """The runtime would round its weights by itself, and worse: with one scale a tensor."""
    net = static_qdq.prepare(source)
    slices = graphs.slices(20, seed=1)
    name = next(node.name for node in net.graph.node if "point.w" in node.input)
    made = static_qdq.quantize(net, static_qdq.measure_ranges(net, slices, "minmax"), in_float=[name])
    static_qdq.write(made, tmp_path / "int8")
    model_file.write(tmp_path / "int8", graphs.card(precision="int8"), tmp_path / "int8.onnx")
    operators = int8_coverage.executed_operators(model_file.load(tmp_path / "int8.onnx"))
    assert operators["QLinearConv"] == 2
    assert operators["Conv"] + operators["FusedConv"] == 1


def test_the_slice_is_normalised_in_float_and_rounded_once(source: Path, tmp_path: Path) -> None:
    graphs.quantized(source, graphs.slices(4), tmp_path / "int8")
    nodes = onnx.load(tmp_path / "int8").graph.node
    first = next(node for node in nodes if node.op_type == "QuantizeLinear")
    before = [node.op_type for node in nodes[: list(nodes).index(first)] if node.op_type != "DequantizeLinear"]
    assert before == ["Cast", "Sub", "Mul"]


def test_the_outcome_has_no_card_and_stands_alone(source: Path, tmp_path: Path) -> None:
    graphs.quantized(source, graphs.slices(4), tmp_path / "int8")
    assert not onnx.load(tmp_path / "int8").metadata_props
    assert not [item for item in tmp_path.iterdir() if "partial" in item.name or item.suffix == ".data"]


def test_names_take_little_room(source: Path, tmp_path: Path) -> None:
    """Only those of input and output are for people; the others would be a tenth of a small file."""
    graphs.quantized(source, graphs.slices(4), tmp_path / "int8")
    graph = onnx.load(tmp_path / "int8").graph
    names = {name for node in graph.node for name in (*node.input, *node.output)}
    assert {name for name in names if len(name) > 4} == {"slice", "logits"}
    assert not graph.value_info


def test_the_same_slices_give_the_same_bytes(source: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        graphs.quantized(source, graphs.slices(4), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize(("vnni", "reduced"), [(True, False), (False, True), (None, False)])
def test_weights_keep_to_seven_bits_only_without_vnni(
    vnni: bool | None, reduced: bool, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu, "has_vnni", lambda: vnni)
    graphs.quantized(source, graphs.slices(4), tmp_path / "int8")
    weights = [
        onnx.numpy_helper.to_array(item)
        for item in onnx.load(tmp_path / "int8").graph.initializer
        if item.data_type == onnx.TensorProto.INT8 and len(item.dims) > 1
    ]
    assert len(weights) == 4
    assert (max(int(np.abs(item.astype(np.int64)).max()) for item in weights) <= 64) is reduced


def test_silence(source: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    graphs.quantized(source, graphs.slices(4), tmp_path / "int8", method="entropy")
    assert capfd.readouterr() == ("", "")
    assert logging.root.manager.disable == logging.NOTSET


def test_no_slices_to_calibrate_on(source: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="slices to calibrate on"):
        graphs.quantized(source, graphs.slices(0), tmp_path / "int8")


def test_what_is_no_net_is_refused_and_the_old_file_stays(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no net")
    (tmp_path / "int8").write_text("old")
    for name in ("text", "missing"):
        with pytest.raises(ModelFileError, match="cannot quantize"):
            graphs.quantized(tmp_path / name, graphs.slices(2), tmp_path / "int8")
    assert (tmp_path / "int8").read_text() == "old"


def test_slices_of_another_size_are_refused(source: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="cannot quantize"):
        graphs.quantized(source, graphs.slices(2, size=16), tmp_path / "int8")


def test_temporary_files_of_the_runtime_lie_in_a_folder_that_the_next_call_deletes(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders: list[str] = []
    real = shape_inference.quant_pre_process

    def watched(*arguments: Any, **options: Any) -> None:
        folders.append(tempfile.gettempdir())
        real(*arguments, **options)

    monkeypatch.setattr(shape_inference, "quant_pre_process", watched)
    before = tempfile.gettempdir()
    static_qdq.prepare(source)
    assert Path(folders[0]).name.startswith("lungcli-scratch-")
    assert tempfile.gettempdir() == before
