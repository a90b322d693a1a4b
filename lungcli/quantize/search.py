"""The quantization ladder: one way after another, from the smallest file up, until a file judges as its float one does.

It is climbed on the validation part. A row of `STRATEGIES` says what to try; what happens on it is a value as well.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from lungcli.core.errors import UsageError
from lungcli.core.events import Event
from lungcli.evaluation import acceptance, benchmark
from lungcli.evaluation.acceptance import Decision
from lungcli.metrics import classification
from lungcli.metrics.predictions import Evaluation
from lungcli.modelfile import model_file
from lungcli.modelfile.model_card import Int8Proof, RungFigures
from lungcli.quantize import bias_correction, int8_coverage, sensitivity, static_qdq, weight_compression
from lungcli.quantize.static_qdq import Method, Ranges

if TYPE_CHECKING:
    import onnx

FLOAT = "float32"
Form = Literal["int8", "float16", "int8-weights"]

# Seconds of each turn at timing a rung, long enough for the median of a table.
_SECONDS = 0.4
# Slices that rank the nodes: each node costs a quantization, a start of the runtime, and these.
_RANKED_ON = 16
# Slices that biases are corrected on. Logits come no nearer with more; which rung holds changes by chance (LOG.md).
_CORRECTED_ON = 48


@dataclass(frozen=True, slots=True, kw_only=True)
class Strategy:
    """A way to quantize. Without a `method` it takes that of the best rung so far, and its scales.

    `corrected` takes back by the biases what rounding adds to the means of layers. `ends` leaves the first and the last
    layer in float, `worst` the most sensitive nodes: a share of the number of layers. A rung that is `tuned` quantizes
    the net after fine-tuning. A rung of another `form` than int8 only keeps its weights smaller.
    """

    name: str
    form: Form = "int8"
    method: Method | None = None
    per_channel: bool = True
    corrected: bool = False
    ends: bool = False
    worst: float = 0.0
    tuned: bool = False

    @property
    def least(self) -> float:
        """Share of layers that must run on integers for a file of this rung to be called int8."""
        if self.form != "int8":
            return 0.0
        return int8_coverage.LEAST if self.ends or self.worst else int8_coverage.ENOUGH


STRATEGIES: dict[Form, tuple[Strategy, ...]] = {
    "int8": (
        Strategy(name="minmax per tensor", method="minmax", per_channel=False),
        Strategy(name="minmax per channel", method="minmax"),
        Strategy(name="percentile per tensor", method="percentile", per_channel=False),
        Strategy(name="percentile per channel", method="percentile"),
        Strategy(name="entropy per tensor", method="entropy", per_channel=False),
        Strategy(name="entropy per channel", method="entropy"),
        Strategy(name="biases corrected", corrected=True),
        Strategy(name="corrected, ends in float", corrected=True, ends=True),
        Strategy(name="corrected, worst 5 % in float", corrected=True, ends=True, worst=0.05),
        Strategy(name="corrected, worst 15 % in float", corrected=True, ends=True, worst=0.15),
        Strategy(name="corrected, worst 30 % in float", corrected=True, ends=True, worst=0.30),
    ),
    "float16": (Strategy(name="float16", form="float16"),),
    "int8-weights": (Strategy(name="int8 weights", form="int8-weights"),),
}
TUNED = (
    Strategy(name="fine-tuned", tuned=True),
    Strategy(name="fine-tuned, ends in float", ends=True, tuned=True),
    Strategy(name="fine-tuned, worst 5 % in float", ends=True, worst=0.05, tuned=True),
)
"""Rungs after the last of `LADDERS["int8"]`, for a ground that can fine-tune."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What may be lost: `max_drop` of `metric` and of malignant sensitivity, and the share of verdicts that stay."""

    max_drop: float = 0.01
    min_agreement: float = 0.99
    metric: str = acceptance.METRIC


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A rung, its model file, and how that did. `evidence` is None for the float file, with which a ladder begins."""

    rung: Strategy
    path: Path
    figures: RungFigures
    evidence: Int8Proof | None = None

    @property
    def holds(self) -> bool:
        """Whether the rung lost no more than the limits allow."""
        return not self.figures.fails


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizationContext:
    """What a ladder stands on.

    `calibration` holds prepared slices of the training part, uint8 (n, S, S); `finish` makes a model file of a graph;
    `judge` gives a model's verdicts on the validation part. `tune` writes the graph of the net after
    quantization-aware fine-tuning, telling of it in events; None where that is not wanted, or nobody has the weights.
    """

    source: Path
    calibration: NDArray[np.uint8]
    finish: Callable[[Path, Path], None]
    judge: Callable[[model_file.Model], Evaluation]
    tune: Callable[[Path], Iterator[Event]] | None = None


def search(
    ground: QuantizationContext, folder: Path, limits: Limits, rungs: Sequence[Strategy] = STRATEGIES["int8"]
) -> Iterator[Strategy | Trial | Event]:
    """Try rung after rung up to the first that holds, leaving the model files in `folder`.

    Yields the float file as tried, then each rung before and after it is tried, and the events of fine-tuning before
    the first rung that needs it. Raises UsageError without slices, ModelFileError when the net can't be quantized.
    """
    before = model_file.load(ground.source)
    reference = ground.judge(before)
    if not reference.slices:
        raise UsageError("a ladder is climbed on slices, and there are none", "give it slices of the validation part")
    yield Trial(rung=Strategy(name=FLOAT), path=ground.source, figures=_figures(FLOAT, before, before, reference))
    tuned = folder / "tuned.onnx"
    make = _maker(ground, tuned)
    done: list[Trial] = []
    for number, rung in enumerate(rungs):
        yield rung
        if rung.tuned and ground.tune and not tuned.exists():
            yield from ground.tune(tuned)
        graph, path = folder / f"{number}.graph", folder / f"{number}.onnx"
        make(rung, done, graph)
        ground.finish(graph, path)
        graph.unlink()
        tried = _tried(rung, before, model_file.load(path), reference, ground, limits)
        done.append(tried)
        yield tried
        if tried.holds:
            return


def best_trial(tried: Sequence[Trial]) -> Trial:
    """Choose, of at least one rung, the one that holds, else the one that lost least of what they are judged by.

    Rungs that are not really int8 come last.
    """

    def loss(each: Trial) -> tuple[bool, bool, float, float]:
        figures, evidence = each.figures, each.evidence
        drops = [-item.value for item in (figures.difference, figures.malignant) if item and item.value is not None]
        lost = sum(max(0.0, drop) for drop in drops) + 1 - figures.agreement
        unreal = each.rung.form == "int8" and not (evidence and int8_coverage.is_int8(evidence, each.rung.least))
        return not each.holds, unreal, lost, figures.largest_change

    return min((each for each in tried if each.evidence), key=loss)


def shortfalls(decision: Decision, evidence: Int8Proof, limits: Limits, least: float) -> tuple[str, ...]:
    """Say why a rung does not hold; empty where it does.

    One verdict may always differ, unless all must agree: of fewer than a hundred slices it is more than 1 %.
    """
    found = []
    if not acceptance.within(decision.difference, limits.max_drop) or decision.difference.value is None:
        found.append(decision.metric.replace("_", " "))
    if not acceptance.within(decision.malignant, limits.max_drop):
        found.append("malignant sensitivity")
    spared = math.floor((1 - limits.min_agreement) * evidence.n + 1e-9)
    allowed = spared if limits.min_agreement >= 1 else max(1, spared)
    if round((1 - evidence.agreement) * evidence.n) > allowed:
        found.append("agreement")
    if least and not int8_coverage.is_int8(evidence, least):
        found.append(f"only {evidence.int8_nodes} of {evidence.nodes} layers in int8")
    return tuple(dict.fromkeys(found))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Net:
    """A prepared net, the ranges measured on it so far, and its nodes by sensitivity once a rung has asked."""

    graph: "onnx.ModelProto"
    measured: dict[Method, Ranges] = field(default_factory=dict)
    ranked: list[tuple[str, ...]] = field(default_factory=list)


def _maker(ground: QuantizationContext, tuned: Path) -> Callable[[Strategy, Sequence[Trial], Path], None]:
    """Return what makes a rung's graph; a net is prepared, and each range measured, when a rung first asks."""
    nets = {False: _Net(graph=static_qdq.prepare(ground.source))}

    def make(rung: Strategy, done: Sequence[Trial], to: Path) -> None:
        if rung.form != "int8":
            weight_compression.shrink(ground.source, to, rung.form)
            return
        earlier = [each for each in done if each.rung.method]
        like = rung if rung.method or not earlier else best_trial(earlier).rung
        method: Method = like.method or "minmax"
        # Fine-tuning plays one scale an output channel.
        per_channel = rung.tuned or like.per_channel
        if rung.tuned not in nets:
            nets[rung.tuned] = _Net(graph=static_qdq.prepare(tuned))
        net = nets[rung.tuned]
        if method not in net.measured:
            net.measured[method] = static_qdq.measure(net.graph, ground.calibration, method)
        ranges = net.measured[method]
        spared = set(sensitivity.ends(net.graph)) if rung.ends else set()
        if rung.worst:
            if not net.ranked:
                slices = _some(ground.calibration, _RANKED_ON)
                net.ranked.append(sensitivity.by_sensitivity(net.graph, ranges, slices, per_channel=per_channel))
            spared |= set(net.ranked[0][: math.ceil(rung.worst * sensitivity.count(net.graph))])
        made = static_qdq.rounded(net.graph, ranges, per_channel=per_channel, in_float=spared)
        if rung.corrected:
            bias_correction.correct(made, net.graph, _some(ground.calibration, _CORRECTED_ON))
        static_qdq.write(made, to)

    return make


def _some(slices: NDArray[np.uint8], most: int) -> NDArray[np.uint8]:
    return slices[:: max(1, len(slices) // most)][:most]


def _tried(
    rung: Strategy,
    before: model_file.Model,
    after: model_file.Model,
    reference: Evaluation,
    ground: QuantizationContext,
    limits: Limits,
) -> Trial:
    verdicts = ground.judge(after)
    decision = acceptance.decide(verdicts, reference, limits.max_drop, limits.metric)
    evidence = int8_coverage.compared(ground.source, after, reference.arrays()[1], verdicts.arrays()[1])
    figures = msgspec.structs.replace(
        _figures(rung.name, before, after, verdicts),
        agreement=evidence.agreement,
        largest_change=evidence.largest_change,
        nodes=evidence.nodes,
        int8_nodes=evidence.int8_nodes,
        difference=decision.difference,
        malignant=decision.malignant,
        fails=shortfalls(decision, evidence, limits, rung.least),
    )
    return Trial(rung=rung, path=after.path, figures=figures, evidence=evidence)


def _figures(name: str, before: model_file.Model, after: model_file.Model, verdicts: Evaluation) -> RungFigures:
    """Figures of `after` that need no comparison; it is timed in turns with the float file `before`."""
    timed = benchmark.benchmark((before, after), seconds=_SECONDS, warmups=3)[-1]
    balanced = float(classification.balanced_accuracy(verdicts.matrices().sum(axis=0)))
    return RungFigures(
        name=name,
        bytes=after.path.stat().st_size,
        p50=timed.p50,
        balanced_accuracy=None if math.isnan(balanced) else balanced,
        agreement=1.0,
        largest_change=0.0,
        nodes=0,
        int8_nodes=0,
    )
