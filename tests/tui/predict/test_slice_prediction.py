"""Paths as they are pasted, folders and series as they are leafed through, slices with predictions and heat-maps."""

from pathlib import Path

import pytest
from PIL import Image

from lungcli.core import package_data
from lungcli.core.errors import ModelFileError, UnreadableInputError
from lungcli.core.worker_process import WorkerProcess
from lungcli.imaging import timed_reading
from lungcli.modelfile import model_file, model_paths
from lungcli.predict.inputs import Item
from lungcli.predict.predict import Failure, Prediction, Refusal
from lungcli.tui.predict import slice_prediction
from tests.imaging.pictures import write
from tests.modelfile import graphs
from tests.predict.test_inputs import scan
from tests.tui import fakes, stage
from tests.tui.predict.test_prediction_text import FOUND


def test_a_dropped_path_is_understood_in_every_terminals_way(tmp_path: Path) -> None:
    path = tmp_path / "a [1] b.png"
    path.touch()
    escaped = str(path).replace(" ", "\\ ").replace("[", "\\[").replace("]", "\\]")
    for text in (str(path), f"'{path}'", f'"{path}"', escaped, path.as_uri(), f" {path} \n"):
        assert slice_prediction.pasted_path(text) == path
    assert slice_prediction.pasted_path("  \n") is None
    assert slice_prediction.pasted_path("it's") == Path("it's")


def names(items: list[Item]) -> list[str]:
    return [Path(item.shown).name for item in items]


def test_a_folder_from_its_first_and_a_file_from_itself(tmp_path: Path) -> None:
    for name in ("s10.png", "s9.png", "notes.txt"):
        stage.picture(tmp_path / name) if name.endswith("png") else (tmp_path / name).touch()
    items, at = slice_prediction.slices_from(tmp_path)
    assert (names(items), at) == (["s9.png", "s10.png"], 0)
    items, at = slice_prediction.slices_from(tmp_path / "s10.png")
    assert (names(items), at) == (["s9.png", "s10.png"], 1)
    items, at = slice_prediction.slices_from(tmp_path / "notes.txt")
    assert (names(items), at) == (["notes.txt"], 0)


def test_a_series_is_leafed_through_from_feet_to_head(tmp_path: Path) -> None:
    head, feet = scan([20, 10])
    write(tmp_path, {"a.dcm": head, "b.dcm": feet})
    items, at = slice_prediction.slices_from(tmp_path / "a.dcm")
    assert (names(items), at) == (["b.dcm", "a.dcm"], 1)
    assert {item.series for item in items} == {"series 1"}


def test_a_series_has_a_prediction_once_all_its_slices_have_theirs(tmp_path: Path) -> None:
    model = model_file.load(graphs.model_file(tmp_path / "m.onnx"), threads=1)
    items = [Item(shown=str(number), source=b"", series="series 1") for number in range(2)]
    items.append(Item(shown="alone", source=b""))
    shown = {place: slice_prediction.ShownSlice(pixels=None, outcome=FOUND) for place in range(3)}
    assert slice_prediction.of_series(items, {0: shown[0]}, 0, model) is None
    assert slice_prediction.of_series(items, shown, 2, model) is None
    series = slice_prediction.of_series(items, shown, 1, model)
    assert series is not None
    assert (series.label, series.slices, series.positive_slices) == ("malignant", 2, 2)


def test_nothing_there_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UnreadableInputError, match="there are no pictures in"):
        slice_prediction.slices_from(tmp_path)
    with pytest.raises(UnreadableInputError, match="there is no file or folder"):
        slice_prediction.slices_from(tmp_path / "x")
    (tmp_path / "a.zip").touch()
    with pytest.raises(UnreadableInputError, match="is not unpacked"):
        slice_prediction.slices_from(tmp_path / "a.zip")


def test_the_default_model_is_the_bundled_one_else_that_of_the_newest_finished_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ModelFileError, match="there is no model on this machine yet"):
        slice_prediction.default_model()
    older = stage.run("older")
    newer = stage.run("newer")
    unfinished = fakes.run("unfinished", end="running")
    folder = unfinished.stage("train")
    folder.mkdir(parents=True, exist_ok=True)
    graphs.model_file(folder / model_paths.MODEL)
    assert slice_prediction.default_model().path == newer.stage("int8") / model_paths.MODEL
    (newer.stage("int8") / model_paths.MODEL).write_bytes(b"no model")
    assert slice_prediction.default_model().path == older.stage("int8") / model_paths.MODEL
    monkeypatch.setattr(package_data, "MODEL", graphs.model_file(tmp_path / "default.onnx"))
    assert slice_prediction.default_model().path == tmp_path / "default.onnx"


def test_where_no_model_can_be_used_the_first_says_why() -> None:
    broken = stage.run("only").stage("int8") / model_paths.MODEL
    broken.write_bytes(b"no model")
    with pytest.raises(ModelFileError, match=r"model\.onnx"):
        slice_prediction.default_model()


def test_a_slice_is_read_with_its_picture_and_prediction(tmp_path: Path) -> None:
    model = model_file.load(graphs.model_file(tmp_path / "m.onnx"), threads=1)
    slice_ = Item(shown="a.png", source=stage.picture(tmp_path / "a.png"))
    shown = slice_prediction.read_slice(slice_, model)
    assert shown.pixels is not None
    assert shown.pixels.shape == (48, 48)
    assert isinstance(shown.outcome, Prediction)
    assert slice_prediction.read_slice(slice_, None).outcome is None
    (tmp_path / "b.png").write_bytes(b"no")
    for used in (model, None):
        broken = slice_prediction.read_slice(Item(shown="b.png", source=tmp_path / "b.png"), used)
        assert isinstance(broken.outcome, Failure)
        assert broken.pixels is None


def test_a_picture_that_takes_too_long_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_file.load(graphs.model_file(tmp_path / "m.onnx"), threads=1)
    stage.picture(tmp_path / "a.tif")
    (item,), _ = slice_prediction.slices_from(tmp_path)
    assert isinstance(slice_prediction.read_slice(item, model).outcome, Prediction)

    def ask(_: WorkerProcess, __: bytes, seconds: float) -> bytes:
        assert seconds == timed_reading.SECONDS
        raise TimeoutError

    monkeypatch.setattr(WorkerProcess, "ask", ask)
    for used in (model, None):
        slow = slice_prediction.read_slice(item, used).outcome
        assert isinstance(slow, Failure)
        assert "it takes more than" in slow.reason
    assert slice_prediction.heat_map(item, model, "") is None


def test_a_refused_picture_is_shown_all_the_same(tmp_path: Path) -> None:
    model = model_file.load(graphs.model_file(tmp_path / "m.onnx"), threads=1)
    Image.new("L", (48, 48), 200).save(tmp_path / "wall.png")
    wall = Item(shown="wall.png", source=tmp_path / "wall.png")
    shown = slice_prediction.read_slice(wall, model)
    assert isinstance(shown.outcome, Refusal)
    assert shown.pixels is not None
    assert slice_prediction.heat_map(wall, model, "") is None


def test_a_heat_map_is_of_the_predicted_class_or_of_the_one_asked_for(tmp_path: Path) -> None:
    model = model_file.load(graphs.model_file(tmp_path / "m.onnx"), threads=1)
    slice_ = Item(shown="a.png", source=stage.picture(tmp_path / "a.png"))
    outcome = slice_prediction.read_slice(slice_, model).outcome
    assert isinstance(outcome, Prediction)
    heat = slice_prediction.heat_map(slice_, model, "")
    assert heat is not None
    assert heat.label == outcome.label
    assert heat.pixels.shape == (48, 48, 3)
    assert heat.grey.shape == (model.card.size, 2 * model.card.size)
    asked = slice_prediction.heat_map(slice_, model, "normal")
    assert asked is not None
    assert asked.label == "normal"


def test_completions(tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    (tmp_path / ".hidden").mkdir()
    assert slice_prediction.complete_path(f"{tmp_path}/sc") == f"{tmp_path}/scans/"
    assert slice_prediction.complete_path(f"{tmp_path}/") == f"{tmp_path}/scans/"
    assert slice_prediction.complete_path(f"{tmp_path}/x") is None
    assert slice_prediction.complete_path("/no/such/place/") is None
    assert slice_prediction.complete_path("") is None
