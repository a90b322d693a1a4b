"""The ladder: what is tried, when it stops, what is kept, and what counts as lost."""

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


@pytest.fixture(autouse=True)
def _timed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Latencies mean nothing here."""
    monkeypatch.setattr(search, "_TIMING_SECONDS", 0.0)


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


def ground(folder: Path, graph: Path, validation: NDArray[np.uint8] = VALIDATION) -> QuantizationContext:
    """A ladder's ground whose truth is what the float file says."""
    source = folder / "float.onnx"
    model_file.write(graph, graphs.card(temperature=1.0), source)
    truth = predict_logits(model_file.load(source), validation, range(len(validation))).argmax(axis=1)

    def judge(model: model_file.Model) -> Evaluation:
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

    def finish(graph: Path, to: Path) -> None:
        model_file.write(graph, graphs.card(temperature=1.0, precision="int8"), to)

    return QuantizationContext(source=source, calibration=CALIBRATION, write_model=finish, evaluate=judge)


def climbed(
    where: QuantizationContext, folder: Path, limits: Limits = LIMITS, rungs: Sequence[Strategy] = STRATEGIES["int8"]
) -> list[Trial]:
    return [step for step in search.search(where, folder, limits, rungs) if isinstance(step, Trial)]


def test_a_net_that_collapses_per_tensor_is_rescued_on_a_later_rung(tmp_path: Path) -> None:
    tried = climbed(ground(tmp_path, wide_range(tmp_path / "net")), tmp_path)
    assert [tried[0].strategy.name, tried[1].strategy.name] == ["float32", "minmax per tensor"]
    collapsed, rescued = tried[1], tried[-1]
    assert not collapsed.passes
    assert collapsed.figures.agreement < 0.9
    assert rescued.passes
    assert rescued.figures.agreement == 1
    assert all(not each.passes for each in tried[1:-1])
    assert search.best_trial(tried) is rescued
    operators = int8_coverage.executed_operators(model_file.load(rescued.path))
    assert rescued.figures.int8_nodes == operators["QLinearConv"] + operators["QGemm"] >= 1


def test_it_stops_at_the_first_rung_that_holds_and_tells_each_before_it_is_tried(tmp_path: Path) -> None:
    steps = list(search.search(ground(tmp_path, wide_range(tmp_path / "net")), tmp_path, Limits()))
    told = [
        step.name if isinstance(step, Strategy) else f"{step.strategy.name} tried"
        for step in steps
        if isinstance(step, Strategy | Trial)
    ]
    assert told == [
        "float32 tried",
        "minmax per tensor",
        "minmax per tensor tried",
        "minmax per channel",
        "minmax per channel tried",
    ]


def test_the_last_rungs_quantize_the_net_that_was_fine_tuned_once(tmp_path: Path) -> None:
    """Here fine-tuning heals: it gives the float net of before another collapse."""
    broken = onnx.load(wide_range(tmp_path / "net"))
    where = ground(tmp_path, wide_range(tmp_path / "whole"))
    told = StageStarted(time=now(), stage="fine-tune", about="heal")
    tunings = []

    def tune(to: Path) -> Iterator[Event]:
        tunings.append(to)
        yield told
        onnx.save(broken, to)

    rungs = (
        STRATEGIES["int8"][0],
        Strategy(name="tuned", fine_tuned=True, ends_in_float=True),
        Strategy(name="tuned again", fine_tuned=True),
    )
    able = dataclasses.replace(where, fine_tune=tune)
    steps = list(search.search(able, tmp_path, Limits(min_agreement=1, max_drop=-1), rungs))
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
    # One scale an output channel, whatever the best rung before had: so was the net tuned.
    assert healed.figures.agreement == 1


def test_where_none_holds_the_best_is_kept(tmp_path: Path) -> None:
    """All must agree, and no rung that is tried gets there: the one that lost least is named."""
    rungs = (STRATEGIES["int8"][0], Strategy(name="again", method="percentile", per_channel=False))
    tried = climbed(ground(tmp_path, wide_range(tmp_path / "net")), tmp_path, rungs=rungs)
    assert [each.passes for each in tried] == [True, False, False]
    chosen = search.best_trial(tried)
    assert chosen in tried[1:]
    assert chosen.figures.agreement == max(each.figures.agreement for each in tried[1:])


def test_nodes_put_back_are_counted_as_float(tmp_path: Path) -> None:
    rungs = (Strategy(name="ends", ends_in_float=True), Strategy(name="worst", sensitive_in_float=0.2))
    where = ground(tmp_path, graphs.convolutional(tmp_path / "net"))
    tried = climbed(where, tmp_path, Limits(min_agreement=1, max_drop=0), rungs)
    ends = tried[1]
    assert (ends.figures.int8_nodes, ends.figures.nodes) == (2, 4)
    operators = int8_coverage.executed_operators(model_file.load(ends.path))
    assert (operators["QLinearConv"], operators["QGemm"]) == (2, 0)
    if not ends.passes:
        assert tried[2].figures.int8_nodes in (3, 4)


@pytest.mark.parametrize(("form", "ratio"), [("float16", 0.55), ("int8-weights", 0.3)])
def test_forms_that_save_size_only_compute_in_float(form: str, ratio: float, tmp_path: Path) -> None:
    tried = climbed(ground(tmp_path, _heavy(tmp_path / "net")), tmp_path, rungs=STRATEGIES[form])  # type: ignore[index]
    float_file, made = tried
    assert made.passes
    assert made.figures.int8_nodes == 0
    assert made.figures.bytes < ratio * float_file.figures.bytes
    assert made.figures.largest_change < 0.05
    operators = int8_coverage.executed_operators(model_file.load(made.path))
    # The weights are turned back once, at the start: nothing is left to be done a call.
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


def evidence(**changes: object) -> Int8Proof:
    plain = {"nodes": 20, "int8_nodes": 20, "size_ratio": 0.3, "agreement": 1.0, "largest_change": 0.0, "n": 200}
    return Int8Proof(**{**plain, **changes})  # type: ignore[arg-type]


def decision(difference: float | None = 0.0, malignant: float | None = 0.0) -> Decision:
    def estimate(value: float | None) -> Estimate:
        return Estimate(value=value, low=value, high=value)

    return Decision(met=True, max_drop=0.01, difference=estimate(difference), malignant=estimate(malignant))


@pytest.mark.parametrize(
    ("seen", "proved", "limits", "fails"),
    [
        (decision(), evidence(), Limits(), ()),
        (decision(-0.01, -0.01), evidence(agreement=0.99), Limits(), ()),
        (decision(-0.011), evidence(), Limits(), ("balanced accuracy",)),
        (decision(None), evidence(), Limits(), ("balanced accuracy",)),
        (decision(0.05, -0.03), evidence(), Limits(), ("malignant sensitivity",)),
        (decision(0.0, None), evidence(), Limits(), ()),
        (decision(), evidence(agreement=197 / 200), Limits(), ("agreement",)),
        (decision(), evidence(agreement=19 / 20, n=20), Limits(), ()),
        (decision(), evidence(agreement=18 / 20, n=20), Limits(), ("agreement",)),
        (decision(), evidence(agreement=19 / 20, n=20), Limits(min_agreement=1), ("agreement",)),
        (decision(), evidence(int8_nodes=17), Limits(), ("only 17 of 20 layers in int8",)),
    ],
)
def test_what_makes_a_rung_fail(seen: Decision, proved: Int8Proof, limits: Limits, fails: tuple[str, ...]) -> None:
    assert search.shortfalls(seen, proved, limits, int8_coverage.FULL_SHARE) == fails


@given(drop=st.floats(0, 0.2), lost=st.integers(0, 50), allowed=st.floats(0, 0.2), more=st.floats(0, 0.2))
@settings(deadline=None)
def test_who_allows_more_fails_no_rung_that_held(drop: float, lost: int, allowed: float, more: float) -> None:
    seen, proved = decision(-drop, -drop), evidence(agreement=1 - lost / 200)
    strict = Limits(max_drop=allowed, min_agreement=1 - allowed)
    lax = Limits(max_drop=allowed + more, min_agreement=1 - min(1, allowed + more))
    assert set(search.shortfalls(seen, proved, lax, 0)) <= set(search.shortfalls(seen, proved, strict, 0))


def row(name: str, agreement: float, drop: float, **changes: object) -> Trial:
    figures = TrialFigures(
        name=name,
        bytes=1,
        p50=1.0,
        balanced_accuracy=0.8,
        agreement=agreement,
        largest_change=0.1,
        nodes=20,
        int8_nodes=20,
        difference=Estimate(value=drop, low=drop, high=drop),
        fails=("agreement",),
    )
    return Trial(strategy=Strategy(name=name), path=Path(name), figures=figures, proof=evidence(**changes))


def test_the_best_lost_least_in_all_and_is_int8() -> None:
    """Calling everything malignant would lose no sensitivity, and is the worst all the same."""
    collapsed, close, float_in_truth = row("a", 0.4, -0.5), row("b", 0.97, -0.02), row("c", 1.0, 0.0, int8_nodes=0)
    assert search.best_trial([collapsed, close, float_in_truth]) is close


def test_no_slices_to_judge_on(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="slices"):
        climbed(ground(tmp_path, graphs.convolutional(tmp_path / "net"), VALIDATION[:0]), tmp_path)


def test_the_first_layer_and_all_last_ones_are_the_ends(tmp_path: Path) -> None:
    """Evidence is told by a layer of its own, which is as last as the head."""
    net = onnx.load(graphs.convolutional(tmp_path / "net"))
    net.graph.node.append(helper.make_node("Conv", ["sum", "evidence.w"], ["evidence"], name="evidence"))
    for number, node in enumerate(net.graph.node):
        node.name = node.name or f"{node.op_type}_{number}"
    named = {node.output[0]: node.name for node in net.graph.node}
    assert set(sensitivity.end_layers(net)) == {named["stem"], named["logits"], "evidence"}
    assert sensitivity.count_layers(net) == 4
    assert "evidence" not in {node.name for node in sensitivity.ancestors(net, "logits")}


def test_rungs_do_what_their_names_say() -> None:
    for rung in [*STRATEGIES["int8"], *search.FINE_TUNED]:
        share = re.search(r"worst (\d+) %", rung.name)
        method = re.match("minmax|percentile|entropy", rung.name)
        assert rung.method == (method.group() if method else None)
        assert rung.per_channel == ("per tensor" not in rung.name)
        assert rung.corrects_biases == ("corrected" in rung.name)
        assert rung.fine_tuned == ("fine-tuned" in rung.name)
        assert rung.ends_in_float == ("in float" in rung.name)
        assert rung.sensitive_in_float == (int(share.group(1)) / 100 if share else 0)
        assert rung.form == "int8"
    names = [rung.name for rung in STRATEGIES["int8"]]
    assert len(set(names)) == len(names) == 11


def test_how_much_of_a_net_must_run_on_integers() -> None:
    """Nine in ten, or half where some are left in float; files that are only smaller promise nothing."""
    assert [
        Strategy(name="a").min_int8_share,
        Strategy(name="a", ends_in_float=True).min_int8_share,
        Strategy(name="a", sensitive_in_float=0.05).min_int8_share,
    ] == [
        0.9,
        0.5,
        0.5,
    ]
    assert [rung.min_int8_share for form in ("float16", "int8-weights") for rung in STRATEGIES[form]] == [0, 0]
    assert (LIMITS.max_drop, LIMITS.min_agreement, LIMITS.metric) == (0.01, 0.99, "balanced_accuracy")


def test_nodes_are_ranked_by_how_far_each_alone_moves_the_logits(tmp_path: Path) -> None:
    net = static_qdq.prepare(ground(tmp_path, graphs.convolutional(tmp_path / "net")).source)
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
    where = ground(tmp_path, wide_range(tmp_path / "net"))
    net = static_qdq.prepare(where.source)
    ranges = static_qdq.measure_ranges(net, CALIBRATION, "minmax")
    ranked = sensitivity.rank_by_sensitivity(net, ranges, CALIBRATION[:8], per_channel=False)
    named = {node.name: node.output[0] for node in net.graph.node}
    assert named[ranked[0]] == "mix"
