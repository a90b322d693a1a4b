"""Adopting through the command, end to end: a real ResNet18 from torchvision, and what every command makes of it."""

import json
import warnings
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
import torchvision
from safetensors.torch import save_file

from lungcli.core import package_data
from lungcli.imaging.preprocessing import prepare_file
from tests.cli.conftest import call

pytestmark = pytest.mark.long

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


def test_what_is_missing_or_taken_is_said(house: Path, resnet: Path) -> None:
    done = call(house, "models", "adopt", resnet, "--name", "new", check=2)
    assert (
        done.stderr.splitlines()[1]
        .strip()
        .startswith("add --classes with 3 names, in the order of its output, --scale")
    )
    assert "already" in call(house, "models", "adopt", resnet, "--name", "mine", *SAID, check=2).stderr
    assert "known: mine" in call(house, "models", "remove", "new", check=2).stderr
    assert not (house / "models" / "new.onnx").exists()


def test_it_teaches_a_student_that_sees_what_it_sees(house: Path) -> None:
    """In the run, the table and the card it is said that the teacher may have seen the test slices."""
    small = ("--epochs", 1, "--batch", 16, "--precision", "float32", "--device", "cpu", "--data", "phantom")
    refused = call(house, "distill", "-t", "mine", "-s", "ownmodel", *small, check=2)
    assert "takes slices of 64 pixels, this run 224" in refused.stderr
    maps = call(
        house, "distill", "-t", "mine", "-s", "ownmodel", "--size", 64, "--method", "attention", *small, check=2
    )
    assert "a model file alone gives none" in maps.stderr
    done = call(house, "distill", "-t", "mine", "-s", "ownmodel", "--size", 64, *small)
    assert "mine, trained elsewhere: it may have seen the test slices" in done.stderr
    assert "trained elsewhere, or by such a teacher" in done.stderr.replace("\n", " ")
    card = json.loads(call(house, "models", "card", "distill-ownmodel-phantom").stdout)
    assert (card["teacher"], card["recipe"]["resize"], card["adopted"]) == ("adopted:mine", "stretch", None)
    assert "was distilled from a model that was trained elsewhere" in done.stderr.replace("\n", " ")
    again = call(house, "distill", "-t", "mine", "-s", "ownmodel", "--size", 64, *small)
    assert "resuming the run" in again.stderr
    compared = call(house, "compare", "mine", "distill-ownmodel-phantom", "--seconds", 0)
    assert "all evaluated anew on the test part of 'phantom'" in compared.stderr.replace("\n", " ")


def test_it_teaches_in_a_search(house: Path) -> None:
    small = ("--size", 64, "--epochs", 1, "--batch", 16, "--precision", "float32", "--device", "cpu", "--bits", 32)
    call(house, "search", "-s", "ownmodel", "-t", "mine", *small, "--data", "phantom", "--trials", 1, "--study", "own")
    shown = json.loads(call(house, "search", "--study", "own", "--show", "--json").stdout)
    assert [trial["state"] for trial in shown["trials"]] == ["complete"]
    card = json.loads(call(house, "models", "card", "own-0000/student").stdout)
    assert (card["teacher"], card["recipe"]["resize"]) == ("adopted:mine", "stretch")


def test_the_bundled_model_teaches_slices_that_it_has_not_seen(house: Path) -> None:
    """It is a file without weights beside it, in int8; its size is the run's."""
    small = ("--epochs", 1, "--batch", 16, "--precision", "float32", "--device", "cpu", "--data", "phantom")
    refused = call(house, "distill", "-t", "bundled", "-s", "ownmodel", "--size", 64, *small, check=2)
    assert "the teacher 'bundled' takes slices of 256 pixels, this run 64" in refused.stderr
    done = call(house, "distill", "-t", "bundled", "-s", "ownmodel", "--size", 256, *small, "--name", "of-bundled")
    assert "mobilenetv2 of bundled, which has seen none of the test slices" in done.stderr
    assert "trained elsewhere" not in done.stderr
    table = json.loads(call(house, "compare", "of-bundled/teacher", "of-bundled", "--json", "--seconds", 0).stdout)
    assert [row["figures"]["n"] for row in table["rows"]] == [14, 14]
    card = json.loads(call(house, "models", "card", "of-bundled").stdout)
    assert (card["teacher"], card["recipe"]["resize"]) == ("bundled", "lungs")


def test_a_folder_of_unlabelled_pictures_is_enough_for_int8(house: Path, tmp_path: Path) -> None:
    """Agreement with the float net on pictures that it was not calibrated on; what they show is not asked."""
    pictures = house / "data" / "phantom" / "slices"
    done = call(house, "quantize", "mine", "--calibrate-on", pictures, "--output", tmp_path / "int8.onnx")
    assert "50 slices to calibrate on and 22 held out; labels are what the float model predicts" in done.stderr
    assert "of 22 validation findings unchanged" in done.stderr
    card = json.loads(call(house, "models", "card", tmp_path / "int8.onnx").stdout)
    assert (card["temperature"], card["calibration"], card["referral"]) == (1.0, None, None)
    assert card["training_slices"]["count"] == 72
    (tmp_path / "few").mkdir()
    refused = call(house, "quantize", "mine", "--calibrate-on", tmp_path / "few", "-o", tmp_path / "no.onnx", check=2)
    assert "0 of 0 pictures" in refused.stderr
    assert not (tmp_path / "no.onnx").exists()


def test_compress_from_an_adopted_net_is_its_int8_or_a_student_of_it(house: Path) -> None:
    done = call(house, "compress", "--from", "mine", "--data", "phantom")
    assert done.stdout.splitlines()[-1].endswith("models/mine.int8.onnx")
    assert "quantization check passed: int8 minus float32" in done.stderr
    assert "--epochs needs a --student" in call(house, "compress", "--from", "mine", "--epochs", 3, check=2).stderr
    missing = call(house, "compress", "--from", "mine", "-s", "ownmodel", "--data", "phantom", check=2)
    assert "the teacher 'mine' takes slices of 64 pixels, this run 224" in missing.stderr


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_weights_of_a_net_of_the_registry_are_recognised(house: Path, tmp_path: Path, suffix: str) -> None:
    """As torchvision has it, with three channels; predictions are torch's own."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(1)
        net = torchvision.models.squeezenet1_1(num_classes=3).eval()
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pt":
        torch.save({"state_dict": net.state_dict()}, path)
    else:
        save_file(net.state_dict(), path)
    assert "add --size PIXELS" in call(house, "models", "adopt", path, "--name", "other w", *SAID, check=2).stderr
    done = call(house, "models", "adopt", path, "--name", "w", *SAID, "--size", 64, "--overwrite")
    assert "the weights are those of squeezenet" in done.stderr
    file = package_data.slices()["malignant"]
    report = json.loads(call(house, "predict", file, "-m", "w", "--json", check=None).stdout)
    grey = torch.from_numpy(prepare_file(file, 64, "stretch")[None].astype(np.float32)) / 255
    mean, std = (torch.tensor(values)[:, None, None] for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.inference_mode():
        expected = net(((grey - mean) / std)[None]).softmax(dim=1)[0].tolist()
    ours = [report["predictions"][0]["probabilities"][label] for label in ("normal", "benign", "malignant")]
    np.testing.assert_allclose(ours, expected, atol=1e-4)
    card = json.loads(call(house, "models", "card", "w").stdout)
    assert (card["adopted"]["channels"], card["adopted"]["mean"]) == (3, [0.485, 0.456, 0.406])
