"""`lungcli predict --explain` and `--explain-to` as typed."""

import contextlib
import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lungcli.cli import predict_explain
from lungcli.modelfile import model_file
from lungcli.predict.explain import explained, png
from lungcli.predict.inputs import Item
from lungcli.predict.predict import capture_and_predict
from lungcli.views import terminal_image
from lungcli.web import examples
from tests.cli.conftest import LUNGCLI, call, environment
from tests.modelfile import graphs


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that knows nodules, `m.onnx`, and a phantom with one, `scan.png`."""
    folder = tmp_path_factory.mktemp("explain")
    graphs.nodules(folder / "net")
    model_file.write(folder / "net", graphs.card(size=128), folder / "m.onnx")
    (folder / "scan.png").write_bytes(examples.phantom("malignant").content)
    return folder


def test_without_a_terminal_slice_and_heat_are_ascii(home: Path, folder: Path) -> None:
    done = call(home, "predict", "-m", folder / "m.onnx", folder / "scan.png", "--explain")
    drawn = [line for line in done.stdout.splitlines() if "@" in line and set(line) <= set(terminal_image.RAMP)]
    assert len(drawn) > 5
    assert all(len(line) <= predict_explain.COLUMNS for line in drawn)
    assert "regions that support malignant, right of the slice, @ is strongest; strongest at x " in done.stdout
    assert "\x1b" not in done.stdout


def test_overlays_are_pngs_of_the_whole_picture_under_names_of_their_own(home: Path, folder: Path) -> None:
    other = folder / "other" / "scan.png"
    other.parent.mkdir(exist_ok=True)
    other.write_bytes((folder / "scan.png").read_bytes())
    (folder / "bad.png").write_text("no picture")
    arguments = [folder / "scan.png", folder / "bad.png", other]
    to = folder / "new" / "heat"
    done = call(home, "predict", "-m", folder / "m.onnx", *arguments, "--explain-to", to, check=4)
    assert sorted(item.name for item in to.iterdir()) == ["scan-2.heat.png", "scan.heat.png"]
    picture = np.asarray(Image.open(to / "scan.heat.png")).astype(int)
    assert picture.shape == (512, 512, 3)
    assert 0 < (np.ptp(picture, axis=2) > 30).mean() < 0.05
    assert done.stderr.count("heat-map: ") == 2
    assert len(done.stdout.splitlines()) == 2


def test_each_picture_gets_its_own_heat_map(home: Path, folder: Path) -> None:
    asked = folder / "mixed"
    asked.mkdir()
    labels = ("malignant", "normal", "benign")
    for number, label in enumerate(labels):
        (asked / f"{number}-{label}.png").write_bytes(examples.phantom(label).content)
        (asked / f"{number}-then-bad.png").write_text("no picture")
        Image.new("L", (200, 200), 90).save(asked / f"{number}-then-wall.png")
    to = folder / "heats"
    done = call(
        home, "predict", "-m", folder / "m.onnx", asked, "--explain-to", to, "--threads", "3", "--jsonl", check=4
    )
    document = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["kind"] for row in document] == ["prediction", "failure", "refusal"] * 3
    model = model_file.load(folder / "m.onnx", threads=1)
    heats = set()
    for row in (row for row in document if row["kind"] == "prediction"):
        path = Path(row["source"])
        _, capture = capture_and_predict(Item(shown=path.name, source=path), model, capture=True)
        assert capture.image is not None
        heat = (to / f"{path.stem}.heat.png").read_bytes()
        assert heat == png(explained(model, capture.image, row["label"]))
        heats.add(heat)
    assert len(heats) == len(list(to.iterdir())) == 3


def test_heat_maps_leave_json_valid(home: Path, folder: Path) -> None:
    arguments = ["predict", "-m", folder / "m.onnx", folder / "scan.png", "--json"]
    done = call(home, *arguments, "--explain-to", folder / "json")
    assert json.loads(done.stdout)["predictions"][0]["label"] == "malignant"
    assert (folder / "json" / "scan.heat.png").is_file()
    done = call(home, *arguments, "--explain", check=2)
    assert "--explain-to DIR" in done.stderr


def test_a_folder_that_cannot_be_written_is_an_error(home: Path, folder: Path) -> None:
    (folder / "file").write_text("")
    done = call(home, "predict", "-m", folder / "m.onnx", folder / "scan.png", "--explain-to", folder / "file", check=1)
    assert "cannot write" in done.stderr


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"TERM": "xterm-256color", "COLORTERM": "truecolor"}, "\x1b[38;2;"),
        ({"TERM": "xterm-256color", "COLORTERM": ""}, "\x1b[38;5;"),
        ({"TERM": "xterm-256color", "NO_COLOR": "1"}, ""),
        ({"TERM": "dumb"}, ""),
    ],
    ids=["true colour", "256 colours", "NO_COLOR", "dumb"],
)
def test_a_terminal_gets_the_colours_that_it_has(
    settings: dict[str, str], expected: str, home: Path, folder: Path
) -> None:
    arguments = ["predict", "-m", folder / "m.onnx", folder / "scan.png", "--explain"]
    shown = in_terminal(arguments, environment(home) | settings)
    if expected:
        assert f"{expected}" in shown
        assert "▀" in shown
    else:
        assert "▀" not in shown
        assert "\x1b[38" not in shown
        assert "@" in shown


def in_terminal(arguments: list[object], settings: dict[str, str]) -> str:
    """Run the command in a terminal of its own, and return what it shows there."""
    import pty

    ours, theirs = pty.openpty()
    with subprocess.Popen([LUNGCLI, *map(str, arguments)], stdin=theirs, stdout=theirs, stderr=theirs, env=settings):
        os.close(theirs)
        shown = b""
        # A terminal whose last user is gone cannot be read any more.
        with contextlib.suppress(OSError):
            while part := os.read(ours, 1 << 16):
                shown += part
    os.close(ours)
    return shown.decode()
