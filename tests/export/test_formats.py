"""What is exported computes what the model file says, calibrated, and carries all that a prediction needs."""

import json
import sys
from pathlib import Path
from unittest import mock

import msgspec
import numpy as np
import onnx
import onnxruntime
import pytest

from lungcli.core import package_data, registry
from lungcli.core.errors import LungcliError
from lungcli.export import bundle, formats, parity
from lungcli.export.formats import Exported
from lungcli.metrics.referral import Referral
from lungcli.modelfile import model_file
from lungcli.modelfile.model_file import Model
from tests.export.conftest import needs_openvino
from tests.modelfile import graphs

REFERRAL = Referral(threshold=0.6, target="risk ≤ 0.2", coverage=0.8, risk=0.2, n=9)
FORMS = [pytest.param(name, marks=needs_openvino if name == "openvino" else ()) for name in registry.EXPORT_FORMATS]


@pytest.fixture
def model(tmp_path: Path) -> Model:
    graph = graphs.convolutional(tmp_path / "g.onnx")
    model_file.write(graph, graphs.card(referral=REFERRAL), tmp_path / "m.onnx")
    return model_file.load(tmp_path / "m.onnx", threads=1)


def checked(model: Model, made: Exported, tolerance: float = 1e-5) -> parity.Parity:
    return parity.check(model, made, graphs.slices(20), "noise", tolerance=tolerance, least_agreement=1.0)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_calibrated_probabilities(model: Model, form: str) -> None:
    found = checked(model, formats.export(model, form))
    assert found.met
    assert (found.n, found.pixels, found.agreement) == (20, "noise", 1.0)


def test_probabilities_are_those_computed_by_hand(tmp_path: Path) -> None:
    """The brightness net at mean grey 255 has logits 0, 1, 2; at temperature 2 they are 0, 0.5, 1."""
    model = model_file.load(graphs.model_file(tmp_path / "m.onnx"), threads=1)
    session = onnxruntime.InferenceSession(formats.export(model, "onnx").files[".onnx"])
    (found,) = session.run(None, {"slice": np.full((1, 1, 32, 32), 255, dtype=np.uint8)})
    e = np.exp([0, 0.5, 1])
    np.testing.assert_allclose(found, [e / e.sum()], atol=1e-6)


def test_the_file_holds_one_output_and_the_facts(model: Model) -> None:
    made = formats.export(model, "onnx")
    net = onnx.load_model_from_string(made.files[".onnx"])
    assert [each.name for each in net.graph.input] == ["slice"]
    assert [each.name for each in net.graph.output] == ["probabilities"]
    (item,) = net.metadata_props
    assert item.key == "lungcli-export"
    facts = json.loads(item.value)
    assert msgspec.convert(facts, formats.Facts) == made.facts
    golden = {
        "format_version": 1,
        "classes": ["benign", "malignant", "normal"],
        "size": 32,
        "preparation": 3,
        "temperature": 2.0,
        "referral_threshold": 0.6,
        "input": {"name": "slice", "type": "uint8", "shape": ["n", 1, 32, 32]},
        "output": {"name": "probabilities", "type": "float32", "shape": ["n", 3]},
        "model": "tiny",
        "precision": "float32",
        "data": "phantom",
        "licence": "CC0-1.0",
        "synthetic": True,
        "graph": model_file.graph_digest(model.path),
    }
    assert {key: facts[key] for key in golden} == golden
    assert "not a medical device" in facts["disclaimer"]


def test_the_activation_map_is_left_out_with_what_only_it_needs(tmp_path: Path) -> None:
    graph = graphs.nodules(tmp_path / "g.onnx", 64)
    model_file.write(graph, graphs.card(size=64), tmp_path / "m.onnx")
    net = onnx.load(tmp_path / "m.onnx")
    net.graph.node.append(onnx.helper.make_node("Mul", ["evidence", "unused.w"], ["unused"]))
    net.graph.initializer.append(onnx.numpy_helper.from_array(np.ones(1, dtype=np.float32), "unused.w"))
    onnx.save(net, tmp_path / "m.onnx")
    model = model_file.load(tmp_path / "m.onnx", threads=1)
    assert model.gives_evidence
    found = onnx.load_model_from_string(formats.export(model, "onnx").files[".onnx"])
    assert [each.name for each in found.graph.output] == ["probabilities"]
    assert "unused.w" not in {each.name for each in found.graph.initializer}
    assert "unused" not in {name for node in found.graph.node for name in node.output}


def test_a_file_that_says_something_else_does_not_pass(model: Model) -> None:
    made = formats.export(model, "onnx")
    net = onnx.load_model_from_string(made.files[".onnx"])
    (temperature,) = [each for each in net.graph.initializer if each.name == "lungcli.temperature"]
    temperature.CopyFrom(onnx.numpy_helper.from_array(np.array(1.5, dtype=np.float32), temperature.name))
    hotter = Exported(form="onnx", files={".onnx": net.SerializeToString()}, facts=made.facts)
    found = checked(model, hotter)
    assert not found.met
    assert found.largest_change > 1e-3
    # A temperature changes no prediction.
    assert found.agreement == 1.0


def test_too_low_an_agreement_does_not_pass() -> None:
    found = parity.Parity(pixels="x", n=10, largest_change=0.01, agreement=0.9, tolerance=0.05, least_agreement=0.95)
    assert not found.met
    assert msgspec.structs.replace(found, agreement=0.95).met
    assert not msgspec.structs.replace(found, agreement=1.0, largest_change=0.06).met


@pytest.mark.parametrize(("margin", "agreement"), [(0.0, 1.0), (1e-9, 1.0), (0.1, 0.0)])
def test_either_class_of_a_tie_agrees(margin: float, agreement: float) -> None:
    """A net that was not trained says nothing; which of equal probabilities is the largest is chance."""
    ours = np.array([[1 / 3 + margin, 1 / 3, 1 / 3 - margin]])
    model = mock.Mock(probabilities=mock.Mock(return_value=ours))
    compared = parity.compare(model, lambda _: np.roll(ours, 1, axis=1), graphs.slices(4), "noise", 1.0, 1.0)
    assert compared.agreement == agreement


def test_phantoms_are_slices_and_always_the_same() -> None:
    heard: list[tuple[int, int]] = []
    first = parity.phantoms(64, count=2, advance=lambda *done: heard.append(done))
    assert first.shape == (2, 64, 64)
    assert first.dtype == np.uint8
    assert heard == [(1, 2), (2, 2)]
    assert 20 < first.mean() < 200
    np.testing.assert_array_equal(first, parity.phantoms(64, count=2))


@pytest.mark.parametrize("form", FORMS)
def test_what_is_delivered_is_named_beforehand(model: Model, form: str, tmp_path: Path) -> None:
    made = formats.export(model, form)
    to = tmp_path / "out" / f"lung{registry.EXPORT_FORMATS[form].suffixes[0]}"
    for examples in (False, True):
        files = bundle.file_contents(model, made, checked(model, made), to, examples=examples)
        assert list(files) == bundle.file_names(to, form, examples=examples)
    bundle.write(files)
    beside = msgspec.json.decode(to.with_suffix(".json").read_bytes(), type=bundle.Sidecar)
    assert beside.parity.met
    assert beside.sample is not None
    assert sum(beside.sample.probabilities.values()) == pytest.approx(1)
    assert beside.sample.referred == (max(beside.sample.probabilities.values()) < 0.6)


def test_a_missing_openvino_is_said(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(LungcliError, match="OpenVINO is not installed") as caught:
        formats.export(model, "openvino")
    assert caught.value.hint == "pip install 'lungcli[openvino]'"


def test_the_bundled_model_is_exported_in_full() -> None:
    """int8, with evidence: the file that people start from."""
    model = model_file.load(package_data.FOLDER / "default.onnx", threads=1)
    made = formats.export(model, "onnx")
    found = parity.check(
        model, made, parity.phantoms(model.card.size, count=3), "phantoms", tolerance=1e-5, least_agreement=1.0
    )
    assert found.met
    assert len(made.files[".onnx"]) < model.path.stat().st_size
