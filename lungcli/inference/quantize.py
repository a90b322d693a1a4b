"""Static int8 quantization of a float ONNX net, in QDQ form: the runtime fuses the pairs into integer operators."""

import contextlib
import io
import logging
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from lungcli.core import machine, paths
from lungcli.core.errors import ModelFileError, UsageError
from lungcli.inference import onnxwire
from lungcli.inference.modelfile import INPUT, RUNTIME_ERRORS

if TYPE_CHECKING:
    import onnx

Method = Literal["minmax", "entropy", "percentile"]

_NORMALISING = frozenset({"Cast", "Sub", "Mul", "Div", "Add"})


def quantize(
    source: Path, calibration: NDArray[np.uint8], to: Path, method: Method = "minmax", per_channel: bool = True
) -> None:
    """Write the int8 form of the float net `source` to `to`, atomically and without a model card.

    `calibration` holds prepared slices of training groups, uint8 (n, S, S), n ≥ 1; their activations set the ranges
    of every tensor (`method`: their extremes, the range of least divergence, or the 99.999th percentile). Weights
    have one scale an output channel with `per_channel`. Raises UsageError without slices, ModelFileError when
    `source` cannot be quantized.
    """
    if not len(calibration):
        raise UsageError("int8 needs slices to calibrate on, and there are none", "give it slices of the training part")
    try:
        content = source.read_bytes()
    except OSError as error:
        raise ModelFileError(f"cannot quantize {source}: {error.strerror or error}", "check the path") from error
    with paths.saying_why_not(to), tempfile.TemporaryDirectory(prefix="lungcli-int8-") as folder, _quiet():
        try:
            onnxwire.summary(memoryview(content))
            net = _quantized(_prepared(source, Path(folder)), calibration, Path(folder), method, per_channel)
        except RUNTIME_ERRORS as error:
            reason = str(error).strip().partition("\n")[0]
            raise ModelFileError(f"cannot quantize {source}: {reason}", "export the net again") from error
    del net.metadata_props[:]
    paths.write(to, net.SerializeToString(deterministic=True))


def _prepared(source: Path, folder: Path) -> "onnx.ModelProto":
    """Fuse what can be fused in float, work out every shape, and give every node a name to be excluded by."""
    import onnx
    from onnxruntime.quantization.shape_inference import quant_pre_process

    # Symbolic shapes are for transformers; here only the batch is open, and ONNX's own inference copes with that.
    quant_pre_process(str(source), str(folder / "prepared.onnx"), skip_symbolic_shape=True)
    net = onnx.load(folder / "prepared.onnx")
    for number, node in enumerate(net.graph.node):
        node.name = node.name or f"{node.op_type}_{number}"
    return net


def _quantized(
    net: "onnx.ModelProto", calibration: NDArray[np.uint8], folder: Path, method: Method, per_channel: bool
) -> "onnx.ModelProto":
    import onnx
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    class Slices(CalibrationDataReader):  # type: ignore[misc]
        """Hands the calibration slices to the runtime, one at a time: histograms need batches of one size."""

        def __init__(self) -> None:
            self.slices = iter(calibration)

        def get_next(self) -> Mapping[str, NDArray[np.uint8]] | None:
            item = next(self.slices, None)
            return None if item is None else {INPUT: item[None, None]}

    methods = {
        "minmax": CalibrationMethod.MinMax,
        "entropy": CalibrationMethod.Entropy,
        "percentile": CalibrationMethod.Percentile,
    }
    quantize_static(
        net,
        str(folder / "int8.onnx"),
        Slices(),
        quant_format=QuantFormat.QDQ,
        # On x86 the runtime turns signed activations into unsigned ones, but not where two nodes read them: there
        # it stays in float. Unsigned from the start, every convolution and sum of a ResNet runs on integers.
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        per_channel=per_channel,
        # Without VNNI two int8 products are added in 16 bits, which overflow unless weights keep to 7 bits.
        reduce_range=machine.has_vnni() is False,
        nodes_to_exclude=_normalising(net),
        calibrate_method=methods[method],
        calibration_providers=["CPUExecutionProvider"],
    )
    return onnx.load(folder / "int8.onnx")


def _normalising(net: "onnx.ModelProto") -> list[str]:
    """Name the nodes between the input and the first convolution: in float, the slice is rounded once, not twice."""
    constants = {weight.name for weight in net.graph.initializer}
    reached, names = {INPUT}, []
    for node in net.graph.node:
        inputs = set(node.input) - constants
        if node.op_type in _NORMALISING and inputs and inputs <= reached:
            reached.update(node.output)
            names.append(node.name)
    return names


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the quantizer's advice, which it logs and prints, off the terminal."""
    disabled = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(disabled)
