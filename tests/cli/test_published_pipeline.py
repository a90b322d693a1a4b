"""The published work as it was described: a teacher from elsewhere, four students of it, int8, one table."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torch import nn

from tests.cli.conftest import call

SIZE = 64
STUDENTS = ("resnet18", "alexnet", "mobilenetv2", "ownmodel")
CLASSES = ("benign", "malignant", "normal")
SMALL = ("--size", SIZE, "--epochs", 1, "--batch", 16, "--precision", "float32", "--device", "cpu")
# What one epoch teaches is no matter here.
FREELY = ("--max-drop", 1, "--max-int8-drop", 1)


def trained_elsewhere(pictures: Path, to: Path) -> Path:
    """Train a net of torchvision with plain torch on the pictures of three folders, and export it."""
    files = [(path, number) for number, label in enumerate(CLASSES) for path in sorted((pictures / label).iterdir())]
    greys = [np.asarray(Image.open(path).convert("L").resize((SIZE, SIZE)), np.float32) / 255 for path, _ in files]
    slices = torch.from_numpy(np.stack(greys))[:, None].expand(-1, 3, -1, -1)
    labels = torch.tensor([label for _, label in files])
    with torch.random.fork_rng(devices=()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        net = torchvision.models.resnet18(weights=None, num_classes=len(CLASSES))
        optimizer = torch.optim.Adam(net.parameters(), 1e-3)
        for _ in range(8):
            optimizer.zero_grad()
            torch.autograd.backward(nn.functional.cross_entropy(net(slices), labels))
            optimizer.step()
        torch.onnx.export(net.eval(), (torch.zeros(1, 3, SIZE, SIZE),), to, dynamo=False)
    return to


@pytest.mark.long
def test_four_students_of_a_teacher_from_elsewhere_in_one_table(home: Path, tmp_path: Path) -> None:
    call(home, "data", "phantom", "--slices", 72)
    teacher = trained_elsewhere(home / "data" / "phantom" / "slices", tmp_path / "teacher.onnx")
    said = ("--classes", ",".join(CLASSES), "--scale", "0..1", "--resize", "stretch")
    call(home, "models", "adopt", teacher, "--name", "published", *said)
    for student in STUDENTS:
        command = ("compress", "--from", "published", "-s", student, "--data", "phantom", "--name", student)
        done = call(home, *command, *SMALL, *FREELY, timeout=1200)
        assert "published, trained elsewhere: it may have seen the test slices" in done.stderr
        first_words = [line.split()[0] for line in done.stdout.splitlines() if line.strip()]
        rows = [word for word in first_words if word in ("adopted", "base", "student", "int8")]
        assert rows[:4] == ["adopted", "base", "student", "int8"]
        card = json.loads(call(home, "models", "card", f"{student}/int8").stdout)
        assert (card["teacher"], card["int8"]["int8_nodes"] > 0) == ("adopted:published", True)
    models = ["published", *(f"{student}/{stage}" for student in STUDENTS for stage in ("base", "student", "int8"))]
    table = json.loads(call(home, "compare", *models, "--json", "--seconds", 0).stdout)
    assert [row["name"] for row in table["rows"]] == models
    assert table["baseline"] == "published"
    assert all(row["figures"]["n"] == table["rows"][0]["figures"]["n"] for row in table["rows"])
