"""Explanation: heat adds up, lies where it belongs, and points at the nodules of phantoms."""

import io
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from lungcli.core.errors import ModelFileError
from lungcli.datasets.phantom import dataset
from lungcli.modelfile import model_file
from lungcli.modelfile.model_file import Model
from lungcli.predict import explain
from lungcli.quantize import int8_coverage
from tests.modelfile import graphs
from tests.predict import pointing
from tests.predict.pointing import Case

SIZE = 128
MALIGNANT = graphs.CLASSES.index("malignant")
# What the pointing game must be won by: hits less what a throw into the lungs would hit.
MARGIN = 0.5


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    """The middle slice of each patient with a malignant nodule."""
    return [case for patient in dataset.patients(200, seed=5) for case in pointing.cases_of(patient, SIZE)]


def _model(folder: Path, *, evidence: bool = True) -> Model:
    graphs.nodules(folder / "net", SIZE, evidence=evidence)
    model_file.write(folder / "net", graphs.card(size=SIZE), folder / "m.onnx")
    return model_file.load(folder / "m.onnx", threads=1)


def _int8(folder: Path, model: Model, slices: NDArray[np.uint8]) -> Model:
    graphs.quantized(model.path, slices, folder / "int8")
    model_file.write(folder / "int8", graphs.card(size=SIZE, precision="int8"), folder / "int8.onnx")
    return model_file.load(folder / "int8.onnx", threads=1)


def test_heat_points_at_nodules(cases: list[Case], tmp_path: Path) -> None:
    hits, chance = pointing.won(_model(tmp_path), cases)
    assert len(cases) >= 10
    assert chance < 0.05
    assert hits > chance + MARGIN


def test_heat_of_the_int8_file_points_at_nodules(cases: list[Case], tmp_path: Path) -> None:
    slices = np.stack([case.image.prepared for case in cases])
    model = _int8(tmp_path, _model(tmp_path), slices)
    assert model.gives_evidence
    assert int8_coverage.executed_operators(model)["QLinearConv"] == 3
    hits, chance = pointing.won(model, cases)
    assert hits > chance + MARGIN


# Occlusion cannot tell places apart that lie nearer than half the side of its squares, a twelfth of the lungs' box.
BLUNT = 0.06


def test_occlusion_points_at_nodules(cases: list[Case], tmp_path: Path) -> None:
    model = _model(tmp_path, evidence=False)
    assert not model.gives_evidence
    hits, chance = pointing.won(model, cases[:8], BLUNT)
    assert chance < 0.1
    assert hits > chance + MARGIN


@pytest.mark.parametrize(("places", "covered"), [(explain.CELLS, False), (explain.CELLS - 1, True)])
def test_a_map_of_fewer_places_than_occlusion_has_is_not_shown(
    places: int, covered: bool, cases: list[Case], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, prepared = _model(tmp_path), cases[0].image.prepared
    monkeypatch.setattr(Model, "evidence", lambda *_: np.ones((1, 3, places, places), dtype=np.float32))
    heat = explain.explain(model, prepared, MALIGNANT)
    assert np.array_equal(heat, explain.occlusion(model, prepared, MALIGNANT)) == covered


def test_what_is_white_all_over_is_not_covered(
    cases: list[Case], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the lungs a prepared slice is white: only squares that change something are judged."""
    model, prepared = _model(tmp_path), np.full((SIZE, SIZE), 255, dtype=np.uint8)
    prepared[2, 2] = 0
    judged: list[int] = []
    logits = Model.logits

    def counted(model: Model, slices: NDArray[np.uint8]) -> NDArray[np.float32]:
        judged.append(len(slices))
        return logits(model, slices)

    monkeypatch.setattr(Model, "logits", counted)
    assert explain.occlusion(model, prepared, MALIGNANT).shape == (explain.CELLS, explain.CELLS)
    assert sum(judged) == 1 + 4


def test_a_net_that_knows_no_nodules_does_not_win(cases: list[Case], tmp_path: Path) -> None:
    graphs.brightness(tmp_path / "net", size=SIZE)
    model_file.write(tmp_path / "net", graphs.card(size=SIZE), tmp_path / "m.onnx")
    hits, chance = pointing.won(model_file.load(tmp_path / "m.onnx", threads=1), cases[:8], BLUNT)
    assert hits < chance + 0.25


def test_int8_evidence_still_adds_up_to_the_logits(cases: list[Case], tmp_path: Path) -> None:
    slices = np.stack([case.image.prepared for case in cases])
    before = _model(tmp_path)
    after = _int8(tmp_path, before, slices)
    for model, tolerance in ((before, 1e-4), (after, 0.05)):
        evidence = model.evidence(slices)
        assert evidence is not None
        logits = model.logits(slices)
        assert evidence.shape == (len(slices), 3, SIZE, SIZE)
        np.testing.assert_allclose(evidence.mean(axis=(2, 3)), logits, atol=tolerance * float(np.ptp(logits)))


def test_heat_is_what_a_place_adds_beyond_the_mean_of_all_classes(cases: list[Case], tmp_path: Path) -> None:
    model = _model(tmp_path)
    prepared = cases[0].image.prepared
    logits = model.logits(prepared[None])[0]
    heats = [explain.explain(model, prepared, label) for label in range(3)]
    for label, heat in enumerate(heats):
        assert heat.mean() == pytest.approx(logits[label] - logits.mean(), abs=1e-4)
    np.testing.assert_allclose(sum(heats), 0, atol=1e-3)


def test_occlusion_finds_the_one_bright_place(tmp_path: Path) -> None:
    """The logit of `normal` rises with the mean grey, so that all its heat lies where the slice is bright."""
    model = model_file.load(graphs.model_file(tmp_path / "m.onnx"), threads=1)
    prepared = np.zeros((graphs.SIZE, graphs.SIZE), dtype=np.uint8)
    prepared[3:5, 19:21] = 255
    heat = explain.explain(model, prepared, 2)
    assert heat.shape == (explain.CELLS, explain.CELLS)
    assert divmod(int(heat.argmax()), explain.CELLS) == (1, 7)
    assert (heat[4:] == 0).all()
    np.testing.assert_allclose(explain.explain(model, prepared, 0), -heat, atol=1e-6)


def test_an_unknown_class_and_a_foreign_slice_are_refused(tmp_path: Path) -> None:
    model = model_file.load(graphs.model_file(tmp_path / "m.onnx"), threads=1)
    with pytest.raises(ValueError, match="none has the number 3"):
        explain.explain(model, graphs.slices(1)[0], 3)
    with pytest.raises(ValueError, match="takes uint8 slices"):
        explain.explain(model, graphs.slices(1, size=16)[0], 0)


def test_evidence_of_another_shape_than_the_classes_is_refused(tmp_path: Path) -> None:
    graphs.nodules(tmp_path / "net", SIZE)
    net = onnx.load(tmp_path / "net")
    net.graph.output[1].CopyFrom(onnx.helper.make_tensor_value_info("evidence", onnx.TensorProto.FLOAT, ["N", 3]))
    del net.graph.node[-3:]
    net.graph.node.extend(
        [
            onnx.helper.make_node("Conv", ["all", "head", "usual"], ["places"]),
            onnx.helper.make_node("GlobalAveragePool", ["places"], ["mean"]),
            onnx.helper.make_node("Flatten", ["mean"], ["logits"]),
            onnx.helper.make_node("Identity", ["logits"], ["evidence"]),
        ]
    )
    onnx.save(net, tmp_path / "net")
    model_file.write(tmp_path / "net", graphs.card(size=SIZE), tmp_path / "m.onnx")
    with pytest.raises(ModelFileError, match="gives activation maps"):
        model_file.load(tmp_path / "m.onnx")


@settings(deadline=None, max_examples=40)
@given(
    column=st.integers(1, 5),
    row=st.integers(1, 5),
    left=st.integers(-40, 60),
    top=st.integers(-40, 60),
    side=st.integers(70, 200),
)
def test_heat_lies_where_its_place_lies_in_the_picture(column: int, row: int, left: int, top: int, side: int) -> None:
    heat = np.zeros((7, 7), dtype=np.float32)
    heat[row, column] = 1
    laid = explain.in_picture(heat, (left, top, left + side, top + side), (), (150, 180))
    assert laid.shape == (150, 180)
    x, y = left + side * (column + 0.5) / 7, top + side * (row + 0.5) / 7
    if 1 < x < 179 and 1 < y < 149:
        peak = explain.peak(laid)
        assert peak is not None
        assert abs(peak.x + 0.5 - x) <= 1
        assert abs(peak.y + 0.5 - y) <= 1
    rows, columns = np.mgrid[:150, :180] + 0.5
    unseen = (columns < left) | (columns > left + side) | (rows < top) | (rows > top + side)
    assert not laid[unseen].any()


def test_no_peak_where_nothing_speaks_for_the_class() -> None:
    assert explain.peak(np.full((3, 3), -1, dtype=np.float32)) is None
    assert explain.peak(np.zeros((3, 3), dtype=np.float32)) is None
    assert explain.peak(np.array([[0, 0], [0, 2]], dtype=np.float32)) == explain.Peak(x=1, y=1)


def test_colours_rise_in_lightness() -> None:
    rgb = explain.colours(np.linspace(0, 1, 64, dtype=np.float32))
    lightness = rgb @ np.array([0.2126, 0.7152, 0.0722])
    assert (np.diff(lightness) > 0).all()
    assert rgb[0].tolist() == [0, 0, 4]
    assert rgb[-1].tolist() == [252, 255, 164]


def test_without_heat_the_slice_stays_grey() -> None:
    grey = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    painted = explain.overlay(grey, np.full((8, 8), -1, dtype=np.float32))
    assert painted.dtype == np.uint8
    np.testing.assert_array_equal(painted, np.rint(grey * 255).astype(np.uint8)[..., None].repeat(3, axis=2))


def test_the_png_is_the_whole_picture_and_says_what_it_shows(cases: list[Case], tmp_path: Path) -> None:
    found = explain.explained(_model(tmp_path), cases[0].image, "malignant")
    picture = Image.open(io.BytesIO(explain.png(found)))
    assert picture.size == (pointing.SIDE, pointing.SIDE)
    assert picture.mode == "RGB"
    assert picture.info["Description"].startswith("regions that support malignant")
    assert "not a medical device" in picture.info["Description"]
    np.testing.assert_array_equal(np.asarray(picture), found.picture)
    assert found.overlay.shape == (SIZE, SIZE, 3)
    assert found.strength.max() == 255
