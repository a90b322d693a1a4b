"""Several models: the mean verdict, who agrees, when they are referred, and which may sit together."""

import dataclasses
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image

from lungcli.core.errors import UsageError
from lungcli.imaging.preprocessing import prepare_file
from lungcli.metrics.referral import Referral
from lungcli.modelfile import model_file
from lungcli.modelfile.model_file import Model
from lungcli.predict import ensemble, predict
from lungcli.predict.inputs import Item
from lungcli.predict.predict import Prediction
from tests.modelfile import graphs


def tiny(path: Path, seed: int = 0, **changes: object) -> Model:
    graph = graphs.convolutional(path.with_suffix(".graph"), seed)
    model_file.write(graph, graphs.card(**changes), path)
    return model_file.load(path, threads=1)


def bright(path: Path, size: int, **changes: object) -> Model:
    model_file.write(graphs.brightness(path.with_suffix(".graph"), size=size), graphs.card(size=size, **changes), path)
    return model_file.load(path, threads=1)


def referral(threshold: float) -> Referral:
    return Referral(threshold=threshold, target="risk ≤ 0.2", coverage=1, risk=0, n=9)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    chest = np.zeros((40, 48), dtype=np.uint8)
    chest[4:36, 4:44] = 200
    chest[10:30, 8:20] = chest[10:30, 28:40] = 50
    Image.fromarray(chest).save(tmp_path / "scan.png")
    return tmp_path / "scan.png"


def judged(picture: Path, *judges: Model) -> Prediction:
    found, _ = predict.capture_and_predict(Item(shown=str(picture), source=picture), judges)
    assert isinstance(found, Prediction)
    return found


def test_the_verdict_is_the_mean_of_models_each_at_its_own_size(tmp_path: Path, picture: Path) -> None:
    judges = [bright(tmp_path / f"{size}.onnx", size) for size in (32, 48, 64)]
    found = judged(picture, *judges)
    rows = [model.probabilities(prepare_file(picture, model.card.size)[None])[0] for model in judges]
    assert list(found.probabilities.values()) == pytest.approx(np.mean(rows, axis=0).tolist(), abs=1e-12)
    assert [list(each.probabilities.values()) for each in found.opinions] == [row.tolist() for row in rows]
    assert [each.name for each in found.opinions] == [str(model.path) for model in judges]
    assert (found.model, found.agreement, found.views) == ("tiny + tiny + tiny", 1.0, 1)
    assert not found.referred
    item = Item(shown=str(picture), source=picture)
    timed, _ = predict.capture_and_predict(item, judges, seconds=60.0)
    assert isinstance(timed, Prediction)
    assert dataclasses.replace(timed, seconds=found.seconds) == found


def test_one_model_has_no_opinions(tmp_path: Path, picture: Path) -> None:
    model = bright(tmp_path / "m.onnx", 32)
    alone, _ = predict.capture_and_predict(Item(shown=str(picture), source=picture), model)
    listed = judged(picture, model)
    assert isinstance(alone, Prediction)
    assert (alone.probabilities, alone.opinions, alone.agreement) == (listed.probabilities, (), 1.0)


def test_disagreement_is_referred(tmp_path: Path, picture: Path) -> None:
    judges = [tiny(tmp_path / f"{seed}.onnx", seed) for seed in range(8)]
    verdicts = {judged(picture, model).label: model for model in judges}
    one, other = list(verdicts)[:2]
    found = judged(picture, verdicts[one], verdicts[other])
    first, second = verdicts[one].path, verdicts[other].path
    assert found.reason == f"the models disagree: {first} says {one}, {second} says {other}"
    assert (found.referred, found.agreement) == (True, 0.5)


def test_the_threshold_is_the_mean_of_those_there_are(tmp_path: Path, picture: Path) -> None:
    judges = [
        bright(tmp_path / f"{number}.onnx", 32, referral=referral(threshold) if threshold else None)
        for number, threshold in enumerate((0.9, 0.7, 0.0))
    ]
    found = judged(picture, *judges)
    surest = max(found.probabilities.values())
    assert found.reason == f"not sure enough: a confidence of {surest:.1%} is below 80.0%"
    card = ensemble.card(judges)
    assert card.referral is not None
    assert card.referral.threshold == pytest.approx(0.8)
    assert ensemble.card(judges[2:]).referral is None


def test_models_of_other_classes_are_refused(tmp_path: Path) -> None:
    ours = tiny(tmp_path / "ours.onnx")
    theirs = tiny(tmp_path / "theirs.onnx", classes=("a", "b", "c"))
    ensemble.check_compatible([ours])
    with pytest.raises(UsageError, match=r"tells a, b, c apart, but .*ours\.onnx benign, malignant, normal") as caught:
        ensemble.check_compatible([ours, theirs])
    assert "\n" not in caught.value.message
    with pytest.raises(UsageError, match="is named twice"):
        ensemble.check_compatible([ours, tiny(tmp_path / "other.onnx", 1), ours])


def test_synthetic_knowledge_of_one_marks_the_whole(tmp_path: Path, picture: Path) -> None:
    card = graphs.card()
    real = bright(tmp_path / "real.onnx", 32, data=msgspec.structs.replace(card.data, synthetic=False))
    drawn = bright(tmp_path / "drawn.onnx", 32)
    assert not judged(picture, real).synthetic
    assert judged(picture, real, drawn).synthetic
