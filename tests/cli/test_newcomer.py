"""Three newcomers' first hour as typed, each command's every line kept in a golden file.

A student with a zip of pictures, a data scientist with DICOM files and a table, an engineer with a network. After a
change of words: LUNGCLI_ACCEPT=1 python -m pytest -m long tests/cli/test_newcomer.py, and read what changed aloud.
"""

import itertools
import os
import re
import shutil
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
import torchvision

from lungcli.core import package_data
from lungcli.datasets.phantom import dataset
from tests.cli.conftest import call
from tests.imaging.dicoms import dicom

GOLDEN = Path(__file__).with_name("golden")
SMALL = (
    "--size",
    "64",
    "--epochs",
    "1",
    "--batch",
    "16",
    "--threads",
    "1",
    "--device",
    "cpu",
    "--precision",
    "float32",
)

pytestmark = pytest.mark.long


# What differs from run to run, machine to machine or between versions of a library: never a word of ours.
VARYING = (
    (r"\x1b\[[0-9;]*m", ""),
    (r"[█▉▊▋▌▍▎▏░]+", "▒"),
    (r"\bon (AMD|Intel|ARM|Apple|aarch64|x86)\b.*", "on CPU"),
    (r"\b[0-9a-f]{8,64}\b", "DIGEST"),
    (r"\bends \d\d:\d\d\b", "ends TIME"),
    (r"\b\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d)?\b", "TIME"),
    (r"[-+]?\d*\.\d+(e-?\d+)?\s?(MB|GB|kB|ms|s|M|×)?(?![\w.])", "#"),
    (r"\b\d+\s?(ms|s|m|%|MB|kB)(?!\w)", "#"),
    (r"\b\d+ (thread|point)", r"# \1"),
    (r"[*‡!]| n\.s\.", ""),
    (r"(?<!\w)(–|\d+ #)(?!\w)", "#"),
    (r"[ \t]+", " "),
)


def masked(text: str, folders: dict[str, Path]) -> str:
    """The text with folders by their names here, and `#` for measured figures."""
    for name, folder in folders.items():
        text = text.replace(str(folder), name)
    for pattern, word in VARYING:
        text = re.sub(pattern, word, text)
    # Progress is said every few seconds, so how often depends on the machine.
    lines = [
        line.strip()
        for line in text.splitlines()
        if not re.search(r"% of the run|left\b(?! out)|timed while|drawing:|: \d+ of \d+$", line)
    ]
    return "\n".join(line for line in lines if line) + "\n"


def hour(home: Path, name: str, folders: dict[str, Path], commands: Sequence[tuple[int, str]]) -> None:
    """Type the commands one after another; exit codes as given, every line as in the golden file."""
    said = []
    for code, command in commands:
        words = [word.format(**folders) for word in command.split()]
        done = call(home, *words, check=code)
        said.append(
            f"$ lungcli {command}\n"
            + masked(done.stdout + done.stderr, {"HOME": home, "PROGRAM": package_data.FOLDER.parent} | folders)
        )
    text = "\n".join(said)
    golden = GOLDEN / f"{name}.txt"
    if "LUNGCLI_ACCEPT" in os.environ:
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(text)
    assert text == golden.read_text()


@pytest.fixture
def pictures(workshop: Path) -> Path:
    """Folders of pictures, one a class."""
    return workshop / "data" / "phantom" / "slices"


def test_a_student_with_a_zip(home: Path, pictures: Path, tmp_path: Path) -> None:
    archive = Path(shutil.make_archive(str(tmp_path / "slices"), "zip", pictures))
    shutil.copy(package_data.slices()["malignant"], tmp_path / "scan.jpg")
    (tmp_path / "notes.txt").write_text("not a picture")
    model = "train-ownmodel-mine"
    hour(
        home,
        "student",
        {"WORK": tmp_path, "ZIP": archive},
        [
            (0, ""),
            (0, "predict {WORK}/scan.jpg"),
            (4, "predict {WORK}/notes.txt"),
            (2, "predict --model mine {WORK}/scan.jpg"),
            (2, "train --model ownmodel"),
            (0, "data import {ZIP} --name mine"),
            (2, "data import {ZIP} --name mine"),
            (2, "data ls"),
            (0, "data list"),
            (0, "data show mine"),
            (0, "data check mine"),
            (2, "train --model resnet --data mine"),
            (2, "train --model ownmodel --data mine --size 30"),
            (0, f"train --model ownmodel --data mine {' '.join(SMALL)}"),
            (0, "runs list"),
            (2, "runs rm x"),
            (0, f"runs resume {model}"),
        ],
    )
    # What it says of a net of one epoch differs between processors.
    assert "balanced accuracy" in call(home, "evaluate", model).stdout


def test_a_data_scientist_with_dicom_files(home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "study"
    folder.mkdir()
    rows = ["path,label,patient,institution"]
    for number, patient in enumerate(itertools.islice(dataset.patients(80, 7), 18)):
        pixels = dataset.hounsfield(patient, 0.0, 128).round().astype("int16")
        (folder / f"{number}.dcm").write_bytes(dicom(pixels, PatientID=f"P{number}"))
        rows.append(f"{number}.dcm,{patient.label},p{number},{'Clinic A' if number % 2 else 'Clinic B'}")
    (tmp_path / "labels.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "wrong.csv").write_text("file;class\n1.dcm;benign\n")
    hour(
        home,
        "scientist",
        {"WORK": tmp_path},
        [
            (0, "help files"),
            (4, "data import {WORK}/study"),
            (4, "data import {WORK}/study --labels {WORK}/wrong.csv --name lidc"),
            (0, "data import {WORK}/study --labels {WORK}/labels.csv --name lidc"),
            (0, "data show lidc"),
            (0, "data groups lidc"),
            (2, "data combine lidc --name both"),
            (2, "compress --data lidc --folds 1"),
            (2, "compress --data lidc --student mobilnetv2"),
            (2, "evaluate compress-mobilenetv2-lidc"),
            (2, "runs show nothing"),
            (0, "recipes list"),
            (2, "recipes show nothing"),
            (2, "config set colour red"),
            (0, "config list"),
        ],
    )


def test_an_engineer_with_a_network(home: Path, pictures: Path, tmp_path: Path) -> None:
    with torch.random.fork_rng(devices=()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        net = torchvision.models.squeezenet1_1(weights=None, num_classes=3).eval()
        torch.onnx.export(net, (torch.zeros(1, 3, 64, 64),), tmp_path / "net.onnx", dynamo=False)
    (tmp_path / "net.txt").write_text("weights?")
    adopt = "--classes benign,malignant,normal --scale imagenet --activation logits --resize stretch"
    hour(
        home,
        "engineer",
        {"WORK": tmp_path, "PICTURES": pictures},
        [
            (2, "models adopt {WORK}/net.onnx --name mine"),
            (3, f"models adopt {{WORK}}/net.txt --name mine {adopt}"),
            (0, f"models adopt {{WORK}}/net.onnx --name mine {adopt}"),
            (2, f"models adopt {{WORK}}/net.onnx --name mine {adopt}"),
            (0, "quantize mine --calibrate-on {PICTURES}"),
            (0, "models list"),
            (2, "export mine --to coreml -o {WORK}/out"),
            (0, "export mine --to onnx -o {WORK}/out.onnx"),
            (2, "models remove nothing"),
            (0, "models remove mine"),
        ],
    )


def test_masks_hide_figures_and_keep_words() -> None:
    text = "loss 0.51 in 24 ms on AMD EPYC\n teacher: stage 1 of 5, 3% of the run, 20s left\nRUN kept 12 of 20 slices\n"
    assert (
        masked(text.replace("RUN", "/a/b"), {"RUN": Path("/a/b")}) == "loss # in # on CPU\nRUN kept 12 of 20 slices\n"
    )
    assert sys.executable not in masked(sys.executable, {"PYTHON": Path(sys.executable)})
