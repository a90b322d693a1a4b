import types
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lungcli.data.prepare import prepare_file
from lungcli.inference import modelfile, predict
from lungcli.inference.predict import Failure, Prediction
from tests.inference import graphs


@pytest.fixture
def model(tmp_path_factory: pytest.TempPathFactory) -> modelfile.Model:
    return modelfile.load(graphs.model_file(tmp_path_factory.mktemp("model") / "m.onnx"), threads=1)


def _picture(path: Path, grey: int = 200) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    chest = np.zeros((40, 48), dtype=np.uint8)
    chest[4:36, 4:44] = grey
    chest[10:30, 8:20] = chest[10:30, 28:40] = grey // 4
    Image.fromarray(chest).save(path)
    return path


def test_a_verdict_is_what_the_model_says_of_the_prepared_slice(tmp_path: Path, model: modelfile.Model) -> None:
    path = _picture(tmp_path / "scan.png")
    (found,) = predict.predict([path], model)
    assert isinstance(found, Prediction)
    expected = model.probabilities(prepare_file(path, model.card.size)[None])[0]
    assert found.probabilities == dict(zip(graphs.CLASSES, expected.tolist(), strict=True))
    assert found.label == "normal"
    assert (found.source, found.model, found.synthetic) == (str(path), "tiny", True)
    assert 0 < found.seconds < 60
    assert "not a medical device" in found.disclaimer


def test_failures_stand_in_their_place_and_the_rest_goes_on(tmp_path: Path, model: modelfile.Model) -> None:
    (tmp_path / "text.png").write_text("no picture")
    sources = [
        _picture(tmp_path / "a.png"),
        tmp_path / "text.png",
        tmp_path / "missing.png",
        _picture(tmp_path / "b.png"),
    ]
    found = list(predict.predict(sources, model))
    assert [type(item) for item in found] == [Prediction, Failure, Failure, Prediction]
    assert [item.source for item in found] == [str(path) for path in sources]
    assert all(item.reason and item.hint for item in found if isinstance(item, Failure))


def test_a_folder_stands_for_its_files_in_natural_order(tmp_path: Path, model: modelfile.Model) -> None:
    names = ["B 3.png", "a 2.png", "a 10.png", "sub/1.png", ".hidden.png", ".git/x.png", "7.png"]
    for name in names:
        _picture(tmp_path / "scans" / name)
    (tmp_path / "scans" / "sub" / "loop").symlink_to(tmp_path / "scans", target_is_directory=True)
    found = predict.predict([tmp_path / "scans"], model)
    order = [Path(item.source).relative_to(tmp_path / "scans").as_posix() for item in found]
    assert order == ["7.png", "a 2.png", "a 10.png", "B 3.png", "sub/1.png"]


def test_an_empty_folder_is_a_failure(tmp_path: Path, model: modelfile.Model) -> None:
    (tmp_path / "empty").mkdir()
    (found,) = predict.predict([tmp_path / "empty"], model)
    assert isinstance(found, Failure)
    assert "no files" in found.reason


def test_pictures_are_read_only_when_asked_for(tmp_path: Path, model: modelfile.Model) -> None:
    asked: list[int] = []

    def sources() -> Iterator[Path]:
        for number in range(1_000_000):
            asked.append(number)
            yield _picture(tmp_path / "a.png")

    found = predict.predict(sources(), model)
    assert isinstance(found, types.GeneratorType)
    assert not asked
    next(found)
    next(found)
    assert asked == [0, 1]


def test_a_picture_as_bytes(tmp_path: Path, model: modelfile.Model) -> None:
    content = _picture(tmp_path / "scan.png").read_bytes()
    found = predict.predict_one(content, model, "upload.png")
    by_path = predict.predict_one(tmp_path / "scan.png", model)
    assert isinstance(found, Prediction)
    assert isinstance(by_path, Prediction)
    assert found.source == "upload.png"
    assert found.probabilities == by_path.probabilities
    assert predict.predict_one(b"no picture", model).source == "the picture"
