"""Proving that an int8 file computes on integers and judges as its float file does."""

import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lungcli.core import metrics
from lungcli.core.errors import LungcliError, UsageError
from lungcli.core.modelcard import Int8Proof
from lungcli.inference import modelfile
from lungcli.inference.evaluate import logits_of
from lungcli.inference.modelfile import Model

# Names of the operators onnxruntime runs convolutions and matrix products with, after its own fusions.
FLOAT_OPERATORS = frozenset(
    {"Conv", "FusedConv", "NhwcFusedConv", "ConvTranspose", "Gemm", "FusedGemm", "MatMul", "FusedMatMul"}
)
INT8_OPERATORS = frozenset(
    {
        "ConvInteger",
        "DynamicQuantizeMatMul",
        "MatMulInteger",
        "MatMulIntegerToFloat",
        "NhwcQLinearConv",
        "QGemm",
        "QLinearConv",
        "QLinearConvTranspose",
        "QLinearMatMul",
    }
)
_ENOUGH = 0.9


def prove(float_model: Path, int8_model: Path, slices: NDArray[np.uint8]) -> Int8Proof:
    """Compare the two model files on prepared slices (n, S, S), n ≥ 1; each judges with its own card's temperature.

    Raises UsageError without slices, ModelFileError when either is no model file.
    """
    if not len(slices):
        raise UsageError("an int8 model is proved on slices, and there are none", "give it slices of the val part")
    before, after = modelfile.load(float_model), modelfile.load(int8_model)
    operators = executed(after)
    ours, theirs = (
        metrics.softmax(logits_of(model, slices, range(len(slices))), model.card.temperature)
        for model in (before, after)
    )
    int8_nodes = sum(operators[name] for name in INT8_OPERATORS)
    return Int8Proof(
        nodes=int8_nodes + sum(operators[name] for name in FLOAT_OPERATORS),
        int8_nodes=int8_nodes,
        size_ratio=int8_model.stat().st_size / float_model.stat().st_size,
        agreement=float((ours.argmax(axis=1) == theirs.argmax(axis=1)).mean()),
        largest_change=float(np.abs(ours - theirs).max()),
        n=len(slices),
    )


def executed(model: Model) -> Counter[str]:
    """Count the operators, by type, of the graph that the runtime really executes after its optimisations."""
    import onnx

    with tempfile.TemporaryDirectory(prefix="lungcli-proof-") as folder:
        optimised = Path(folder) / "optimised.onnx"
        options = modelfile.session_options(model.threads)
        options.optimized_model_filepath = str(optimised)
        modelfile.start(model.path.read_bytes(), model.path, options)
        return Counter(node.op_type for node in onnx.load(optimised).graph.node)


def require_int8(proof: Int8Proof) -> None:
    """Raise LungcliError when fewer than nine in ten convolutions and matrix products run on integers."""
    if not proof.int8_nodes or proof.int8_nodes < _ENOUGH * proof.nodes:
        raise LungcliError(
            f"the model is not really int8: {proof.int8_nodes} of {proof.nodes} convolutions and matrix products "
            "run on integers",
            "keep the float model, or choose a net that quantizes well: lungcli models list",
        )
