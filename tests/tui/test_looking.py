"""Paths as they are pasted, folders and series as they are leafed through, slices with verdicts and heat."""

from pathlib import Path

import pytest
from PIL import Image

from lungcli.core import bundled, models
from lungcli.core.errors import ModelFileError, UnreadableInputError
from lungcli.inference import modelfile
from lungcli.inference.predict import Failure, Prediction, Refusal
from lungcli.inference.sources import Item
from lungcli.tui import looking
from tests.data.pictures import write
from tests.inference import graphs
from tests.inference.test_sources import scan
from tests.tui import fakes, stage
from tests.tui.test_saying import FOUND


def test_a_dropped_path_is_understood_in_every_terminals_way(tmp_path: Path) -> None:
    path = tmp_path / "a [1] b.png"
    path.touch()
    escaped = str(path).replace(" ", "\\ ").replace("[", "\\[").replace("]", "\\]")
    for text in (str(path), f"'{path}'", f'"{path}"', escaped, path.as_uri(), f" {path} \n"):
        assert looking.pasted(text) == path
    assert looking.pasted("  \n") is None
    assert looking.pasted("it's") == Path("it's")


def names(found: list[Item]) -> list[str]:
    return [Path(item.shown).name for item in found]


def test_a_folder_from_its_first_and_a_file_from_itself(tmp_path: Path) -> None:
    for name in ("s10.png", "s9.png", "notes.txt"):
        stage.picture(tmp_path / name) if name.endswith("png") else (tmp_path / name).touch()
    found, at = looking.leaf(tmp_path)
    assert (names(found), at) == (["s9.png", "s10.png"], 0)
    found, at = looking.leaf(tmp_path / "s10.png")
    assert (names(found), at) == (["s9.png", "s10.png"], 1)
    found, at = looking.leaf(tmp_path / "notes.txt")
    assert (names(found), at) == (["notes.txt"], 0)


def test_a_series_is_leafed_through_from_feet_to_head(tmp_path: Path) -> None:
    head, feet = scan([20, 10])
    write(tmp_path, {"a.dcm": head, "b.dcm": feet})
    found, at = looking.leaf(tmp_path / "a.dcm")
    assert (names(found), at) == (["b.dcm", "a.dcm"], 1)
    assert {item.series for item in found} == {"series 1"}


def test_a_series_has_a_verdict_once_all_its_slices_have_theirs(tmp_path: Path) -> None:
    model = modelfile.load(graphs.model_file(tmp_path / "m.onnx"), threads=1)
    items = [Item(shown=str(number), source=b"", series="series 1") for number in range(2)]
    items.append(Item(shown="alone", source=b""))
    judged = {place: looking.Look(pixels=None, found=FOUND) for place in range(3)}
    assert looking.of_series(items, {0: judged[0]}, 0, model) is None
    assert looking.of_series(items, judged, 2, model) is None
    found = looking.of_series(items, judged, 1, model)
    assert found is not None
    assert (found.label, found.slices, found.malignant_slices) == ("malignant", 2, 2)


def test_nothing_there_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UnreadableInputError, match="there are no pictures in"):
        looking.leaf(tmp_path)
    with pytest.raises(UnreadableInputError, match="there is no file or folder"):
        looking.leaf(tmp_path / "x")
    (tmp_path / "a.zip").touch()
    with pytest.raises(UnreadableInputError, match="is not unpacked"):
        looking.leaf(tmp_path / "a.zip")


def test_the_bundled_model_judges_else_that_of_the_newest_finished_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ModelFileError, match="there is no model on this machine yet"):
        looking.usual_model()
    older = stage.run("older")
    newer = stage.run("newer")
    unfinished = fakes.run("unfinished", end="running")
    folder = unfinished.stage("train")
    folder.mkdir(parents=True, exist_ok=True)
    graphs.model_file(folder / models.MODEL)
    assert looking.usual_model().path == newer.stage("int8") / models.MODEL
    (newer.stage("int8") / models.MODEL).write_bytes(b"no model")
    assert looking.usual_model().path == older.stage("int8") / models.MODEL
    monkeypatch.setattr(bundled, "MODEL", graphs.model_file(tmp_path / "default.onnx"))
    assert looking.usual_model().path == tmp_path / "default.onnx"


def test_where_no_model_can_be_used_the_first_says_why() -> None:
    broken = stage.run("only").stage("int8") / models.MODEL
    broken.write_bytes(b"no model")
    with pytest.raises(ModelFileError, match=r"model\.onnx"):
        looking.usual_model()


def test_a_look_is_picture_and_verdict(tmp_path: Path) -> None:
    model = modelfile.load(graphs.model_file(tmp_path / "m.onnx"), threads=1)
    slice_ = Item(shown="a.png", source=stage.picture(tmp_path / "a.png"))
    seen = looking.look(slice_, model)
    assert seen.pixels is not None
    assert seen.pixels.shape == (48, 48)
    assert isinstance(seen.found, Prediction)
    assert looking.look(slice_, None).found is None
    (tmp_path / "b.png").write_bytes(b"no")
    for judging in (model, None):
        broken = looking.look(Item(shown="b.png", source=tmp_path / "b.png"), judging)
        assert isinstance(broken.found, Failure)
        assert broken.pixels is None


def test_a_refused_picture_is_shown_all_the_same(tmp_path: Path) -> None:
    model = modelfile.load(graphs.model_file(tmp_path / "m.onnx"), threads=1)
    Image.new("L", (48, 48), 200).save(tmp_path / "wall.png")
    wall = Item(shown="wall.png", source=tmp_path / "wall.png")
    seen = looking.look(wall, model)
    assert isinstance(seen.found, Refusal)
    assert seen.pixels is not None
    assert looking.heat_map(wall, model, "") is None


def test_a_heat_map_is_of_the_verdict_or_of_the_class_asked_for(tmp_path: Path) -> None:
    model = modelfile.load(graphs.model_file(tmp_path / "m.onnx"), threads=1)
    slice_ = Item(shown="a.png", source=stage.picture(tmp_path / "a.png"))
    found = looking.look(slice_, model).found
    assert isinstance(found, Prediction)
    heat = looking.heat_map(slice_, model, "")
    assert heat is not None
    assert heat.label == found.label
    assert heat.pixels.shape == (48, 48, 3)
    assert heat.grey.shape == (model.card.size, 2 * model.card.size)
    asked = looking.heat_map(slice_, model, "normal")
    assert asked is not None
    assert asked.label == "normal"


def test_completions(tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    (tmp_path / ".hidden").mkdir()
    assert looking.completions(f"{tmp_path}/sc") == f"{tmp_path}/scans/"
    assert looking.completions(f"{tmp_path}/") == f"{tmp_path}/scans/"
    assert looking.completions(f"{tmp_path}/x") is None
    assert looking.completions("/no/such/place/") is None
    assert looking.completions("") is None
