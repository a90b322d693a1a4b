"""Quantization search: one strategy after another, the smallest files first, until one predicts as the float file.

Trials are evaluated on the validation part. A row of `STRATEGIES` says what to try.
"""

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from numpy.typing import NDArray

from lungcli.core.commands import Form
from lungcli.core.errors import UsageError
from lungcli.core.events import Event
from lungcli.evaluation import acceptance
from lungcli.evaluation.acceptance import Decision
from lungcli.metrics import classification
from lungcli.metrics.predictions import Evaluation
from lungcli.modelfile import model_file
from lungcli.modelfile.model_card import Int8Proof, TrialFigures
from lungcli.quantize import bias_correction, int8_coverage, sensitivity, static_qdq, weight_compression
from lungcli.quantize.static_qdq import RangeMethod, Ranges

if TYPE_CHECKING:
    import onnx

FLOAT = "float32"
# Each node to rank costs a quantization, a start of the runtime, and these slices.
_RANKING_SLICES = 16
# More slices bring the logits no nearer; which strategy passes changes by chance (LOG.md).
_CORRECTION_SLICES = 48


@dataclass(frozen=True, slots=True, kw_only=True)
class Strategy:
    """A way to quantize. Without a `method` it takes that of the best trial so far, and its scales.

    `corrects_biases`: see `bias_correction`. `ends_in_float` leaves the first and the last layer in float,
    `sensitive_in_float` the most sensitive nodes: a share of the number of layers. `fine_tuned` quantizes the net after
    fine-tuning. Another `form` than int8 only compresses the weights.
    """

    name: str
    form: Form = "int8"
    method: RangeMethod | None = None
    per_channel: bool = True
    corrects_biases: bool = False
    ends_in_float: bool = False
    sensitive_in_float: float = 0.0
    fine_tuned: bool = False

    @property
    def min_int8_share(self) -> float:
        """Share of layers that must run on integers for a file of this strategy to be called int8."""
        if self.form != "int8":
            return 0.0
        return int8_coverage.MIXED_SHARE if self.ends_in_float or self.sensitive_in_float else int8_coverage.FULL_SHARE


STRATEGIES: dict[Form, tuple[Strategy, ...]] = {
    "int8": (
        Strategy(name="minmax per tensor", method="minmax", per_channel=False),
        Strategy(name="minmax per channel", method="minmax"),
        Strategy(name="percentile per tensor", method="percentile", per_channel=False),
        Strategy(name="percentile per channel", method="percentile"),
        Strategy(name="entropy per tensor", method="entropy", per_channel=False),
        Strategy(name="entropy per channel", method="entropy"),
        Strategy(name="biases corrected", corrects_biases=True),
        Strategy(name="corrected, ends in float", corrects_biases=True, ends_in_float=True),
        Strategy(
            name="corrected, worst 5 % in float", corrects_biases=True, ends_in_float=True, sensitive_in_float=0.05
        ),
        Strategy(
            name="corrected, worst 15 % in float", corrects_biases=True, ends_in_float=True, sensitive_in_float=0.15
        ),
        Strategy(
            name="corrected, worst 30 % in float", corrects_biases=True, ends_in_float=True, sensitive_in_float=0.30
        ),
    ),
    "float16": (Strategy(name="float16", form="float16"),),
    "int8-weights": (Strategy(name="int8 weights", form="int8-weights"),),
}
FINE_TUNED = (
    Strategy(name="fine-tuned", fine_tuned=True),
    Strategy(name="fine-tuned, ends in float", ends_in_float=True, fine_tuned=True),
    Strategy(name="fine-tuned, worst 5 % in float", ends_in_float=True, sensitive_in_float=0.05, fine_tuned=True),
)
"""Strategies after the last of `STRATEGIES["int8"]`, for a net whose weights can be fine-tuned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What may be lost: `max_drop` of `metric` and of sensitivity, and the share of findings to stay."""

    max_drop: float = 0.01
    min_agreement: float = 0.99
    metric: str = acceptance.METRIC


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A strategy, its model file and figures. `proof` is None for the float file, the first trial of a search."""

    strategy: Strategy
    path: Path
    figures: TrialFigures
    proof: Int8Proof | None = None

    @property
    def passes(self) -> bool:
        """Whether no more was lost than the limits allow."""
        return not self.figures.fails


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizationContext:
    """What a search needs of the model file `source`.

    `calibration` holds prepared slices of the training part, uint8 (n, S, S); `write_model` makes a model file of a
    graph; `evaluate` predicts the validation part. `fine_tune` writes the graph of the net after quantization-aware
    fine-tuning, yielding its events; None where that is not wanted, or the weights are not there.
    """

    source: Path
    calibration: NDArray[np.uint8]
    write_model: Callable[[Path, Path], None]
    evaluate: Callable[[model_file.Model], Evaluation]
    fine_tune: Callable[[Path], Iterator[Event]] | None = None


def search(
    context: QuantizationContext, folder: Path, limits: Limits, strategies: Sequence[Strategy] = STRATEGIES["int8"]
) -> Iterator[Strategy | Trial | Event]:
    """Try strategies in order up to the first that passes, leaving the model files in `folder`.

    Yields a trial of the float file, then each strategy, its trial after it, and the events of fine-tuning before the
    first one that needs it. Raises UsageError without slices, ModelFileError when the net can't be quantized.
    """
    before = model_file.load(context.source)
    reference = context.evaluate(before)
    if not reference.slices:
        raise UsageError(
            "a quantization search needs slices, and there are none", "give it slices of the validation part"
        )
    yield Trial(strategy=Strategy(name=FLOAT), path=context.source, figures=_figures(FLOAT, before, reference))
    tuned_graph = folder / "tuned.onnx"
    prepared = functools.cache(functools.partial(_Net, calibration=context.calibration))
    trials: list[Trial] = []
    for number, strategy in enumerate(strategies):
        yield strategy
        if strategy.fine_tuned and context.fine_tune and not tuned_graph.exists():
            yield from context.fine_tune(tuned_graph)
        graph, path = folder / f"{number}.graph", folder / f"{number}.onnx"
        if strategy.form == "int8":
            net = prepared(tuned_graph if strategy.fine_tuned else context.source)
            static_qdq.write(net.quantized(strategy, trials), graph)
        else:
            weight_compression.compress_weights(context.source, graph, strategy.form)
        context.write_model(graph, path)
        graph.unlink()
        trial = _evaluate_trial(strategy, model_file.load(path), reference, context, limits)
        trials.append(trial)
        yield trial
        if trial.passes:
            return


def best_trial(trials: Sequence[Trial]) -> Trial:
    """Choose, of at least one trial, the one that passes, else the one that lost least; those not int8 come last."""

    def loss(trial: Trial) -> tuple[bool, bool, float, float]:
        figures, proof = trial.figures, trial.proof
        drops = [-item.value for item in (figures.difference, figures.sensitivity) if item and item.value is not None]
        lost = sum(max(0.0, drop) for drop in drops) + 1 - figures.agreement
        is_int8 = proof is not None and int8_coverage.is_int8(proof, trial.strategy.min_int8_share)
        return not trial.passes, trial.strategy.form == "int8" and not is_int8, lost, figures.largest_change

    return min((trial for trial in trials if trial.proof), key=loss)


def shortfalls(decision: Decision, proof: Int8Proof, limits: Limits, min_int8_share: float) -> tuple[str, ...]:
    """Return the limits that a trial misses; empty where it passes.

    One finding may always differ, unless all must agree: of fewer than a hundred slices it is more than 1 %.
    """
    reasons = []
    if not acceptance.within(decision.difference, limits.max_drop) or decision.difference.value is None:
        reasons.append(decision.metric.replace("_", " "))
    if not acceptance.within(decision.sensitivity, limits.max_drop):
        reasons.append(f"{decision.positive_class} sensitivity")
    spare = math.floor((1 - limits.min_agreement) * proof.n + 1e-9)
    allowed = spare if limits.min_agreement >= 1 else max(1, spare)
    if round((1 - proof.agreement) * proof.n) > allowed:
        reasons.append("agreement")
    if min_int8_share and not int8_coverage.is_int8(proof, min_int8_share):
        reasons.append(f"only {proof.int8_nodes} of {proof.nodes} layers in int8")
    return tuple(dict.fromkeys(reasons))


class _Net:
    """A prepared net; its ranges are measured, and its nodes ranked by sensitivity, when first needed."""

    def __init__(self, source: Path, calibration: NDArray[np.uint8]) -> None:
        self._graph = static_qdq.prepare(source)
        self._calibration = calibration
        self._ranges: dict[RangeMethod, Ranges] = {}
        self._by_sensitivity: tuple[str, ...] | None = None

    def quantized(self, strategy: Strategy, trials: Sequence[Trial]) -> "onnx.ModelProto":
        """Return the int8 form of the net by `strategy`, after the `trials` so far."""
        earlier = [trial for trial in trials if trial.strategy.method]
        template = strategy if strategy.method or not earlier else best_trial(earlier).strategy
        method: RangeMethod = template.method or "minmax"
        # Fine-tuning simulates one scale per output channel.
        per_channel = strategy.fine_tuned or template.per_channel
        if method not in self._ranges:
            self._ranges[method] = static_qdq.measure_ranges(self._graph, self._calibration, method)
        ranges = self._ranges[method]
        in_float = set(sensitivity.end_layers(self._graph)) if strategy.ends_in_float else set()
        if strategy.sensitive_in_float:
            if self._by_sensitivity is None:
                slices = _evenly_spread(self._calibration, _RANKING_SLICES)
                self._by_sensitivity = sensitivity.rank_by_sensitivity(
                    self._graph, ranges, slices, per_channel=per_channel
                )
            count = math.ceil(strategy.sensitive_in_float * sensitivity.count_layers(self._graph))
            in_float |= set(self._by_sensitivity[:count])
        net = static_qdq.quantize(self._graph, ranges, per_channel=per_channel, in_float=in_float)
        if strategy.corrects_biases:
            bias_correction.correct(net, self._graph, _evenly_spread(self._calibration, _CORRECTION_SLICES))
        return net


def _evenly_spread(slices: NDArray[np.uint8], most: int) -> NDArray[np.uint8]:
    return slices[:: max(1, len(slices) // most)][:most]


def _evaluate_trial(
    strategy: Strategy,
    after: model_file.Model,
    reference: Evaluation,
    context: QuantizationContext,
    limits: Limits,
) -> Trial:
    evaluation = context.evaluate(after)
    decision = acceptance.decide(
        "quantization", (strategy.form, evaluation), ("float32", reference), limits.max_drop, limits.metric
    )
    proof = int8_coverage.prove(context.source, after, reference, evaluation)
    figures = msgspec.structs.replace(
        _figures(strategy.name, after, evaluation),
        agreement=proof.agreement,
        largest_change=proof.largest_change,
        nodes=proof.nodes,
        int8_nodes=proof.int8_nodes,
        difference=decision.difference,
        sensitivity=decision.sensitivity,
        fails=shortfalls(decision, proof, limits, strategy.min_int8_share),
    )
    return Trial(strategy=strategy, path=after.path, figures=figures, proof=proof)


def _figures(name: str, model: model_file.Model, evaluation: Evaluation) -> TrialFigures:
    """Return the figures of `model` that need no comparison."""
    balanced = float(classification.balanced_accuracy(evaluation.matrices().sum(axis=0)))
    return TrialFigures(
        name=name,
        bytes=model.path.stat().st_size,
        balanced_accuracy=None if math.isnan(balanced) else balanced,
        agreement=1.0,
        largest_change=0.0,
        nodes=0,
        int8_nodes=0,
    )
