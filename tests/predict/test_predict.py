import dataclasses
import functools
import time
import types
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image

from lungcli.core.errors import ModelFileError
from lungcli.core.recipe import Resize
from lungcli.core.worker_process import WorkerProcess
from lungcli.imaging import hounsfield, lung_segmentation, ood, ood_features
from lungcli.imaging.image_io import read
from lungcli.imaging.ood import OodStatistics
from lungcli.imaging.picture import Picture
from lungcli.imaging.preprocessing import prepare_file
from lungcli.metrics.intervals import Estimate
from lungcli.metrics.operating_point import OperatingPoint, OperatingTarget, ReliabilityBand
from lungcli.metrics.referral import Referral
from lungcli.modelfile import model_file
from lungcli.predict import explain, inputs, predict
from lungcli.predict.inputs import Item
from lungcli.predict.predict import Failure, Outcome, Prediction, Refusal
from tests.imaging import intruders
from tests.modelfile import graphs


@pytest.fixture
def model(tmp_path_factory: pytest.TempPathFactory) -> model_file.Model:
    return model_file.load(graphs.model_file(tmp_path_factory.mktemp("model") / "m.onnx"), threads=1)


def judged(paths: Iterable[Path], model: model_file.Model, *, force: bool = False, workers: int = 1) -> list[Outcome]:
    named = inputs.items(map(str, paths), inputs.Naming())
    return [outcome for outcome, _ in predict.predict(named, model, force=force, workers=workers)]


def one(path: Path, model: model_file.Model) -> Outcome:
    (found,) = judged([path], model)
    return found


def _picture(path: Path, grey: int = 200) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    chest = np.zeros((40, 48), dtype=np.uint8)
    chest[4:36, 4:44] = grey
    chest[10:30, 8:20] = chest[10:30, 28:40] = grey // 4
    Image.fromarray(chest).save(path)
    return path


def test_a_verdict_is_what_the_model_says_of_the_prepared_slice(tmp_path: Path, model: model_file.Model) -> None:
    path = _picture(tmp_path / "scan.png")
    (found,) = judged([path], model)
    assert isinstance(found, Prediction)
    expected = model.probabilities(prepare_file(path, model.card.size)[None])[0]
    assert found.probabilities == dict(zip(graphs.CLASSES, expected.tolist(), strict=True))
    assert found.label == "normal"
    assert (found.source, found.model, found.synthetic) == (str(path), "tiny", True)
    assert 0 < found.seconds < 60
    assert "not a medical device" in found.disclaimer


@pytest.mark.parametrize("workers", [1, 3])
def test_failures_stand_in_their_place_and_the_rest_goes_on(
    tmp_path: Path, model: model_file.Model, workers: int
) -> None:
    (tmp_path / "text.png").write_text("no picture")
    asked = [
        _picture(tmp_path / "a.png"),
        tmp_path / "text.png",
        tmp_path / "missing.png",
        _picture(tmp_path / "b.png"),
    ]
    found = judged(asked, model, workers=workers)
    assert [type(item) for item in found] == [Prediction, Failure, Failure, Prediction]
    assert [item.source for item in found] == [str(path) for path in asked]
    assert all(item.reason and item.hint for item in found if isinstance(item, Failure))


def test_a_folder_stands_for_its_files_in_natural_order(tmp_path: Path, model: model_file.Model) -> None:
    names = ["B 3.png", "a 2.png", "a 10.png", "sub/1.png", ".hidden.png", ".git/x.png", "7.png"]
    for name in names:
        _picture(tmp_path / "scans" / name)
    (tmp_path / "scans" / "sub" / "loop").symlink_to(tmp_path / "scans", target_is_directory=True)
    found = judged([tmp_path / "scans"], model)
    order = [Path(item.source).relative_to(tmp_path / "scans").as_posix() for item in found]
    assert order == ["7.png", "a 2.png", "a 10.png", "B 3.png", "sub/1.png"]


def test_an_empty_folder_is_a_failure(tmp_path: Path, model: model_file.Model) -> None:
    (tmp_path / "empty").mkdir()
    (found,) = judged([tmp_path / "empty"], model)
    assert isinstance(found, Failure)
    assert found.reason == f"there are no pictures in {tmp_path / 'empty'}"


@pytest.mark.parametrize(("workers", "capture", "ahead"), [(1, False, 0), (1, True, 0), (2, False, 6), (2, True, 2)])
def test_pictures_are_read_only_a_few_ahead(
    tmp_path: Path, model: model_file.Model, workers: int, capture: bool, ahead: int
) -> None:
    asked: list[int] = []
    path = _picture(tmp_path / "a.png")

    def items() -> Iterator[Item]:
        for number in range(1_000_000):
            asked.append(number)
            yield Item(shown=str(number), source=path)

    found = predict.predict(items(), model, workers=workers, capture=capture)
    assert isinstance(found, types.GeneratorType)
    assert not asked
    assert [next(found)[0].source, next(found)[0].source] == ["0", "1"]
    assert len(asked) == 2 + ahead
    found.close()


def test_order_is_that_of_the_input_whichever_is_done_first(tmp_path: Path, model: model_file.Model) -> None:
    content = _picture(tmp_path / "a.png").read_bytes()

    def late(number: int) -> Picture:
        time.sleep(0.03 * (number % 3 == 0))
        return read(content)

    items = [Item(shown=str(number), source=functools.partial(late, number)) for number in range(20)]
    found = [(outcome.source, capture.item.shown) for outcome, capture in predict.predict(items, model, workers=4)]
    assert found == [(str(number), str(number)) for number in range(20)]


@pytest.mark.parametrize("workers", [1, 4])
def test_heat_and_prediction_stay_together_among_refused_and_unreadable_pictures(
    tmp_path: Path, model: model_file.Model, workers: int
) -> None:
    (tmp_path / "text.png").write_text("no picture")
    lost = [_blank(tmp_path / "blank.png"), tmp_path / "text.png", tmp_path / "missing.png"]
    greys = {f"{grey}.png": _picture(tmp_path / f"{grey}.png", grey) for grey in range(120, 240, 20)}
    named = [path for number, path in enumerate(greys.values()) for path in (*lost[: number % 4], path)]

    def late(path: Path) -> Picture:
        # Those in the middle are done first.
        time.sleep(0.02 * (path.name in ("120.png", "180.png")))
        return read(path)

    items = [Item(shown=path.name, source=functools.partial(late, path)) for path in named]
    found = list(predict.predict(items, model, workers=workers, capture=True))
    assert [outcome.source for outcome, _ in found] == [path.name for path in named]
    assert all(capture.item is item for (_, capture), item in zip(found, items, strict=True))
    heats = set()
    for outcome, capture in found:
        if isinstance(outcome, Failure):
            assert capture.image is None
            continue
        assert capture.image is not None
        path = tmp_path / outcome.source
        np.testing.assert_array_equal(capture.image.grey, read(path).grey)
        np.testing.assert_array_equal(capture.image.prepared, prepare_file(path, model.card.size))
        if isinstance(outcome, Prediction):
            alone = predict.capture_and_predict(capture.item, model, capture=True)[1].image
            assert alone is not None
            heat = explain.explained(model, capture.image, outcome.label)
            np.testing.assert_array_equal(heat.picture, explain.explained(model, alone, outcome.label).picture)
            heats.add(heat.picture.tobytes())
    assert len(heats) == len(greys)


def test_images_are_kept_only_where_asked_for(tmp_path: Path, model: model_file.Model) -> None:
    items = [Item(shown=path.name, source=path) for path in (_picture(tmp_path / "a.png"), _blank(tmp_path / "b.png"))]
    found = list(predict.predict(items, model))
    assert [type(outcome) for outcome, _ in found] == [Prediction, Refusal]
    assert all(capture.image is None for _, capture in found)


def test_a_picture_as_bytes(tmp_path: Path, model: model_file.Model) -> None:
    content = _picture(tmp_path / "scan.png").read_bytes()
    found, _ = predict.capture_and_predict(Item(shown="upload.png", source=content), model)
    by_path = one(tmp_path / "scan.png", model)
    assert isinstance(found, Prediction)
    assert isinstance(by_path, Prediction)
    assert found.source == "upload.png"
    assert found.probabilities == by_path.probabilities


def guarded(folder: Path, **changes: object) -> model_file.Model:
    return model_file.load(graphs.model_file(folder / "guarded.onnx", **changes), threads=1)


def statistics(path: Path) -> OodStatistics:
    found = ood.fit(ood.feature_rows([ood_features.measure(read(path))]), ood.feature_rows([]))
    assert found is not None
    return found


def _blank(path: Path) -> Path:
    Image.new("L", (64, 64), 120).save(path)
    return path


def test_what_is_no_slice_is_refused_with_reason_and_score(tmp_path: Path, model: model_file.Model) -> None:
    found = one(_blank(tmp_path / "blank.png"), model)
    assert found == Refusal(source=str(tmp_path / "blank.png"), reason="blank", score=100)


def test_force_judges_all_the_same_and_says_so(tmp_path: Path, model: model_file.Model) -> None:
    blank, slice_ = _blank(tmp_path / "blank.png"), _picture(tmp_path / "slice.png")
    forced, plain = judged([blank, slice_], model, force=True)
    assert isinstance(forced, Prediction)
    assert isinstance(plain, Prediction)
    assert (forced.forced, forced.referred, forced.reason) == (True, True, "blank")
    assert (plain.forced, plain.referred, plain.reason, plain.guard) == (False, False, "", 0)
    assert sum(forced.probabilities.values()) == pytest.approx(1)


def test_an_unfamiliar_acquisition_is_referred(tmp_path: Path) -> None:
    familiar, stranger = _picture(tmp_path / "a.png"), _picture(tmp_path / "b.png", grey=100)
    model = guarded(tmp_path, guard=statistics(familiar))
    first, second = judged([familiar, stranger], model)
    assert isinstance(first, Prediction)
    assert isinstance(second, Prediction)
    assert (first.referred, first.guard) == (False, 0)
    assert second.referred
    assert second.guard > 1
    assert second.reason == "unfamiliar acquisition: of darker tissue than the slices it learned from"
    assert second.label == "normal"


@pytest.mark.parametrize(("threshold", "referred"), [(0.30, False), (0.95, True)])
def test_a_verdict_below_the_threshold_is_referred(tmp_path: Path, threshold: float, referred: bool) -> None:
    band = Referral(threshold=threshold, target="error", coverage=0.9, risk=0.05, n=100)
    found = one(_picture(tmp_path / "a.png"), guarded(tmp_path, referral=band))
    assert isinstance(found, Prediction)
    assert found.referred is referred
    chosen = max(found.probabilities.values())
    assert found.reason == (f"not sure enough: a confidence of {chosen:.1%} is below 95.0%" if referred else "")


@pytest.mark.parametrize(("threshold", "finding"), [(0.0, "suspicious"), (1.0, "clear")], ids=["suspicious", "clear"])
def test_the_operating_point_decides_and_not_the_most_probable_class(
    tmp_path: Path, threshold: float, finding: str
) -> None:
    target = OperatingTarget(kind="specificity", value=0.9)
    point = OperatingPoint(threshold=threshold, target=target, sensitivity=0.5, specificity=0.9, n=100)
    bands = tuple(ReliabilityBand(low=low, n=50, right=Estimate(value=low, low=low, high=low)) for low in (0.0, 0.999))
    model = guarded(tmp_path, operating_point=point, reliability=bands)
    prediction = one(_picture(tmp_path / "a.png"), model)
    assert isinstance(prediction, Prediction)
    assert prediction.finding == finding
    assert (prediction.label == "malignant") is (finding == "suspicious")
    # Of a threshold that nearly all slices reach, that one is far from it; above one half, how probable the finding is.
    sure = finding == "suspicious"
    assert prediction.confidence == pytest.approx(1 if sure else 1 - prediction.probabilities["malignant"], abs=1e-3)
    assert prediction.reliability == bands[sure].right
    referring = guarded(
        tmp_path, operating_point=point, referral=Referral(threshold=1, target="t", coverage=0.9, risk=0.05, n=100)
    )
    doubted = one(tmp_path / "a.png", referring)
    assert isinstance(doubted, Prediction)
    assert doubted.finding == "refer"


def test_the_acquisition_is_told_before_the_doubt(tmp_path: Path) -> None:
    familiar, stranger = _picture(tmp_path / "a.png"), _picture(tmp_path / "b.png", grey=100)
    band = Referral(threshold=0.99, target="error", coverage=0.9, risk=0.05, n=100)
    found = one(stranger, guarded(tmp_path, referral=band, guard=statistics(familiar)))
    assert isinstance(found, Prediction)
    assert found.reason.startswith("unfamiliar acquisition")


def test_the_chest_is_looked_for_once(tmp_path: Path, model: model_file.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    grey = intruders.slices(1)[0]
    Image.fromarray(np.rint(grey * 255).astype(np.uint8)).save(tmp_path / "a.png")
    calls: list[int] = []
    find_in = lung_segmentation.segment_image

    def counted(image: Image.Image) -> lung_segmentation.LungSegmentation:
        calls.append(1)
        return find_in(image)

    monkeypatch.setattr(lung_segmentation, "segment_image", counted)
    assert isinstance(one(tmp_path / "a.png", model), Prediction)
    assert len(calls) == 1


def test_a_model_file_with_unknown_signs_is_refused(tmp_path: Path) -> None:
    known = statistics(_picture(tmp_path / "a.png"))
    strange = msgspec.structs.replace(known, signs=("smell", *known.signs[1:]))
    with pytest.raises(ModelFileError, match="by features that this lungcli does not measure"):
        guarded(tmp_path, guard=strange)


def test_a_picture_that_takes_too_long_stands_in_its_place(
    tmp_path: Path, model: model_file.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, quick = _picture(tmp_path / "slow.png"), _picture(tmp_path / "quick.png")
    real = WorkerProcess.ask

    def ask(worker: WorkerProcess, request: bytes, seconds: float) -> bytes:
        if b"slow" in request:
            raise TimeoutError
        return real(worker, request, seconds)

    monkeypatch.setattr(WorkerProcess, "ask", ask)
    named = inputs.items(map(str, (slow, quick)), inputs.Naming())
    first, second = (outcome for outcome, _ in predict.predict(named, model, workers=2, seconds=60.0))
    assert isinstance(first, Failure)
    assert "it takes more than 60 s" in first.reason
    assert "--timeout" in first.hint
    assert isinstance(second, Prediction)
    (here,) = judged([quick], model)
    assert isinstance(here, Prediction)
    assert dataclasses.replace(second, seconds=here.seconds, source=here.source) == here


def test_a_prediction_says_the_scale_of_its_file(tmp_path: Path, model: model_file.Model) -> None:
    path = _picture(tmp_path / "a.png")
    named = Item(shown="a.png", source=path, scale=hounsfield.GreyScale(window=(-600, 1500)))

    found = [outcome for outcome, _ in predict.predict([Item(shown="a.png", source=path), named], model)]

    scales = [outcome.scale for outcome in found if isinstance(outcome, Prediction)]
    assert [scale.split(",")[0] for scale in scales] == ["grey; window about -400", "window -600"]


@pytest.mark.parametrize("resize", ["stretch", "crop"])
def test_a_model_of_whole_pictures_sees_whole_pictures(tmp_path: Path, resize: Resize) -> None:
    """So is what is kept of the picture to explain it: heat lies where the net looked."""
    recipe = msgspec.structs.replace(graphs.card().recipe, resize=resize)
    whole = model_file.load(graphs.model_file(tmp_path / "m.onnx", recipe=recipe), threads=1)
    path = _picture(tmp_path / "scan.png")
    ((outcome, capture),) = predict.predict(inputs.items([str(path)], inputs.Naming()), [whole], capture=True)
    expected = prepare_file(path, whole.card.size, resize)
    assert isinstance(outcome, Prediction)
    assert list(outcome.probabilities.values()) == whole.probabilities(expected[None])[0].tolist()
    assert capture.image is not None
    np.testing.assert_array_equal(capture.image.prepared, expected)
    assert capture.image.chest.box == ((0.0, 0.0, 48.0, 40.0) if resize == "stretch" else (4.0, 0.0, 44.0, 40.0))
    assert explain.explained(whole, capture.image, "normal").picture.shape == (40, 48, 3)
