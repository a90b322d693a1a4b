"""A user's own folder: predicted as `predict` does, counted, and no name gets into the model file."""

import hashlib
import itertools
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image

from lungcli.core.errors import UnreadableInputError, UsageError
from lungcli.datasets import manifest, training_slices
from lungcli.datasets.manifest import Slice, Source
from lungcli.datasets.phantom import dataset
from lungcli.evaluation import external_validation
from lungcli.imaging.ood import OodStatistics
from lungcli.metrics.referral import Referral
from lungcli.modelfile import model_file
from lungcli.modelfile.model_card import TrainingSlices
from lungcli.pipeline.external_validation import evaluate_folder
from lungcli.predict import predict
from lungcli.predict.inputs import Item
from tests.modelfile import graphs

REFERRAL = Referral(threshold=0.34, target="risk ≤ 0.2", coverage=0.5, risk=0.2, n=9)


def _model(folder: Path, **changes: object) -> model_file.Model:
    """A net that calls black slices benign, and all others normal, the brighter the surer."""
    return model_file.load(graphs.model_file(folder / "m.onnx", **changes), threads=1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Slices of four bodies in two folders, a copy of one, three files to leave out, and two that are ignored."""
    made = tmp_path / "Jane Doe"
    (made / "more").mkdir(parents=True)
    for number, patient in enumerate(itertools.islice(dataset.patients(40, 0), 4)):
        picture = dataset.render(patient, patient.positions()[len(patient.positions()) // 2], 128)
        Image.fromarray(picture).save(made / ("more" if number > 1 else ".") / f"{number}.png")
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    Image.fromarray(noise).save(made / "noise.png")
    (made / "copy.png").write_bytes((made / "0.png").read_bytes())
    (made / "text.png").write_text("not a picture")
    (made / "empty.png").write_bytes(b"")
    (made / "notes.txt").write_text("ignored")
    (made / ".hidden.png").write_text("ignored")
    return made


def test_slices_groups_predictions_and_unreadable_files_are_counted(tmp_path: Path, folder: Path) -> None:
    progress: list[tuple[int, int]] = []
    result = evaluate_folder(
        _model(tmp_path, referral=REFERRAL), "normal", folder, lambda done, total: progress.append((done, total))
    )
    figures = result.figures
    assert (figures.label, figures.n, figures.groups, figures.unreadable) == ("normal", 5, 4, 3)
    assert progress[-1] == (8, 8)
    assert result.predictions == {"benign": 0, "malignant": 0, "normal": 5}
    assert figures.right.value == 1
    assert figures.specificity is not None
    assert figures.specificity.value == 1
    assert figures.specificity.low is not None
    assert figures.specificity.low < 0.6
    assert figures.referred is not None
    assert figures.referred.value == 0
    assert figures.threshold == 0.34
    assert [reason.count(".png") > 0 for reason in result.unreadable] == [True] * 3
    assert sum("noise.png" in reason for reason in result.unreadable) == 1


def test_benign_slices_can_be_correct_about_malignancy_alone(tmp_path: Path, folder: Path) -> None:
    figures = evaluate_folder(_model(tmp_path), "benign", folder).figures
    assert figures.right.value == 0
    assert figures.specificity is not None
    assert figures.specificity.value == 1
    assert (figures.referred, figures.threshold) == (None, None)


def test_malignant_slices_have_no_specificity(tmp_path: Path, folder: Path) -> None:
    figures = evaluate_folder(_model(tmp_path), "malignant", folder).figures
    assert figures.specificity is None
    assert figures.right.value == 0


def test_unsure_predictions_are_referred(tmp_path: Path, folder: Path) -> None:
    unsure = msgspec.structs.replace(REFERRAL, threshold=0.99)
    figures = evaluate_folder(_model(tmp_path, referral=unsure), "normal", folder).figures
    assert figures.referred is not None
    assert figures.referred.value == 1


def test_what_predict_refers_is_referred_here_as_well(tmp_path: Path, folder: Path) -> None:
    """The acquisition check refers slices that the model is sure of."""
    far = OodStatistics(signs=("noise",), mean=(9.0,), spread=(0.1,), precision=((100.0,),), threshold=1.0, n=9)
    model = _model(tmp_path, guard=far)
    figures = evaluate_folder(model, "normal", folder).figures
    assert figures.referred is not None
    assert figures.referred.value == 1
    outcome, _ = predict.capture_and_predict(Item(shown="0.png", source=folder / "0.png"), model)
    assert isinstance(outcome, predict.Prediction)
    assert outcome.referred


def _known(files: list[Path]) -> TrainingSlices:
    slices = tuple(
        Slice(
            path=f"slices/{number}.png",
            label="normal",
            sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
            size=(64, 64),
            group=number,
        )
        for number, path in enumerate(files)
    )
    data = manifest.build("known", slices, (), Source(about="made up"))
    return training_slices.record(data, range(len(files)))


def test_slices_that_the_model_has_seen_are_left_out_with_their_copies(tmp_path: Path, folder: Path) -> None:
    model = _model(tmp_path, training_slices=_known([folder / "0.png"]))

    result = evaluate_folder(model, "normal", folder)

    assert (result.seen, result.figures.n, result.figures.groups) == (2, 3, 3)
    assert result.predictions["normal"] == 3


def test_a_folder_of_seen_slices_alone_is_refused(tmp_path: Path, folder: Path) -> None:
    model = _model(tmp_path, training_slices=_known([*folder.glob("?.png"), *folder.glob("more/?.png")]))

    with pytest.raises(UsageError, match="the model was trained on the slices in"):
        evaluate_folder(model, "normal", folder)


def test_no_name_gets_into_the_figures(tmp_path: Path, folder: Path) -> None:
    figures = evaluate_folder(_model(tmp_path), "normal", folder).figures
    assert b"Jane" not in msgspec.json.encode(figures)


def test_the_same_slices_elsewhere_have_the_same_digest(tmp_path: Path, folder: Path) -> None:
    model = _model(tmp_path)
    first = evaluate_folder(model, "normal", folder).figures
    folder.rename(tmp_path / "renamed")
    again = evaluate_folder(model, "normal", tmp_path / "renamed").figures
    assert again.digest == first.digest
    other = msgspec.structs.replace(first, label="benign")
    assert external_validation.with_folder((first, other), again) == (other, again)
    (tmp_path / "renamed" / "1.png").unlink()
    assert evaluate_folder(model, "normal", tmp_path / "renamed").figures.digest != first.digest


@pytest.mark.parametrize("content", [{}, {"a.txt": b"text"}, {"a.png": b"no picture"}])
def test_nothing_to_evaluate(content: dict[str, bytes], tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    for name, data in content.items():
        (tmp_path / "own" / name).write_bytes(data)
    with pytest.raises(UnreadableInputError, match=r"there is no slice in .* that can be read"):
        evaluate_folder(_model(tmp_path), "normal", tmp_path / "own")


def test_a_class_and_a_folder_are_named(tmp_path: Path) -> None:
    (tmp_path / "a=b").mkdir()
    assert external_validation.parse_label_and_folder(f"Normal={tmp_path / 'a=b'}", graphs.CLASSES) == (
        "normal",
        tmp_path / "a=b",
    )
    for spec, message in (
        ("normal", "does not name a class and a folder"),
        ("normal=", "does not name a class and a folder"),
        (f"healthy={tmp_path}", "unknown class 'healthy'"),
        (f"normal={tmp_path / 'none'}", "there is no folder"),
    ):
        with pytest.raises(UsageError, match=message):
            external_validation.parse_label_and_folder(spec, graphs.CLASSES)
