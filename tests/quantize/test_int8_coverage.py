from pathlib import Path

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from lungcli.core.errors import LungcliError, UsageError
from lungcli.evaluation import evaluate
from lungcli.metrics.predictions import Evaluation
from lungcli.modelfile import model_file
from lungcli.modelfile.model_card import Int8Proof
from lungcli.modelfile.model_file import Model
from lungcli.quantize import int8_coverage
from tests.modelfile import graphs

EVIDENCE = Int8Proof(nodes=20, int8_nodes=18, size_ratio=0.3, agreement=1.0, largest_change=0.0, n=5)


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    before, after = tmp_path / "float.onnx", tmp_path / "int8.onnx"
    model_file.write(graphs.convolutional(tmp_path / "net"), graphs.card(temperature=1.0), before)
    graphs.quantized(before, graphs.slices(20, seed=1), tmp_path / "graph")
    model_file.write(tmp_path / "graph", graphs.card(temperature=1.0, precision="int8"), after)
    return before, after


def proved(before: Path, after: Path, slices: NDArray[np.uint8]) -> Int8Proof:
    models = model_file.load(before), model_file.load(after)
    ours, theirs = (predicted(model, slices) for model in models)
    return int8_coverage.prove(before, models[1], ours, theirs)


def predicted(model: Model, slices: NDArray[np.uint8]) -> Evaluation:
    probabilities = evaluate.predict_probabilities(model, slices, range(len(slices)))
    return Evaluation(
        classes=model.card.classes,
        part="val",
        protocol="grouped",
        split_digest="s",
        slices=tuple(map(str, range(len(slices)))),
        labels=(0,) * len(slices),
        groups=tuple(range(len(slices))),
        probabilities=tuple(map(tuple, probabilities.tolist())),
    )


def test_an_int8_file_is_proved(pair: tuple[Path, Path]) -> None:
    found = proved(*pair, graphs.slices(20, seed=2))
    assert (found.nodes, found.int8_nodes, found.n) == (4, 4, 20)
    assert found.size_ratio == pair[1].stat().st_size / pair[0].stat().st_size
    assert found.agreement >= 0.9
    assert 0 < found.largest_change < 0.2
    int8_coverage.require_int8(found)


def test_a_float_file_is_not_proved_int8(pair: tuple[Path, Path]) -> None:
    found = proved(pair[0], pair[0], graphs.slices(3))
    assert (found.nodes, found.int8_nodes) == (4, 0)
    assert (found.size_ratio, found.agreement, found.largest_change) == (1.0, 1.0, 0.0)
    with pytest.raises(LungcliError, match="not really int8: 0 of 4"):
        int8_coverage.require_int8(found)


def test_each_model_uses_its_own_temperature(pair: tuple[Path, Path], tmp_path: Path) -> None:
    hot = tmp_path / "hot.onnx"
    model_file.write(pair[0], graphs.card(temperature=20.0), hot)
    slices = graphs.slices(4)
    found = proved(pair[0], hot, slices)
    cold = model_file.load(pair[0]).probabilities(slices)
    change = np.abs(cold - model_file.load(hot).probabilities(slices)).max()
    assert found.largest_change == pytest.approx(change)
    assert found.largest_change > 0.01


def test_disagreement_is_counted(tmp_path: Path) -> None:
    for name in ("a", "b"):
        model_file.write(
            graphs.convolutional(tmp_path / name, seed=ord(name)), graphs.card(), tmp_path / f"{name}.onnx"
        )
    slices = graphs.slices(40)
    verdicts = [model_file.load(tmp_path / f"{name}.onnx").logits(slices).argmax(axis=1) for name in ("a", "b")]
    found = proved(tmp_path / "a.onnx", tmp_path / "b.onnx", slices)
    assert found.agreement == (verdicts[0] == verdicts[1]).mean() < 1


@pytest.mark.parametrize(
    ("int8_nodes", "nodes", "enough"), [(18, 20, True), (17, 20, False), (20, 20, True), (0, 0, False), (9, 10, True)]
)
def test_nine_in_ten_are_enough(int8_nodes: int, nodes: int, enough: bool) -> None:
    found = msgspec.structs.replace(EVIDENCE, int8_nodes=int8_nodes, nodes=nodes)
    if enough:
        int8_coverage.require_int8(found)
    else:
        with pytest.raises(LungcliError, match=f"{int8_nodes} of {nodes}") as caught:
            int8_coverage.require_int8(found)
        assert caught.value.hint


def test_no_slices_prove_nothing(pair: tuple[Path, Path]) -> None:
    with pytest.raises(UsageError, match="proved on slices"):
        proved(*pair, graphs.slices(0))
