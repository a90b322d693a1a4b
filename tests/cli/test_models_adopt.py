"""Adopting through the command, end to end: a real ResNet18 from torchvision, and what every command makes of it."""

import json
import warnings
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
import torchvision

from lungcli.core import package_data
from lungcli.imaging.preprocessing import prepare_file
from tests.cli.conftest import call
from tests.modelfile import foreign

SAID = ("--classes", "normal,benign,malignant", "--scale", "imagenet", "--resize", "stretch")


@pytest.fixture(scope="module")
def resnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ResNet18 as torch writes it for one slice at a time."""
    path = tmp_path_factory.mktemp("resnet") / "resnet18.onnx"
    with torch.random.fork_rng(devices=()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        net = torchvision.models.resnet18(weights=None, num_classes=3).eval()
        torch.onnx.export(net, (torch.zeros(1, 3, 64, 64),), path, dynamo=False)
    return path


@pytest.fixture(scope="module")
def house(made: tuple[Path, object], resnet: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with phantoms, a finished run, and the ResNet adopted as `mine`."""
    home = tmp_path_factory.mktemp("house")
    (home / "data").symlink_to(made[0] / "data")
    done = call(home, "models", "adopt", resnet, "--name", "mine", *SAID)
    assert "predicts as resnet18.onnx does: probabilities of 3 real slices differ by at most" in done.stderr
    assert "logits                     its outputs are not from 0 to 1" in done.stdout
    return home


def test_predictions_are_those_of_the_source(house: Path, resnet: Path) -> None:
    files = list(package_data.slices().values())
    report = json.loads(call(house, "predict", *files, "-m", "mine", "--json", check=None).stdout)
    session = onnxruntime.InferenceSession(resnet)
    for file, prediction in zip(files, report["predictions"], strict=True):
        grey = prepare_file(file, 64, "stretch")[None] / 255
        mean, std = np.array([0.485, 0.456, 0.406])[:, None, None], np.array([0.229, 0.224, 0.225])[:, None, None]
        logits = session.run(None, {session.get_inputs()[0].name: ((grey - mean) / std)[None].astype(np.float32)})[0][0]
        expected = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
        ours = [prediction["probabilities"][label] for label in ("normal", "benign", "malignant")]
        np.testing.assert_allclose(ours, expected, atol=1e-4)


def test_every_command_takes_it(house: Path, tmp_path: Path) -> None:
    """By its name; what is not known of it is said."""
    slice_ = package_data.slices()["normal"]
    done = call(house, "predict", slice_, "-m", "mine", "--explain-to", tmp_path / "heat", check=None)
    assert "mine: was trained elsewhere, on slices that are not known" in done.stderr
    assert list((tmp_path / "heat").glob("*.png"))
    assert "has no data set of its own" in call(house, "evaluate", "mine", check=2).stderr
    done = call(house, "evaluate", "mine", "--data", "phantom", "--json")
    assert json.loads(done.stdout)["evaluations"][0]["title"] == "phantom, all slices"
    assert "does not say which slices it was trained on" in done.stdout
    assert "mine" in call(house, "benchmark", "mine", "--seconds", 0.1).stdout
    assert "mine" in call(house, "compare", "mine", "--seconds", 0).stdout
    assert "mine" in call(house, "dashboard", "--once", "--view", "models", check=None).stdout
    call(house, "export", "mine", "--output", tmp_path / "out.onnx", "--data", "phantom")
    call(house, "models", "adopt", tmp_path / "out.onnx", "--name", "back")
    again = json.loads(call(house, "models", "card", "back").stdout)
    assert again["recipe"]["resize"] == "stretch"
    call(house, "models", "remove", "back")
    assert "back" not in call(house, "models", "list").stdout


def test_it_is_quantized_with_proof_and_what_it_was_calibrated_on_counts_as_seen(house: Path) -> None:
    assert "has no data set of its own" in call(house, "quantize", "mine", check=2).stderr
    done = call(house, "quantize", "mine", "--data", "phantom", "--overwrite")
    assert "layers run on integers" in done.stderr
    assert "mine.int8" in call(house, "models", "list").stdout
    card = json.loads(call(house, "models", "card", "mine.int8").stdout)
    assert card["int8"]["int8_nodes"] == card["int8"]["nodes"]
    assert card["recipe"]["resize"] == "stretch"
    done = call(house, "evaluate", "mine.int8", "--data", "phantom")
    assert "slices are left out, since it was calibrated on them" in done.stderr.replace("\n", " ")


def test_it_can_be_calibrated(house: Path, resnet: Path) -> None:
    call(house, "models", "adopt", resnet, "--name", "other", *SAID)
    call(house, "calibrate", "other", "--data", "phantom")
    assert json.loads(call(house, "models", "card", "other").stdout)["referral"] is not None


def test_bad_input_is_a_line_and_leaves_nothing(house: Path, resnet: Path, tmp_path: Path) -> None:
    done = call(house, "models", "adopt", resnet, "--name", "new", check=2)
    assert (
        done.stderr.splitlines()[1]
        .strip()
        .startswith("add --classes with 3 names, in the order of its output, --scale")
    )
    two = ("--classes", "a,b", *SAID[2:])
    assert (
        "gives 3 values, and 2 classes" in call(house, "models", "adopt", resnet, "--name", "new", *two, check=3).stderr
    )
    (tmp_path / "net.pt").write_bytes(b"PK\x03\x04")
    done = call(house, "models", "adopt", tmp_path / "net.pt", "--name", "new", *SAID, check=3)
    assert "is a pickle, which may hold programs, and is not read" in done.stderr
    detector = foreign.classifier(tmp_path / "yolo.onnx", metadata={"task": "detect"})
    assert "it is a detector" in call(house, "models", "adopt", detector, "--name", "new", *SAID, check=3).stderr
    assert "already" in call(house, "models", "adopt", resnet, "--name", "mine", *SAID, check=2).stderr
    assert "known: mine" in call(house, "models", "remove", "new", check=2).stderr
    assert not (house / "models" / "new.onnx").exists()
