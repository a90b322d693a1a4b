"""What `models adopt` refuses, by the command itself: one line with the reason, exit code 3, and nothing is written."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from onnx import TensorProto, helper
from safetensors.torch import save_file

from tests.cli.conftest import call
from tests.modelfile import foreign
from tests.security.test_models import poisoned

SAID = {"--classes": "normal,benign,malignant", "--scale": "0..1", "--resize": "stretch"}
CLASSIFIED = ("n", 3)

Source = Callable[[Path], Path]


def net(**options: Any) -> Source:
    """A classifier with these options of `foreign.classifier`."""
    return lambda folder: foreign.classifier(folder / "net.onnx", **options)


def changed(change: Callable[[onnx.ModelProto], object]) -> Source:
    """A classifier, changed."""

    def make(folder: Path) -> Path:
        path = foreign.classifier(folder / "net.onnx")
        model = onnx.load(path)
        change(model)
        onnx.save(model, path)
        return path

    return make


def renamed(operator: str, domain: str = "") -> Source:
    """A classifier with another operator in the place of its convolution."""

    def rename(model: onnx.ModelProto) -> None:
        node = model.graph.node[1]
        node.op_type, node.domain = operator, domain
        del node.attribute[:]
        if domain:
            model.opset_import.append(helper.make_opsetid(domain, 1))

    return changed(rename)


def content(name: str, text: bytes) -> Source:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(text)
        return folder / name

    return make


def torn(folder: Path) -> Path:
    path = foreign.classifier(folder / "net.onnx")
    path.write_bytes(path.read_bytes()[:-100])
    return path


def with_weights_beside(folder: Path) -> Path:
    path = foreign.classifier(folder / "net.onnx")
    onnx.save(onnx.load(path), path, save_as_external_data=True, size_threshold=0, location="weights.bin")
    return path


def weights(folder: Path) -> Path:
    """Of a net that nobody knows, with a first layer as some have it."""
    tensors = {"features.0.weight": torch.zeros(64, 3, 3, 3), "head.bias": torch.zeros(3)}
    save_file(tensors, folder / "odd.safetensors")
    return folder / "odd.safetensors"


def program(name: str) -> Source:
    """A pickle that leaves the folder `mark` when it is loaded without care."""
    return lambda folder: content(name, poisoned(folder / "mark"))(folder)


def age(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("age", TensorProto.FLOAT, [1]))


TWO_OUTPUTS = {"output": CLASSIFIED, "scores": CLASSIFIED}
BAD: dict[str, tuple[Source, dict[str, object], str]] = {
    "custom operator": (renamed("Conv", "com.example"), {}, "it has the operator 'Conv' of 'com.example'"),
    "two inputs": (changed(age), {}, "it has 2 inputs (images, age), a classifier one"),
    "two outputs": (net(given=TWO_OUTPUTS), {}, "2 outputs (output, scores); name one of them with --output"),
    "unknown output": (net(given=TWO_OUTPUTS), {"--output": "more"}, "it has no output 'more', only output, scores"),
    "dynamic sizes": (renamed("Shape"), {}, "it has the operator 'Shape': its sizes are dynamic"),
    "batch of four": (net(batch=4), {}, "its input is (4, 3, 64, 64), not one picture"),
    "no squares": (net(size=(64, 32)), {}, "takes pictures of 32×64 pixels, no squares"),
    "too large": (net(size=4096), {}, "takes pictures of 4096 pixels, and slices have 32 to 1024"),
    "other size": (net(), {"--size": 96}, "takes 64 pixels, not 96"),
    "four channels": (net(channels=4), {"--layout": "NCHW"}, "takes 4 channels, and a slice has 1 or 3"),
    "detector by its metadata": (net(metadata={"task": "detect"}), {}, "its metadata say that it is a detector"),
    "segmenter by its metadata": (net(metadata={"task": "segment"}), {}, "its metadata say that it is a segmenter"),
    "detector by an operator": (renamed("NonMaxSuppression"), {}, "'NonMaxSuppression', as a detector has"),
    "segmenter by its output": (net(given={"pooled": ("n", 8, 20, 20)}), {}, "a detector or segmenter"),
    "fewer classes": (net(), {"--classes": "a,b"}, "gives 3 values, and 2 classes are named: a, b"),
    "a class twice": (net(), {"--classes": "a,a,b"}, "each once"),
    "no numbers": (net(ends=["Log", "Sqrt"]), {}, "it gives values that are no finite numbers"),
    "weights elsewhere": (with_weights_beside, {}, "it keeps weights in another file"),
    "torn": (torn, {}, "net.onnx is no ONNX file, or not a whole one"),
    "empty": (content("net.onnx", b""), {}, "net.onnx is no ONNX file, or not a whole one"),
    "text": (content("net.onnx", b"output = net(input)\n"), {}, "net.onnx is no ONNX file, or not a whole one"),
    "pickle as ONNX": (
        content("net.onnx", pickle.dumps([1.0])),
        {},
        "which may hold programs, and is not read",
    ),
    "program as ONNX": (program("net.bin"), {}, "is a pickle, which may hold programs, and is not read"),
    "program as weights": (program("net.pt"), {"--size": 64}, "is a pickle that may run programs, and is not read"),
    "weights of another net": (
        weights,
        {"--size": 64},
        "of no net of the registry with 3 channels; the nearest",
    ),
    "damaged weights": (content("net.safetensors", b"\0" * 40), {"--size": 64}, "cannot read"),
    "missing": (lambda folder: folder / "none.onnx", {}, "cannot read"),
}


def adopt(home: Path, source: Path, options: dict[str, object], code: int) -> list[str]:
    """Adopt a file as `new`, with what most need; return the lines on stderr."""
    said = [word for pair in (SAID | options).items() for word in pair]
    return call(home, "models", "adopt", source, "--name", "new", *said, check=code).stderr.splitlines()


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_refused_in_a_line_and_leaves_nothing(home: Path, tmp_path: Path, case: str) -> None:
    make, options, reason = BAD[case]
    line, *hints = adopt(home, make(tmp_path), options, 3)
    assert line.startswith("error: ")
    assert reason in line
    assert all(hint.startswith("  ") for hint in hints)
    assert len(hints) <= 1
    assert not list((home / "models").glob("**/*"))
    assert not (tmp_path / "mark").exists()


def test_one_of_several_outputs_and_an_open_size_are_taken_as_named(home: Path, tmp_path: Path) -> None:
    """A size that nothing says is asked for, as other options are."""
    source = net(size="side", given=TWO_OUTPUTS)(tmp_path)
    line, hint = adopt(home, source, {"--output": "output"}, 2)
    assert (line.endswith("does not say all that is needed"), hint.strip()) == (True, "add --size PIXELS")
    adopt(home, source, {"--output": "output", "--size": 96}, 0)
    assert [path.name for path in (home / "models").iterdir()] == ["new.onnx"]
