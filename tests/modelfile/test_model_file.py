import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from lungcli.core.errors import ModelFileError
from lungcli.imaging.preprocessing import VERSION
from lungcli.metrics import calibration
from lungcli.modelfile import model_file, trial_run
from tests.modelfile import graphs


def test_card_and_logits_survive_the_file(tmp_path: Path) -> None:
    card = graphs.card(model="student-ä")
    path = tmp_path / "new" / "model.onnx"
    model_file.write(graphs.brightness(tmp_path / "net.onnx"), card, path)
    model = model_file.load(path, threads=1)
    assert model_file.read_card(path) == model.card == card
    slices = np.stack([np.full((32, 32), grey, dtype=np.uint8) for grey in (0, 51, 255)])
    expected = np.array([[0, 0, 0], [0, 0.2, 0.4], [0, 1, 2]])
    np.testing.assert_allclose(model.logits(slices), expected, atol=1e-6)
    assert model.logits(slices).dtype == np.float32


def test_a_graph_is_known_again_whatever_its_card_says(tmp_path: Path) -> None:
    for name, seed, model in (("a", 0, "one"), ("b", 0, "another"), ("c", 1, "one")):
        graph = graphs.convolutional(tmp_path / "net.onnx", seed)
        model_file.write(graph, graphs.card(model=model), tmp_path / f"{name}.onnx")
    a, b, c = (model_file.graph_digest(tmp_path / f"{name}.onnx") for name in "abc")
    assert a == b != c
    assert len(a) == 64
    (tmp_path / "no.onnx").write_bytes(b"no model")
    with pytest.raises(ModelFileError, match="not an ONNX file"):
        model_file.graph_digest(tmp_path / "no.onnx")


def test_probabilities_are_tempered(tmp_path: Path) -> None:
    model = model_file.load(graphs.model_file(tmp_path / "m.onnx", temperature=4.0))
    slices = np.full((1, 32, 32), 255, dtype=np.uint8)
    np.testing.assert_allclose(
        model.probabilities(slices), calibration.softmax(np.array([[0.0, 0.25, 0.5]])), atol=1e-6
    )


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_finite_numbers_are_an_error_of_the_model(tmp_path: Path, value: float) -> None:
    """The slice with a white corner has such values alone, and spoils no other answer by them."""
    nodes = [
        helper.make_node("Cast", ["slice"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("GlobalMaxPool", ["float"], ["most"]),
        helper.make_node("Flatten", ["most"], ["flat"]),
        helper.make_node("Sub", ["flat", "white"], ["zero"]),
        helper.make_node("Div", ["top", "zero"], ["logits"]),
    ]
    top = np.array([[{np.nan: 0, np.inf: 1, -np.inf: -1}.get(value, 0), 1, 1]], dtype=np.float32)
    weights = {"white": np.full(1, 255, dtype=np.float32), "top": top}
    model_file.write(graphs.save(nodes, weights, tmp_path / "net.onnx", 3, 32), graphs.card(), tmp_path / "m.onnx")
    model = model_file.load(tmp_path / "m.onnx")
    slices = np.zeros((3, 32, 32), dtype=np.uint8)
    assert np.isfinite(model.probabilities(slices)).all()
    slices[1] = 255
    averaging = dataclasses.replace(model, averages=True)
    for values in (model.logits, model.probabilities, averaging.probabilities):
        with pytest.raises(ModelFileError, match="no finite numbers for each of its classes"):
            values(slices)


def test_a_batch_gives_what_single_slices_give(tmp_path: Path) -> None:
    model_file.write(graphs.convolutional(tmp_path / "net.onnx"), graphs.card(), tmp_path / "m.onnx")
    model = model_file.load(tmp_path / "m.onnx")
    slices = graphs.slices(5)
    singly = np.concatenate([model.logits(slices[i : i + 1]) for i in range(5)])
    np.testing.assert_allclose(model.logits(slices), singly, atol=1e-4)
    np.testing.assert_allclose(model.logits(slices[::2]), singly[::2], atol=1e-4)


def test_no_slices_give_no_logits(tmp_path: Path) -> None:
    model = model_file.load(graphs.model_file(tmp_path / "m.onnx"))
    assert model.logits(np.empty((0, 32, 32), dtype=np.uint8)).shape == (0, 3)


@pytest.mark.parametrize(
    "slices", [np.zeros((1, 16, 32), np.uint8), np.zeros((32, 32), np.uint8), np.zeros((1, 32, 32), np.float32)]
)
def test_slices_of_another_kind_are_refused(slices: np.ndarray, tmp_path: Path) -> None:
    model = model_file.load(graphs.model_file(tmp_path / "m.onnx"))
    with pytest.raises(ValueError, match=r"takes uint8 slices \(n, 32, 32\)"):
        model.logits(slices)


def test_recard_changes_the_card_alone(tmp_path: Path) -> None:
    path = graphs.model_file(tmp_path / "m.onnx")
    before = model_file.load(path).logits(graphs.slices(3))
    model_file.recard(path, graphs.card(temperature=0.5, stage="int8"))
    after = model_file.load(path)
    assert (after.card.temperature, after.card.stage) == (0.5, "int8")
    np.testing.assert_array_equal(after.logits(graphs.slices(3)), before)


def test_traces_of_the_exporting_machine_are_left_out(tmp_path: Path) -> None:
    net = onnx.load(graphs.brightness(tmp_path / "net.onnx"))
    net.graph.node[0].metadata_props.add(key="stack_trace", value="/home/someone/train.py")
    net.graph.node[1].doc_string = "/home/someone/net.py"
    net.doc_string = net.graph.doc_string = "/home/someone"
    net.metadata_props.add(key="folder", value="/home/someone")
    onnx.save(net, tmp_path / "net.onnx")
    model_file.write(tmp_path / "net.onnx", graphs.card(), tmp_path / "m.onnx")
    assert b"/home/someone" not in (tmp_path / "m.onnx").read_bytes()


def test_the_same_net_and_card_give_the_same_bytes(tmp_path: Path) -> None:
    first, second = graphs.model_file(tmp_path / "a.onnx"), graphs.model_file(tmp_path / "b.onnx")
    assert first.read_bytes() == second.read_bytes()


def _with_external_weights(folder: Path) -> Path:
    net = onnx.load(graphs.brightness(folder / "net.onnx"))
    onnx.save(net, folder / "ext.onnx", save_as_external_data=True, location="ext.bin", size_threshold=0)
    return folder / "ext.onnx"


def test_weights_beside_the_graph_move_in(tmp_path: Path) -> None:
    model_file.write(_with_external_weights(tmp_path), graphs.card(), tmp_path / "m.onnx")
    (tmp_path / "ext.bin").unlink()
    assert model_file.load(tmp_path / "m.onnx").logits(np.full((1, 32, 32), 255, np.uint8))[0, 2] == pytest.approx(2)


def test_a_file_that_needs_another_is_refused(tmp_path: Path) -> None:
    external = _with_external_weights(tmp_path)
    net = onnx.load(external, load_external_data=False)
    good = onnx.load(graphs.model_file(tmp_path / "m.onnx"))
    net.metadata_props.extend(good.metadata_props)
    external.write_bytes(net.SerializeToString())
    for use in (model_file.load, model_file.read_card):
        with pytest.raises(ModelFileError, match="must stand alone"):
            use(external)


def _refusal(path: Path) -> ModelFileError:
    with pytest.raises(ModelFileError) as by_load:
        model_file.load(path)
    with pytest.raises(ModelFileError) as by_card:
        model_file.read_card(path)
    assert by_load.value.message == by_card.value.message
    assert "\n" not in by_load.value.message
    assert str(path) in by_load.value.message
    assert by_load.value.hint
    return by_load.value


def test_missing_folder_and_empty(tmp_path: Path) -> None:
    assert "there is no model file" in _refusal(tmp_path / "none.onnx").message
    assert "is a folder" in _refusal(tmp_path).message
    (tmp_path / "empty.onnx").touch()
    assert "is empty" in _refusal(tmp_path / "empty.onnx").message


@pytest.mark.parametrize("content", [b"just some text\n", b"\x89PNG\r\n\x1a\n", b"PK\x03\x04"])
def test_not_onnx(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    assert "is not an ONNX file" in _refusal(path).message


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.999])
def test_cut_short(share: float, tmp_path: Path) -> None:
    path = graphs.model_file(tmp_path / "m.onnx")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    assert "is not an ONNX file" in _refusal(path).message


def test_no_card(tmp_path: Path) -> None:
    error = _refusal(graphs.brightness(tmp_path / "net.onnx"))
    assert "has no lungcli model card" in error.message
    assert "lungcli models adopt" in error.hint


def test_a_damaged_card(tmp_path: Path) -> None:
    net = onnx.load(graphs.brightness(tmp_path / "net.onnx"))
    helper.set_model_props(net, {model_file.KEY: '{"format_version": 1}'})
    onnx.save(net, tmp_path / "m.onnx")
    assert "is damaged" in _refusal(tmp_path / "m.onnx").message


def test_a_card_of_a_newer_lungcli(tmp_path: Path) -> None:
    error = _refusal(graphs.model_file(tmp_path / "m.onnx", format_version=99))
    assert "has format 99" in error.message
    assert "upgrade" in error.hint


@pytest.mark.parametrize(("version", "hint"), [(VERSION + 1, "upgrade"), (VERSION - 1, "train")])
def test_slices_prepared_another_way(version: int, hint: str, tmp_path: Path) -> None:
    error = _refusal(graphs.model_file(tmp_path / "m.onnx", preparation=version))
    assert f"preparation {version}" in error.message
    assert hint in error.hint


def test_a_net_that_is_not_what_its_card_says(tmp_path: Path) -> None:
    model_file.write(graphs.brightness(tmp_path / "four", classes=4), graphs.card(), tmp_path / "four.onnx")
    with pytest.raises(ModelFileError, match="names 3 classes"):
        model_file.load(tmp_path / "four.onnx")
    model_file.write(graphs.brightness(tmp_path / "big", size=64), graphs.card(), tmp_path / "big.onnx")
    with pytest.raises(ModelFileError, match="uint8 slices of 32 px"):
        model_file.load(tmp_path / "big.onnx")


def test_an_operator_the_runtime_lacks_is_refused_quietly(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    net = onnx.load(graphs.model_file(tmp_path / "m.onnx"))
    net.graph.node[1].op_type, net.graph.node[1].domain = "Backdoor", "evil"
    net.opset_import.append(helper.make_opsetid("evil", 1))
    (tmp_path / "m.onnx").write_bytes(net.SerializeToString())
    with pytest.raises(ModelFileError, match="it has the operator 'Backdoor' of 'evil'"):
        model_file.load(tmp_path / "m.onnx")
    assert capfd.readouterr() == ("", "")


def test_a_net_that_turns_out_not_to_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model_file.write(graphs.convolutional(tmp_path / "net"), graphs.card(), tmp_path / "m.onnx")
    net = onnx.load(tmp_path / "m.onnx")
    (group,) = (each for node in net.graph.node for each in node.attribute if each.name == "group")
    group.i = 17
    (tmp_path / "m.onnx").write_bytes(net.SerializeToString())
    with pytest.raises(ModelFileError, match=r"m\.onnx is no classifier .*onnxruntime cannot run it.*group: 17"):
        model_file.load(tmp_path / "m.onnx")
    # As if it had passed elsewhere.
    monkeypatch.setattr(trial_run, "is_known", lambda _content: True)
    model = model_file.load(tmp_path / "m.onnx")
    with pytest.raises(ModelFileError, match=r"cannot run .*m\.onnx: .*group: 17"):
        model.logits(graphs.slices(1, size=32))


def test_write_refuses_what_is_no_onnx_and_leaves_the_old_file(tmp_path: Path) -> None:
    path = graphs.model_file(tmp_path / "m.onnx")
    before = path.read_bytes()
    (tmp_path / "text").write_text("no model")
    invalid = onnx.load(path)
    invalid.graph.node[0].op_type = "NoSuchOperator"
    onnx.save(invalid, tmp_path / "invalid")
    for bad in ("text", "invalid", "missing"):
        with pytest.raises(ModelFileError):
            model_file.write(tmp_path / bad, graphs.card(), path)
    assert path.read_bytes() == before
    assert not [item for item in tmp_path.iterdir() if item.suffix == ".partial"]


def test_recard_needs_a_model_file(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="has no lungcli model card"):
        model_file.recard(graphs.brightness(tmp_path / "net.onnx"), graphs.card())


def test_one_prediction_in_a_fresh_process_is_silent_and_light(tmp_path: Path) -> None:
    path = graphs.model_file(tmp_path / "m.onnx")
    script = (
        "import sys, pathlib, numpy\n"
        "from lungcli.modelfile import model_file\n"
        "model_file.load(pathlib.Path(sys.argv[1])).logits(numpy.zeros((1, 32, 32), numpy.uint8))\n"
        "print(sorted({'onnx', 'torch', 'pydicom', 'rich', 'typer'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_the_checker_sees_a_type_error(tmp_path: Path) -> None:
    net = onnx.load(graphs.brightness(tmp_path / "net.onnx"))
    del net.graph.node[0].attribute[:]
    net.graph.input[0].type.tensor_type.elem_type = TensorProto.UNDEFINED
    onnx.save(net, tmp_path / "net.onnx")
    with pytest.raises(ModelFileError, match="not a valid ONNX file"):
        model_file.write(tmp_path / "net.onnx", graphs.card(), tmp_path / "m.onnx")
