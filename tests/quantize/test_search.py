"""Quantization search: what is tried, when it stops, which trial is chosen, and what counts as lost."""

import dataclasses
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper

from lungcli.core.errors import UsageError
from lungcli.core.events import Event, StageStarted, now
from lungcli.evaluation.acceptance import Decision
from lungcli.evaluation.evaluate import predict_logits
from lungcli.metrics import calibration
from lungcli.metrics.intervals import Estimate
from lungcli.metrics.predictions import Evaluation
from lungcli.modelfile import model_file
from lungcli.modelfile.model_card import Int8Proof, TrialFigures
from lungcli.quantize import int8_coverage, search, sensitivity, static_qdq
from lungcli.quantize.search import STRATEGIES, Limits, QuantizationContext, Strategy, Trial
from tests.modelfile import graphs

CALIBRATION, VALIDATION = graphs.slices(24, seed=1), graphs.slices(60, seed=2)
LIMITS = Limits()


def wide_range(path: Path) -> Path:
    """Write a net that collapses with one scale a tensor: a channel with weights 300 times those that decide.

    The strong channel takes the difference of two equal ones, so it gives nothing and no activation is large.
    """
    weights = {
        "grey": np.full(1, 127.5, dtype=np.float32),
        "scale": np.full(1, 1 / 127.5, dtype=np.float32),
        "stem.w": np.ones((2, 1, 1, 1), dtype=np.float32),
        "stem.b": np.ones(2, dtype=np.float32),
        "mix.w": np.array([[30, -30], [0.1, 0], [0, -0.1]], dtype=np.float32)[:, :, None, None],
        "mix.b": np.zeros(3, dtype=np.float32),
        "head.w": np.array([[0, 0, 30], [0, 60, 0], [0, 0, 0]], dtype=np.float32),
        "head.b": np.array([3, -6, -5], dtype=np.float32),
    }
    nodes = [
        helper.make_node("Cast", ["slice"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["float", "grey"], ["centred"]),
        helper.make_node("Mul", ["centred", "scale"], ["normal"]),
        helper.make_node("Conv", ["normal", "stem.w", "stem.b"], ["stem"]),
        helper.make_node("Conv", ["stem", "mix.w", "mix.b"], ["mix"]),
        helper.make_node("GlobalAveragePool", ["mix"], ["pool"]),
        helper.make_node("Flatten", ["pool"], ["flat"]),
        helper.make_node("Gemm", ["flat", "head.w", "head.b"], ["logits"], transB=1),
    ]
    return graphs.save(nodes, weights, path, 3, graphs.SIZE)


def context(folder: Path, graph: Path, validation: NDArray[np.uint8] = VALIDATION) -> QuantizationContext:
    """The context of a search; the true classes are what the float file predicts."""
    source = folder / "float.onnx"
    model_file.write(graph, graphs.card(temperature=1.0), source)
    truth = predict_logits(model_file.load(source), validation, range(len(validation))).argmax(axis=1)

    def evaluate(model: model_file.Model) -> Evaluation:
        probabilities = calibration.softmax(predict_logits(model, validation, range(len(validation))))
        return Evaluation(
            classes=graphs.CLASSES,
            part="val",
            protocol="grouped",
            split_digest="s",
            slices=tuple(f"{number}.png" for number in range(len(validation))),
            labels=tuple(int(label) for label in truth),
            groups=tuple(number // 2 for number in range(len(validation))),
            probabilities=tuple(tuple(row) for row in probabilities.tolist()),
        )

    def write_model(graph: Path, to: Path) -> None:
        model_file.write(graph, graphs.card(temperature=1.0, precision="int8"), to)

    return QuantizationContext(source=source, calibration=CALIBRATION, write_model=write_model, evaluate=evaluate)


def trials_of(
    where: QuantizationContext,
    folder: Path,
    limits: Limits = LIMITS,
    strategies: Sequence[Strategy] = STRATEGIES["int8"],
) -> list[Trial]:
    return [step for step in search.search(where, folder, limits, strategies) if isinstance(step, Trial)]


def test_a_net_that_collapses_per_tensor_passes_by_a_later_strategy(tmp_path: Path) -> None:
    trials = trials_of(context(tmp_path, wide_range(tmp_path / "net")), tmp_path)
    assert [trials[0].strategy.name, trials[1].strategy.name] == ["float32", "minmax per tensor"]
    collapsed, passing = trials[1], trials[-1]
    assert not collapsed.passes
    assert collapsed.figures.agreement < 0.9
    assert passing.passes
    assert passing.figures.agreement == 1
    assert all(not trial.passes for trial in trials[1:-1])
    assert search.best_trial(trials) is passing
    operators = int8_coverage.executed_operators(model_file.load(passing.path))
    assert passing.figures.int8_nodes == operators["QLinearConv"] + operators["QGemm"] >= 1


def test_it_stops_at_the_first_strategy_that_passes_and_yields_each_before_its_trial(tmp_path: Path) -> None:
    steps = list(search.search(context(tmp_path, wide_range(tmp_path / "net")), tmp_path, Limits()))
    yielded = [
        step.name if isinstance(step, Strategy) else f"{step.strategy.name} tried"
        for step in steps
        if isinstance(step, Strategy | Trial)
    ]
    assert yielded == [
        "float32 tried",
        "minmax per tensor",
        "minmax per tensor tried",
        "minmax per channel",
        "minmax per channel tried",
    ]


def test_the_last_strategies_quantize_the_net_that_was_fine_tuned_once(tmp_path: Path) -> None:
    """Here fine-tuning gives the whole net of before the collapse."""
    broken = onnx.load(wide_range(tmp_path / "net"))
    where = context(tmp_path, wide_range(tmp_path / "whole"))
    tuning_event = StageStarted(time=now(), stage="fine-tune", about="heal")
    tunings = []

    def tune(to: Path) -> Iterator[Event]:
        tunings.append(to)
        yield tuning_event
        onnx.save(broken, to)

    strategies = (
        STRATEGIES["int8"][0],
        Strategy(name="tuned", fine_tuned=True, ends_in_float=True),
        Strategy(name="tuned again", fine_tuned=True),
    )
    able = dataclasses.replace(where, fine_tune=tune)
    steps = list(search.search(able, tmp_path, Limits(min_agreement=1, max_drop=-1), strategies))
    names = [
        step.strategy.name if isinstance(step, Trial) else step.name if isinstance(step, Strategy) else step.stage
        for step in steps
        if isinstance(step, Trial | Strategy | StageStarted)
    ]
    assert names == [
        "float32",
        "minmax per tensor",
        "minmax per tensor",
        "tuned",
        "fine-tune",
        "tuned",
        "tuned again",
        "tuned again",
    ]
    assert len(tunings) == 1
    healed = steps[-1]
    assert isinstance(healed, Trial)
    # One scale per output channel, whatever the best trial before had: so was the net tuned.
    assert healed.figures.agreement == 1


def test_where_no_strategy_passes_the_best_trial_is_chosen(tmp_path: Path) -> None:
    """All must agree, and no strategy reaches that: the one that lost least is chosen."""
    strategies = (STRATEGIES["int8"][0], Strategy(name="again", method="percentile", per_channel=False))
    trials = trials_of(context(tmp_path, wide_range(tmp_path / "net")), tmp_path, strategies=strategies)
    assert [trial.passes for trial in trials] == [True, False, False]
    chosen = search.best_trial(trials)
    assert chosen in trials[1:]
    assert chosen.figures.agreement == max(trial.figures.agreement for trial in trials[1:])


def test_nodes_left_in_float_are_counted_as_float(tmp_path: Path) -> None:
    strategies = (Strategy(name="ends", ends_in_float=True), Strategy(name="worst", sensitive_in_float=0.2))
    where = context(tmp_path, graphs.convolutional(tmp_path / "net"))
    trials = trials_of(where, tmp_path, Limits(min_agreement=1, max_drop=0), strategies)
    ends = trials[1]
    assert (ends.figures.int8_nodes, ends.figures.nodes) == (2, 4)
    operators = int8_coverage.executed_operators(model_file.load(ends.path))
    assert (operators["QLinearConv"], operators["QGemm"]) == (2, 0)
    if not ends.passes:
        assert trials[2].figures.int8_nodes in (3, 4)


@pytest.mark.parametrize(("form", "ratio"), [("float16", 0.55), ("int8-weights", 0.3)])
def test_weight_compression_computes_in_float(form: str, ratio: float, tmp_path: Path) -> None:
    trials = trials_of(context(tmp_path, _heavy(tmp_path / "net")), tmp_path, strategies=STRATEGIES[form])  # type: ignore[index]
    float_file, compressed = trials
    assert compressed.passes
    assert compressed.figures.int8_nodes == 0
    assert compressed.figures.bytes < ratio * float_file.figures.bytes
    assert compressed.figures.largest_change < 0.05
    operators = int8_coverage.executed_operators(model_file.load(compressed.path))
    # The weights are converted once, at the start: nothing is left to do in a call.
    assert operators["DequantizeLinear"] == 0
    assert operators["Mul"] <= 1
    assert operators["Cast"] <= 1


def _heavy(path: Path) -> Path:
    """A net most of whose bytes are weights."""
    rng = np.random.default_rng(0)
    weights: dict[str, NDArray[np.float32]] = {
        "wide.w": rng.normal(size=(256, 1, 8, 8)).astype(np.float32) / np.float32(255),
        "point.w": rng.normal(scale=0.1, size=(64, 256, 1, 1)).astype(np.float32),
        "head.w": rng.normal(scale=0.1, size=(3, 64)).astype(np.float32),
        "head.b": np.zeros(3, dtype=np.float32),
    }
    nodes = [
        helper.make_node("Cast", ["slice"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Conv", ["float", "wide.w"], ["wide"], strides=[8, 8]),
        helper.make_node("Relu", ["wide"], ["bent"]),
        helper.make_node("Conv", ["bent", "point.w"], ["point"]),
        helper.make_node("GlobalAveragePool", ["point"], ["pool"]),
        helper.make_node("Flatten", ["pool"], ["flat"]),
        helper.make_node("Gemm", ["flat", "head.w", "head.b"], ["logits"], transB=1),
    ]
    return graphs.save(nodes, weights, path, 3, graphs.SIZE)


def proof(**changes: object) -> Int8Proof:
    plain = {"nodes": 20, "int8_nodes": 20, "size_ratio": 0.3, "agreement": 1.0, "largest_change": 0.0, "n": 200}
    return Int8Proof(**{**plain, **changes})  # type: ignore[arg-type]


def decision(difference: float | None = 0.0, sensitivity: float | None = 0.0) -> Decision:
    def estimate(value: float | None) -> Estimate:
        return Estimate(value=value, low=value, high=value)

    return Decision(
        name="quantization",
        model="int8",
        reference="float32",
        part="val",
        met=True,
        max_drop=0.01,
        difference=estimate(difference),
        sensitivity=estimate(sensitivity),
    )


@pytest.mark.parametrize(
    ("decided", "proved", "limits", "fails"),
    [
        (decision(), proof(), Limits(), ()),
        (decision(-0.01, -0.01), proof(agreement=0.99), Limits(), ()),
        (decision(-0.011), proof(), Limits(), ("balanced accuracy",)),
        (decision(None), proof(), Limits(), ("balanced accuracy",)),
        (decision(0.05, -0.03), proof(), Limits(), ("malignant sensitivity",)),
        (decision(0.0, None), proof(), Limits(), ()),
        (decision(), proof(agreement=197 / 200), Limits(), ("agreement",)),
        (decision(), proof(agreement=19 / 20, n=20), Limits(), ()),
        (decision(), proof(agreement=18 / 20, n=20), Limits(), ("agreement",)),
        (decision(), proof(agreement=19 / 20, n=20), Limits(min_agreement=1), ("agreement",)),
        (decision(), proof(int8_nodes=17), Limits(), ("only 17 of 20 layers in int8",)),
    ],
)
def test_which_limits_a_trial_misses(
    decided: Decision, proved: Int8Proof, limits: Limits, fails: tuple[str, ...]
) -> None:
    assert search.shortfalls(decided, proved, limits, int8_coverage.FULL_SHARE) == fails


@given(drop=st.floats(0, 0.2), lost=st.integers(0, 50), allowed=st.floats(0, 0.2), more=st.floats(0, 0.2))
@settings(deadline=None)
def test_wider_limits_fail_no_trial_that_passed(drop: float, lost: int, allowed: float, more: float) -> None:
    decided, proved = decision(-drop, -drop), proof(agreement=1 - lost / 200)
    strict = Limits(max_drop=allowed, min_agreement=1 - allowed)
    lax = Limits(max_drop=allowed + more, min_agreement=1 - min(1, allowed + more))
    assert set(search.shortfalls(decided, proved, lax, 0)) <= set(search.shortfalls(decided, proved, strict, 0))


def trial(name: str, agreement: float, drop: float, **changes: object) -> Trial:
    figures = TrialFigures(
        name=name,
        bytes=1,
        balanced_accuracy=0.8,
        agreement=agreement,
        largest_change=0.1,
        nodes=20,
        int8_nodes=20,
        difference=Estimate(value=drop, low=drop, high=drop),
        fails=("agreement",),
    )
    return Trial(strategy=Strategy(name=name), path=Path(name), figures=figures, proof=proof(**changes))


def test_the_best_trial_lost_least_in_all_and_is_int8() -> None:
    """Predicting malignant for every slice loses no sensitivity, and is still the worst."""
    collapsed, close, float_in_truth = (
        trial("a", 0.4, -0.5),
        trial("b", 0.97, -0.02),
        trial("c", 1.0, 0.0, int8_nodes=0),
    )
    assert search.best_trial([collapsed, close, float_in_truth]) is close


def test_a_search_without_slices_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="slices"):
        trials_of(context(tmp_path, graphs.convolutional(tmp_path / "net"), VALIDATION[:0]), tmp_path)


def test_the_first_layer_and_all_last_ones_are_the_ends(tmp_path: Path) -> None:
    """The activation map has a layer of its own, which is as last as the head."""
    net = onnx.load(graphs.convolutional(tmp_path / "net"))
    net.graph.node.append(helper.make_node("Conv", ["sum", "evidence.w"], ["evidence"], name="evidence"))
    for number, node in enumerate(net.graph.node):
        node.name = node.name or f"{node.op_type}_{number}"
    named = {node.output[0]: node.name for node in net.graph.node}
    assert set(sensitivity.end_layers(net)) == {named["stem"], named["logits"], "evidence"}
    assert sensitivity.count_layers(net) == 4
    assert "evidence" not in {node.name for node in sensitivity.ancestors(net, "logits")}


def test_strategies_do_what_their_names_say() -> None:
    for strategy in [*STRATEGIES["int8"], *search.FINE_TUNED]:
        share = re.search(r"worst (\d+) %", strategy.name)
        method = re.match("minmax|percentile|entropy", strategy.name)
        assert strategy.method == (method.group() if method else None)
        assert strategy.per_channel == ("per tensor" not in strategy.name)
        assert strategy.corrects_biases == ("corrected" in strategy.name)
        assert strategy.fine_tuned == ("fine-tuned" in strategy.name)
        assert strategy.ends_in_float == ("in float" in strategy.name)
        assert strategy.sensitive_in_float == (int(share.group(1)) / 100 if share else 0)
        assert strategy.form == "int8"
    names = [strategy.name for strategy in STRATEGIES["int8"]]
    assert len(set(names)) == len(names) == 11


def test_how_much_of_a_net_must_run_on_integers() -> None:
    """Nine in ten, or half where some are left in float; compressed weights need none."""
    assert [
        Strategy(name="a").min_int8_share,
        Strategy(name="a", ends_in_float=True).min_int8_share,
        Strategy(name="a", sensitive_in_float=0.05).min_int8_share,
    ] == [
        0.9,
        0.5,
        0.5,
    ]
    assert [strategy.min_int8_share for form in ("float16", "int8-weights") for strategy in STRATEGIES[form]] == [0, 0]
    assert (LIMITS.max_drop, LIMITS.min_agreement, LIMITS.metric) == (0.01, 0.99, "balanced_accuracy")


def test_nodes_are_ranked_by_how_far_each_alone_moves_the_logits(tmp_path: Path) -> None:
    net = static_qdq.prepare(context(tmp_path, graphs.convolutional(tmp_path / "net")).source)
    ranges, slices = static_qdq.measure_ranges(net, CALIBRATION, "minmax"), CALIBRATION[:8]
    ranked = sensitivity.rank_by_sensitivity(net, ranges, slices, per_channel=True)

    def logits(model: onnx.ModelProto) -> NDArray[np.float32]:
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        return np.asarray(session.run(["logits"], {"slice": slices[:, None]})[0])

    before = logits(net)
    moved = [
        np.square(logits(static_qdq.quantize(net, ranges, per_channel=True, only=[n])) - before).mean() for n in ranked
    ]
    kinds = {node.name: node.op_type for node in net.graph.node}
    assert sorted(kinds[name] for name in ranked) == ["Add", *["Conv"] * 3, "Gemm", "GlobalAveragePool", "Mul"]
    assert moved == sorted(moved, reverse=True)
    assert moved[-1] > 0


def test_the_collapsing_layer_is_the_most_sensitive(tmp_path: Path) -> None:
    where = context(tmp_path, wide_range(tmp_path / "net"))
    net = static_qdq.prepare(where.source)
    ranges = static_qdq.measure_ranges(net, CALIBRATION, "minmax")
    ranked = sensitivity.rank_by_sensitivity(net, ranges, CALIBRATION[:8], per_channel=False)
    named = {node.name: node.output[0] for node in net.graph.node}
    assert named[ranked[0]] == "mix"
