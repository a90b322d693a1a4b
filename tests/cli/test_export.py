"""`lungcli export` as typed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.cli.conftest import RUN, call


def test_an_export_comes_with_examples_that_give_the_same_prediction(
    workshop: Path, slices: list[Path], tmp_path: Path
) -> None:
    to = tmp_path / "out" / "lung.onnx"
    done = call(workshop, "export", RUN, "--to", "onnx", "--output", to, "--with-examples")
    assert [line.split()[-1] for line in done.stdout.splitlines()] == [
        str(to.with_name(name)) for name in ("lung.onnx", "lung.json", "lung.sample.png", "verdict.py", "verdict.mjs")
    ]
    assert f"agrees with {RUN}/int8: on 40 slices of phantoms probabilities differ by at most 0.0000" in (done.stderr)
    assert "100.0% of predictions are equal" in done.stderr
    # A slice of the user's own, prepared by lungcli, judged by the example from the file alone.
    call(workshop, "predict", "--model", RUN, slices[0], "--prepared-to", tmp_path / "prepared")
    prepared = tmp_path / "prepared" / f"{slices[0].stem}.prepared.png"
    with Image.open(prepared) as image:
        assert (image.mode, image.size) == ("L", (64, 64))
    output = subprocess.run(
        [sys.executable, "-I", to.with_name("verdict.py"), to, prepared], capture_output=True, text=True, check=True
    )
    theirs = json.loads(output.stdout)
    predictions = json.loads(call(workshop, "predict", "--model", RUN, slices[0], "--json").stdout)["predictions"]
    assert theirs["label"] == predictions[0]["label"]
    assert theirs["probabilities"] == pytest.approx(predictions[0]["probabilities"], abs=1e-5)


def test_parity_is_checked_on_a_data_set_and_printed_as_json(workshop: Path, tmp_path: Path) -> None:
    to = tmp_path / "lung.ort"
    done = call(workshop, "export", RUN, "--to", "ort", "--output", to, "--data", "phantom", "--json")
    document = json.loads(done.stdout)
    assert document["files"] == [str(to), str(to.with_suffix(".json"))]
    assert (document["parity"]["pixels"], document["parity"]["n"]) == ("phantom", 72)
    assert document["facts"]["classes"] == ["benign", "malignant", "normal"]
    beside = json.loads(to.with_suffix(".json").read_text())
    assert beside["parity"] == document["parity"]
    assert beside["sample"] is None


def test_an_export_that_differs_is_not_written(workshop: Path, tmp_path: Path) -> None:
    arguments = ("export", RUN, "--to", "ort", "--output", tmp_path / "lung.ort", "--tolerance", "0", "-d", "phantom")
    done = call(workshop, *arguments, check=5)
    assert "differs from the model" in done.stderr
    assert "(allowed 0)" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--output", "lung.ort"], "--to onnx writes .onnx files, not lung.ort"),
        (["--output", "."], ". is a folder"),
        (["--to", "tflite"], "unknown export format 'tflite'"),
    ],
)
def test_contradictory_options_are_refused(workshop: Path, arguments: list[str], said: str) -> None:
    assert said in call(workshop, "export", RUN, *arguments, check=2).stderr


def test_nothing_is_overwritten_unasked(workshop: Path, tmp_path: Path) -> None:
    (tmp_path / "lung.json").write_text("mine")
    done = call(workshop, "export", RUN, "--output", tmp_path / "lung.onnx", check=2)
    assert f"{tmp_path / 'lung.json'} exists already" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["lung.json"]
    call(workshop, "export", RUN, "--output", tmp_path / "lung.onnx", "--overwrite", "--data", "phantom")
    assert json.loads((tmp_path / "lung.json").read_text())["size"] == 64
    itself = workshop / "runs" / RUN / "int8" / "model.onnx"
    before = itself.read_bytes()
    done = call(workshop, "export", RUN, "--output", itself, "--overwrite", check=2)
    assert "is the model file itself" in done.stderr
    assert itself.read_bytes() == before
