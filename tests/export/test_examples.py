"""The example programs reproduce lungcli's prediction from the exported files alone."""

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lungcli.core import package_data, registry
from lungcli.export import bundle, formats, parity
from lungcli.modelfile import model_file
from tests.export.conftest import needs_openvino

ROOT = Path(package_data.__file__).parents[2]
NODE = shutil.which("node")
PACKAGES = ROOT / "node_modules"
needs_node = pytest.mark.skipif(
    NODE is None or not (PACKAGES / "onnxruntime-web").is_dir() or not (PACKAGES / "pngjs").is_dir(),
    reason="needs node, and in the clone: npm install --no-save --ignore-scripts onnxruntime-web pngjs",
)


def delivered(folder: Path, form: str) -> Path:
    """The bundled model as `lungcli export --with-examples` leaves it."""
    model = model_file.load(package_data.FOLDER / "default.onnx", threads=1)
    made = formats.export(model, form)
    slices = parity.phantoms(256, count=1)
    found = parity.check(model, made, slices, "phantoms", tolerance=0.05, least_agreement=0.95)
    to = folder / f"lung{registry.EXPORT_FORMATS[form].suffixes[0]}"
    bundle.write(bundle.file_contents(model, made, found, to, examples=True))
    return to


def said(*command: object, cwd: Path) -> dict[str, Any]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "LUNGCLI"))}
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, cwd=cwd, env=kept, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def require_same(found: dict[str, Any], to: Path, tolerance: float) -> None:
    """Compare a program's prediction with the one that lungcli wrote."""
    expected = json.loads(to.with_suffix(".json").read_text())["sample"]
    assert (found["label"], found["referred"]) == (expected["label"], expected["referred"])
    assert list(found["probabilities"]) == list(expected["probabilities"])
    assert found["probabilities"] == pytest.approx(expected["probabilities"], abs=tolerance)


@pytest.mark.parametrize("form", ["onnx", "ort"])
def test_python(tmp_path: Path, form: str) -> None:
    to = delivered(tmp_path, form)
    # Facts lie in the file itself: what lies beside it is not needed.
    kept = to.with_suffix(".json").rename(tmp_path / "elsewhere.json")
    found = said(sys.executable, "-I", tmp_path / "verdict.py", to, tmp_path / "lung.sample.png", cwd=tmp_path)
    kept.rename(to.with_suffix(".json"))
    require_same(found, to, 0.03)


@needs_openvino
def test_python_with_openvino(tmp_path: Path) -> None:
    to = delivered(tmp_path, "openvino")
    found = said(sys.executable, "-I", tmp_path / "verdict-openvino.py", to, tmp_path / "lung.sample.png", cwd=tmp_path)
    require_same(found, to, 0.05)


@needs_node
@pytest.mark.parametrize("form", ["onnx", "ort"])
def test_javascript(tmp_path: Path, form: str) -> None:
    to = delivered(tmp_path, form)
    (tmp_path / "node_modules").symlink_to(PACKAGES, target_is_directory=True)
    found = said(NODE, tmp_path / "verdict.mjs", to, tmp_path / "lung.sample.png", cwd=tmp_path)
    require_same(found, to, 0.03)


@pytest.mark.parametrize(
    "path", sorted((package_data.FOLDER / "examples").glob("verdict*")), ids=lambda path: path.name
)
def test_examples_are_short_and_know_nothing_of_lungcli(path: Path) -> None:
    text = path.read_text()
    if path.suffix == ".mjs":
        lines = [line for line in text.splitlines() if line and not line.startswith("//")]
        assert "lungcli" not in "\n".join(lines)
        assert len(lines) <= 18
        return
    tree = ast.parse(text)
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert names <= {"json", "sys", "numpy", "PIL", "onnxruntime", "openvino"}
    # Statements, without the docstring.
    assert len(tree.body) - 1 <= 15
