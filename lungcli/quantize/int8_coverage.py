"""Proving that an int8 file computes on integers and predicts as its float file does."""

from collections import Counter
from pathlib import Path

import numpy as np

from lungcli.core import paths
from lungcli.core.errors import LungcliError, UsageError
from lungcli.metrics import predictions
from lungcli.metrics.predictions import Evaluation
from lungcli.modelfile import model_file
from lungcli.modelfile.model_card import Int8Proof
from lungcli.modelfile.model_file import Model
from lungcli.quantize import sensitivity

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
FULL_SHARE, MIXED_SHARE = 0.9, 0.5
"""Least share of layers that run on integers: of a file quantized throughout, and of one with layers left in float."""


def prove(float_model: Path, after: Model, ours: Evaluation, theirs: Evaluation) -> Int8Proof:
    """Prove `after` with the predictions of the float file (`ours`) and its own (`theirs`) for the same slices.

    Raises UsageError when there are none.
    """
    if not ours.slices:
        raise UsageError("an int8 model is proved on slices, and there are none", "give it slices of the val part")
    operators = executed_operators(after)
    int8_nodes = sum(operators[name] for name in INT8_OPERATORS)
    return Int8Proof(
        nodes=int8_nodes + sum(operators[name] for name in FLOAT_OPERATORS),
        int8_nodes=int8_nodes,
        size_ratio=after.path.stat().st_size / float_model.stat().st_size,
        agreement=predictions.agreement(ours, theirs),
        largest_change=float(np.abs(ours.arrays()[1] - theirs.arrays()[1]).max()),
        n=len(ours.slices),
    )


def executed_operators(model: Model) -> Counter[str]:
    """Count the operators, by type, that the runtime executes for the logits, after its optimisations.

    Those that only the class activation map needs do not count.
    """
    import onnx

    with paths.scratch("proof") as folder:
        optimised = folder / "optimised.onnx"
        options = model_file.session_options(model.threads)
        options.optimized_model_filepath = str(optimised)
        model_file.start(model.path.read_bytes(), model.path, options)
        return Counter(node.op_type for node in sensitivity.ancestors(onnx.load(optimised), model_file.OUTPUT))


def require_int8(proof: Int8Proof, share: float = FULL_SHARE) -> None:
    """Raise LungcliError when fewer than `share` of the convolutions and matrix products run on integers."""
    if not is_int8(proof, share):
        raise LungcliError(
            f"the model is not really int8: {proof.int8_nodes} of {proof.nodes} convolutions and matrix products "
            "run on integers",
            "keep the float model, or choose a net that quantizes well: lungcli models list",
        )


def is_int8(proof: Int8Proof, share: float) -> bool:
    """Say whether at least `share` of the convolutions and matrix products, and at least one, run on integers."""
    return proof.int8_nodes > 0 and proof.int8_nodes >= share * proof.nodes
