"""Classes of any names and any number: what sensitivity, the gate, tables and referral speak of is named once."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.conftest import SMALL, call, draw_phantoms

pytestmark = pytest.mark.long

PATTERNS = ("dots", "rings", "rows", "steps", "waves")


@pytest.fixture(scope="session")
def of_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a compressed model of two classes, neither of them called malignant."""
    home, folder = tmp_path_factory.mktemp("two"), tmp_path_factory.mktemp("slices")
    draw_phantoms(home, "--slices", 72)
    slices = home / "data" / "phantom" / "slices"
    for own, label in (("Covid", "malignant"), ("clear", "normal")):
        shutil.copytree(slices / label, folder / own)
    assert "--data 'two' --positive-class CLASS" in call(home, "data", "import", folder, "--name", "two").stderr
    call(home, "data", "remove", "phantom", "--yes")
    options = ["--teacher", "ownmodel", *SMALL, "--positive-class", "Covid", "--max-drop", "1"]
    done = call(home, "compress", "--student", "ownmodel", *options, "--max-int8-drop", "1", "--name", "two")
    assert "sensitivity 0." in done.stderr or "sensitivity 1." in done.stderr
    assert " covid sensitivity, allowed is -1.000" in done.stderr
    assert "covid" in done.stdout
    assert "malignant" not in done.stdout + done.stderr
    return home


def test_the_evaluation_speaks_of_the_positive_class(of_two: Path) -> None:
    done = call(of_two, "evaluate", "two", "--stress", "--no-save")
    for figure in ("covid sensitivity", "covid specificity", "lowest covid sensitivity: "):
        assert figure in done.stdout
    assert "malignant" not in done.stdout + done.stderr
    text = call(of_two, "evaluate", "two", "--stress", "--no-save", "--json").stdout
    assert "malignant" not in text
    (report,) = json.loads(text)["evaluations"]
    assert report["figures"]["positive_class"] == "covid"
    # covid is the second class: its row of the confusion matrix.
    wrong, right = report["confusion"][1]
    assert report["figures"]["estimates"]["covid_sensitivity"]["value"] == pytest.approx(right / (right + wrong))


def test_tables_and_the_card_name_the_positive_class(of_two: Path) -> None:
    markdown = call(of_two, "compare", "two/student", "two", "--seconds", 0, "--markdown").stdout
    assert "| covid sensitivity |" in markdown
    head = call(of_two, "compare", "two", "--seconds", 0, "--csv").stdout.splitlines()[0]
    assert "covid_sensitivity,covid_sensitivity_low" in head
    written = call(of_two, "models", "card", "two").stdout
    assert "malignant" not in written + call(of_two, "models", "card", "two", "--format", "hf").stdout
    card = json.loads(written)
    assert card["recipe"]["positive_class"] == "covid"
    assert "covid_sensitivity" in card["figures"]["estimates"]


def test_a_calibration_shows_the_sensitivity_of_the_positive_class(of_two: Path, tmp_path: Path) -> None:
    shutil.copytree(of_two, tmp_path / "home")
    done = call(tmp_path / "home", "calibrate", "two", "--target-risk", 0.9)
    assert "(risk ≤ 0.9)" in done.stdout
    assert "covid sensitivity of those" in done.stdout
    assert "malignant" not in call(tmp_path / "home", "calibrate", "two", "--json").stdout


def test_a_quantization_is_checked_by_the_sensitivity_of_the_positive_class(of_two: Path, tmp_path: Path) -> None:
    options = ["--metric", "sensitivity", "--max-drop", 1, "--min-agreement", 0, "-o", tmp_path / "q.onnx"]
    done = call(of_two, "quantize", "two/student", *options)
    assert " covid sensitivity, allowed is -1.000 (validation part)" in done.stderr


def test_a_slice_of_two_classes_is_predicted(of_two: Path) -> None:
    picture = next((of_two / "data" / "two" / "slices" / "covid").iterdir())
    (prediction,) = json.loads(call(of_two, "predict", "-m", "two", "--force", picture, "--json").stdout)["predictions"]
    assert set(prediction["probabilities"]) == {"clear", "covid"}
    for form in ("--csv", "--jsonl"):
        assert "malignant" not in call(of_two, "predict", "-m", "two", "--force", picture, form).stdout


def test_an_unknown_positive_class_is_one_line(of_two: Path) -> None:
    done = call(of_two, "train", "--model", "ownmodel", *SMALL, "--positive-class", "malignant", check=2)
    assert "unknown class of the data set 'malignant'" in done.stderr
    assert "known: clear, covid" in done.stderr
    assert "Traceback" not in done.stderr


def _pattern(label: str, number: int) -> Image.Image:
    """One of five patterns of 64 × 64 pixels, shifted and in noise."""
    rng = np.random.default_rng(1000 * PATTERNS.index(label) + number)
    y, x = np.mgrid[:64, :64] + rng.integers(0, 64, 2)[:, None, None]
    drawn = {
        "dots": np.sin(x / 2) * np.sin(y / 2),
        "rings": np.sin(np.hypot(x - 48, y - 48) / 2),
        "rows": np.sin(y / 2),
        "steps": np.sign(np.sin(x / 9)),
        "waves": np.sin(x / 4 + 3 * np.sin(y / 5)),
    }[label]
    return Image.fromarray((128 + 90 * drawn + rng.normal(0, 12, drawn.shape)).clip(0, 255).astype(np.uint8))


def test_five_classes_of_any_picture_from_import_to_prediction(home: Path, tmp_path: Path) -> None:
    for label in PATTERNS:
        (tmp_path / "set" / label).mkdir(parents=True)
        for number in range(12):
            _pattern(label, number).save(tmp_path / "set" / label / f"{number}.png")
    imported = call(home, "data", "import", tmp_path / "set", "--any-picture")
    assert "models trained on it have no guard" in imported.stdout
    call(home, "data", "check", "set")

    trained = call(home, "train", "--model", "ownmodel", *SMALL, "--name", "five")
    assert "sensitivity" not in trained.stdout
    assert "no class malignant: name the one that sensitivity is of with --positive-class" in trained.stderr

    done = call(home, "evaluate", "five")
    assert "balanced accuracy" in done.stdout
    assert all(label in done.stdout for label in PATTERNS)
    picture = tmp_path / "set" / "rings" / "0.png"
    report = json.loads(call(home, "predict", "-m", "five", picture, "--json").stdout)
    assert set(report["predictions"][0]["probabilities"]) == set(PATTERNS)
    assert "trained on pictures of any kind: it has no guard" in call(home, "predict", "-m", "five", picture).stderr

    rings = call(home, "train", "--model", "ownmodel", *SMALL, "--name", "rings", "--positive-class", "rings")
    assert "sensitivity" in rings.stdout
    assert "| sensitivity |" in call(home, "compare", "--seconds", 0, "--markdown").stdout
    both = call(home, "compare", "--seconds", 0)
    assert "sensitivity is of each model's own positive class" in both.stderr
