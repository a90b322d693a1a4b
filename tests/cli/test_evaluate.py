"""`lungcli evaluate` with --stress, --folder-as and --reliability, as typed."""

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image

from lungcli.cli import evaluate
from lungcli.core import paths
from lungcli.core.errors import LungcliError
from lungcli.datasets.phantom import dataset
from lungcli.metrics.intervals import Estimate
from lungcli.modelfile import model_file
from lungcli.modelfile.model_card import RobustnessFigures
from lungcli.modelfile.model_file import Model
from lungcli.pipeline import external_validation
from tests.cli.conftest import OTHERS, RUN, call, draw_phantoms
from tests.cli.test_calibrate import card_of
from tests.metrics.test_predictions import evaluation
from tests.modelfile import graphs


def _folder(home: Path, label: str = "normal") -> Path:
    return home / "data" / "phantom" / "slices" / label


def test_figures_under_stress_are_drawn_and_stored(own_workshop: Path, tmp_path: Path) -> None:
    png, reliability = tmp_path / "stress.png", tmp_path / "reliability.png"
    done = call(own_workshop, "evaluate", RUN, "--stress", "--json", "--png", png, "--reliability", reliability)
    assert f"written into {RUN}/int8: the figures under stress" in done.stderr
    for path in (png, reliability):
        assert np.asarray(Image.open(path)).std() > 0
    found, kept = json.loads(done.stdout), card_of(own_workshop, RUN)
    assert kept["stress"] == found["stress"]
    assert len(found["stress"]) == 25
    own = found["evaluations"][0]["figures"]["estimates"]
    assert found["stress"][0]["balanced_accuracy"] == own["balanced_accuracy"]


def test_a_file_without_figures_gets_those_of_its_own_test_part(workshop: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.onnx"
    copy.write_bytes((workshop / "runs" / RUN / "int8" / "model.onnx").read_bytes())
    card = model_file.read_card(copy)
    model_file.recard(copy, msgspec.structs.replace(card, figures=None))
    assert "written into" not in call(workshop, "evaluate", copy, "--no-save").stderr
    assert model_file.read_card(copy).figures is None
    done = call(workshop, "evaluate", copy)
    assert "the figures of its test part (--no-save" in done.stderr
    assert model_file.read_card(copy).figures == card.figures


def test_folders_need_no_data_set(own_workshop: Path, tmp_path: Path) -> None:
    healthy = tmp_path / "healthy [1]"
    healthy.mkdir()
    # Its own slices would be left out, as it may have been trained on them.
    draw_phantoms(own_workshop, *OTHERS)
    for path in sorted(own_workshop.glob("data/others/slices/normal/*"))[:6]:
        (healthy / path.name).write_bytes(path.read_bytes())
    (healthy / "broken.png").write_bytes(b"")
    (own_workshop / "data").rename(tmp_path / "away")
    done = call(own_workshop, "evaluate", RUN, "--folder-as", f"normal={healthy}")
    assert "specificity (not predicted malignant)" in done.stdout
    assert "referred to a radiologist" in done.stdout
    assert "6 slices of" in done.stdout
    assert "broken.png: it is empty" in done.stderr
    card = card_of(own_workshop, RUN)["elsewhere"]
    assert isinstance(card, list)
    assert [(item["label"], item["n"], item["unreadable"]) for item in card] == [("normal", 6, 1)]
    assert "healthy" not in json.dumps(card)


def test_several_folders_as_json(workshop: Path) -> None:
    arguments = [f"--folder-as={label}={_folder(workshop, label)}" for label in ("normal", "malignant")]
    document = json.loads(call(workshop, "evaluate", RUN, *arguments, "--no-save", "--json").stdout)
    assert document["evaluations"] == []
    first, second = document["folders"]
    specificity = 1 - first["verdicts"]["malignant"] / first["figures"]["n"]
    assert abs(first["figures"]["specificity"]["value"] - specificity) < 1e-9
    assert second["figures"]["specificity"] is None
    assert card_of(workshop, RUN)["elsewhere"] == []


def test_a_folder_beside_the_data_set(workshop: Path) -> None:
    arguments = ["--data", "phantom", f"--folder-as=normal={_folder(workshop)}", "--no-save", "--json"]
    document = json.loads(call(workshop, "evaluate", RUN, *arguments).stdout)
    assert len(document["evaluations"]) == len(document["folders"]) == 1


def test_figures_with_tta_are_shown_and_not_stored(workshop: Path) -> None:
    file = workshop / "runs" / RUN / "int8" / "model.onnx"
    before = file.read_bytes()
    arguments = ["--data", "phantom", f"--folder-as=normal={_folder(workshop)}", "--json"]
    plain = json.loads(call(workshop, "evaluate", RUN, *arguments, "--no-save").stdout)
    done = call(workshop, "evaluate", RUN, *arguments, "--tta")
    averaged = json.loads(done.stdout)
    assert (plain["views"], averaged["views"]) == (1, 10)
    (one,), (other,) = plain["evaluations"], averaged["evaluations"]
    assert one["figures"]["nll"] != other["figures"]["nll"]
    assert one["figures"]["nll"] == pytest.approx(other["figures"]["nll"], abs=0.3)
    assert "the mean of the calibrated probabilities of 10 views" in done.stderr
    assert file.read_bytes() == before


def test_calibration_is_shown(workshop: Path) -> None:
    done = call(workshop, "evaluate", f"{RUN}/teacher")
    assert "with the temperature" in done.stdout
    assert "┃ confidence" in done.stdout
    assert "refer below" in done.stdout
    document = json.loads(call(workshop, "evaluate", f"{RUN}/teacher", "--json").stdout)["evaluations"][0]
    gap = sum(item["n"] * abs(item["accuracy"] - item["confidence"]) for item in document["reliability"])
    assert abs(gap / document["figures"]["n"] - document["figures"]["ece"]) < 1e-9
    assert document["selective"]["part"] == "test"


@pytest.fixture
def tiny(tmp_path: Path) -> Model:
    return model_file.load(graphs.model_file(tmp_path / "tiny.onnx"), threads=1)


@pytest.mark.parametrize(
    ("part", "digest", "kept"), [("test", "s", True), ("all", "s", False), ("test", "other", False)]
)
def test_only_the_models_own_test_part_gets_into_its_card(
    part: str, digest: str, kept: bool, tiny: Model, capsys: pytest.CaptureFixture[str]
) -> None:
    figure = Estimate(value=0.5, low=0.25, high=0.75)
    row = RobustnessFigures(
        change="none",
        strength=0,
        setting="as it is",
        balanced_accuracy=figure,
        sensitivity=figure,
        specificity=figure,
        flips=0.0,
        positive_flips=0.0,
    )
    judged = [("title", "", evaluation("bbmmnn", part, digest))]
    evaluate._save(evaluate._Results(model=tiny, evaluations=judged, stress_figures=(row,), folder_results=[]))
    assert model_file.read_card(tiny.path).robustness == ((row,) if kept else ())
    assert ("not written into" in capsys.readouterr().err) != kept


def test_a_model_file_that_may_not_be_written_is_no_failure(
    tiny: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(path: Path, content: bytes) -> None:
        raise LungcliError(f"cannot write {path}: Permission denied")

    (tmp_path / "own").mkdir()
    patient = next(iter(dataset.patients(40, 0)))
    Image.fromarray(dataset.render(patient, 0.0, 128)).save(tmp_path / "own" / "a.png")
    scored = external_validation.evaluate_folder(tiny, "normal", tmp_path / "own")
    monkeypatch.setattr(paths, "atomic_write", refuse)
    evaluate._save(evaluate._Results(model=tiny, evaluations=[], stress_figures=(), folder_results=[scored]))
    assert "warning: the figures are not stored in the model file: cannot write" in capsys.readouterr().err


@pytest.mark.parametrize(("verdicts", "warned"), [("bbbbbb", True), ("bbbbbn", False)])
def test_a_model_that_predicts_one_class_only_is_warned_about(
    verdicts: str, warned: bool, tiny: Model, capsys: pytest.CaptureFixture[str]
) -> None:
    judged = [("title", "", evaluation(verdicts))]
    evaluate._show(evaluate._Results(model=tiny, evaluations=judged, stress_figures=(), folder_results=[]))
    stderr = capsys.readouterr().err
    assert ("every slice is predicted benign: the model cannot tell classes apart" in stderr) == warned


def test_impossible_options_are_refused(workshop: Path, tmp_path: Path) -> None:
    refused = {
        ("--png", tmp_path / "a.png"): "--png draws the figures of --stress",
        ("--stress", "--png", tmp_path / "a.jpg"): "would hold a PNG picture",
        ("--reliability", tmp_path / "a"): "would hold a PNG picture",
        ("--folder-as", "normal"): "does not name a class and a folder",
        ("--folder-as", f"healthy={tmp_path}"): "unknown class 'healthy'",
        ("--folder-as", f"normal={tmp_path / 'none'}"): "there is no folder",
    }
    for arguments, message in refused.items():
        assert message in call(workshop, "evaluate", RUN, *arguments, check=2).stderr
    assert "can be read" in call(workshop, "evaluate", RUN, f"--folder-as=normal={tmp_path}", check=4).stderr
