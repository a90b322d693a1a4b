"""Static int8 quantization of a float ONNX net, in QDQ form: the runtime fuses the pairs into integer operators."""

import contextlib
import copy
import io
import logging
import tempfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from lungcli.core import cpu, paths
from lungcli.core.errors import ModelFileError, UsageError
from lungcli.modelfile import graph_rules, onnx_wire
from lungcli.modelfile.model_file import INPUT
from lungcli.modelfile.trial_run import runtime_errors

if TYPE_CHECKING:
    import onnx

RangeMethod = Literal["minmax", "percentile", "entropy"]
Ranges = Any
"""The range of every tensor: the `TensorsData` of the runtime's quantizer, which is untyped."""

_ROUNDED_BY_RUNTIME = frozenset({"Conv", "ConvTranspose", "Gemm"})
_NORMALISING = frozenset({"Cast", "Sub", "Mul", "Div", "Add"})
# The runtime keeps every activation of a chunk in memory, and merges histograms chunk by chunk.
_CHUNK = 4
# A slice has millions of activations: 48 slices give as good a 99.999th percentile as 256, in a fifth of the time.
_HISTOGRAM_SLICES = 48
# The runtime's default percentiles are symmetric, which wastes half of the levels behind a ReLU. Entropy keeps its
# default of 128 bins (more as later slices widen the range): finer ones clip the outputs of a ReLU, mostly zeros, too
# low.
_OPTIONS: Mapping[RangeMethod, Mapping[str, object]] = {
    "minmax": {},
    "percentile": {"symmetric": False, "num_bins": 2048, "percentile": 99.999},
    "entropy": {},
}


def prepare(source: Path) -> "onnx.ModelProto":
    """Return the net in `source` with float operators fused, shapes inferred, and a name for every node.

    Raises ModelFileError when `source` is no net, or one that cannot be quantized.
    """
    import onnx
    from onnxruntime.quantization.shape_inference import quant_pre_process

    try:
        content = source.read_bytes()
    except OSError as error:
        raise ModelFileError(f"cannot quantize {source}: {error.strerror or error}", "check the path") from error
    with _scratch(str(source)) as folder:
        if onnx_wire.summary(memoryview(content)).external:
            raise ValueError("it keeps weights in another file")
        graph_rules.require(memoryview(content))
        # Symbolic shapes are not needed: only the batch is open, which ONNX's own shape inference can handle.
        quant_pre_process(str(source), str(folder / "prepared.onnx"), skip_symbolic_shape=True)
        net = onnx.load(folder / "prepared.onnx")
    for number, node in enumerate(net.graph.node):
        node.name = node.name or f"{node.op_type}_{number}"
    return net


def measure_ranges(net: "onnx.ModelProto", calibration: NDArray[np.uint8], method: RangeMethod) -> Ranges:
    """Measure the range of every tensor of a prepared net on prepared slices of training groups, uint8 (n, S, S).

    Raises UsageError without slices, ModelFileError when they do not fit the net.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod
    from onnxruntime.quantization.calibrate import create_calibrator

    if not len(calibration):
        raise UsageError("int8 needs slices to calibrate on, and there are none", "give it slices of the training part")

    class Slices(CalibrationDataReader):  # type: ignore[misc]
        """Hands the calibration slices to the runtime, one at a time: histograms need batches of one size."""

        def __init__(self, chunk: NDArray[np.uint8]) -> None:
            self.slices = iter(chunk)

        def get_next(self) -> Mapping[str, NDArray[np.uint8]] | None:
            item = next(self.slices, None)
            return None if item is None else {INPUT: item[None, None]}

    methods = {
        "minmax": CalibrationMethod.MinMax,
        "entropy": CalibrationMethod.Entropy,
        "percentile": CalibrationMethod.Percentile,
    }
    slices = calibration
    if method != "minmax":
        slices = calibration[:: max(1, len(calibration) // _HISTOGRAM_SLICES)][:_HISTOGRAM_SLICES]
    with _scratch("the net") as folder:
        onnx.save(net, folder / "net.onnx")
        calibrator = create_calibrator(
            folder / "net.onnx",
            _operators(),
            augmented_model_path=str(folder / "augmented.onnx"),
            calibrate_method=methods[method],
            providers=["CPUExecutionProvider"],
            extra_options=dict(_OPTIONS[method]),
        )
        for start in range(0, len(slices), _CHUNK):
            calibrator.collect_data(Slices(slices[start : start + _CHUNK]))
        return calibrator.compute_data()


def quantize(
    net: "onnx.ModelProto",
    ranges: Ranges,
    *,
    per_channel: bool = True,
    in_float: Collection[str] = (),
    only: Collection[str] = (),
) -> "onnx.ModelProto":
    """Return the int8 form of a prepared net, whose layers keep their names.

    The nodes named `in_float` are not quantized; with `only`, no other than those are. Raises ModelFileError.
    """
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    with _scratch("the net"):
        quantizer = QDQQuantizer(
            copy.deepcopy(net),
            per_channel,
            # Without VNNI two int8 products are added in 16 bits, which overflow unless weights keep to 7 bits.
            cpu.has_vnni() is False,
            QuantType.QInt8,
            # On x86 the runtime makes signed activations unsigned, but falls back to float where two nodes read them.
            # Unsigned from the start, every convolution and sum of a ResNet runs on integers.
            QuantType.QUInt8,
            ranges,
            sorted(only),
            [*normalization_nodes(net), *sorted(in_float)],
            _operators(),
            {},
        )
        quantizer.quantize_model()
        _keep_in_float(quantizer.model.model, in_float)
        quantizer.model.topological_sort()
        quantized: onnx.ModelProto = quantizer.model.model
    return quantized


def _keep_in_float(net: "onnx.ModelProto", names: Collection[str]) -> None:
    """Keep the runtime from quantizing layers that are to stay in float.

    The runtime rounds the weights of a float layer between int8 tensors, with one scale a tensor (its
    `WeightBiasQuantization`). It does not where another operator gives the layer its input: here one that clips to the
    range of int8, which changes nothing.
    """
    from onnx import helper, numpy_helper

    producers = {name: node for node in net.graph.node for name in node.output}
    readers = {name: node for node in net.graph.node for name in node.input}
    weights = {tensor.name: tensor for tensor in net.graph.initializer}
    for node in [node for node in net.graph.node if node.name in names and node.op_type in _ROUNDED_BY_RUNTIME]:
        producer, reader = producers.get(node.input[0]), readers.get(node.output[0])
        while reader and reader.op_type in ("Relu", "Clip"):
            reader = readers.get(reader.output[0])
        if not producer or not reader or (producer.op_type, reader.op_type) != ("DequantizeLinear", "QuantizeLinear"):
            continue
        scale, zero = (numpy_helper.to_array(weights[name]).astype(np.float32) for name in producer.input[1:3])
        clipped = f"{node.name}_held"
        for end, level in (("low", 0), ("high", 255)):
            limit = np.asarray((level - zero) * scale, dtype=np.float32)
            net.graph.initializer.append(numpy_helper.from_array(limit, f"{clipped}_{end}"))
        net.graph.node.append(helper.make_node("Clip", [node.input[0], f"{clipped}_low", f"{clipped}_high"], [clipped]))
        node.input[0] = clipped


def write(net: "onnx.ModelProto", to: Path) -> None:
    """Write the int8 form of a net to `to`, atomically, without a model card and with short names."""
    shortened = copy.deepcopy(net)
    _shorten_names(shortened)
    paths.atomic_write(to, shortened.SerializeToString(deterministic=True))


def _shorten_names(net: "onnx.ModelProto") -> None:
    """Drop what the runtime does not need, and give tensors short names: a tenth of a small file is names."""
    graph = net.graph
    del net.metadata_props[:], graph.value_info[:]
    fixed = {item.name for item in (*graph.input, *graph.output)}
    names = [tensor.name for tensor in graph.initializer]
    names += [name for node in graph.node for name in node.output]
    short = {name: f"t{number:x}" for number, name in enumerate(dict.fromkeys(names)) if name and name not in fixed}
    for tensor in graph.initializer:
        tensor.name = short.get(tensor.name, tensor.name)
    for node in graph.node:
        node.name = ""
        node.input[:] = [short.get(name, name) for name in node.input]
        node.output[:] = [short.get(name, name) for name in node.output]


def normalization_nodes(net: "onnx.ModelProto") -> list[str]:
    """Name the nodes before the first convolution, which stay in float: the slice is rounded once, not twice."""
    constants = {weight.name for weight in net.graph.initializer}
    reached, names = {INPUT}, []
    for node in net.graph.node:
        inputs = set(node.input) - constants
        if node.op_type in _NORMALISING and inputs and inputs <= reached:
            reached.update(node.output)
            names.append(node.name)
    return names


def _operators() -> list[str]:
    from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

    return sorted({*QLinearOpsRegistry, *QDQRegistry})


@contextlib.contextmanager
def _scratch(net: str) -> Iterator[Path]:
    """Yield a folder for the quantizer, silence its logs and prints, and turn its errors into ModelFileError.

    Temporary files of its own lie there too: elsewhere, those of a killed process would never be deleted.
    """
    disabled, elsewhere = logging.root.manager.disable, tempfile.tempdir
    logging.disable(logging.ERROR)
    try:
        with (
            paths.scratch("int8") as folder,
            contextlib.redirect_stdout(io.StringIO()),
            paths.os_errors_as(folder),
        ):
            tempfile.tempdir = str(folder)
            yield folder
    except runtime_errors() as error:
        reason = str(error).strip().partition("\n")[0]
        raise ModelFileError(f"cannot quantize {net}: {reason}", "export the net again") from error
    finally:
        tempfile.tempdir = elsewhere
        logging.disable(disabled)
