"""Adopted classifiers: they predict as their source does, what is not said is asked for, and others are refused."""

import contextlib
import time
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from lungcli.core import package_data, paths
from lungcli.core.errors import ModelFileError, UsageError
from lungcli.export import formats
from lungcli.imaging.preprocessing import prepare_file
from lungcli.metrics import calibration
from lungcli.modelfile import adopt, foreign_metadata, foreign_net, model_file, model_paths
from lungcli.modelfile.adopt import Adopted
from lungcli.modelfile.foreign_net import Conventions
from tests.modelfile import foreign, graphs

ZERO_TO_ONE = foreign_net.SCALES["0..1"]
IMAGENET = foreign_net.SCALES["imagenet"]


def said(**changes: object) -> Conventions:
    """What a user says of a net without metadata, with `changes`."""
    mean, std = ZERO_TO_ONE
    values: dict[str, object] = {"classes": foreign.CLASSES, "mean": mean, "std": std, "resize": "stretch"}
    return Conventions(**values | changes)  # type: ignore[arg-type]


def adopted(source: Path, name: str = "mine", output: str = "", **changes: Any) -> Adopted:
    return adopt.adopt(source, adopt.free_name(name), said(**changes), output)


def source_outputs(source: Path, pictures: NDArray[np.float64]) -> NDArray[np.float64]:
    session = onnxruntime.InferenceSession(source)
    name = session.get_inputs()[0].name
    return np.concatenate([session.run(None, {name: item[None].astype(np.float32)})[0] for item in pictures])


@pytest.mark.parametrize("batch", ["n", 1])
def test_logits_of_an_imagenet_net_predict_as_their_source(tmp_path: Path, batch: int | str) -> None:
    """Its input is made here by hand, with numpy alone; the batch of the source may be fixed."""
    source = foreign.classifier(tmp_path / "net.onnx", batch=batch)
    mean, std = IMAGENET
    result = adopted(source, mean=mean, std=std)
    files = list(package_data.slices().values())
    slices = np.stack([prepare_file(file, foreign.SIZE, "stretch") for file in files])
    taken = (slices[:, None] / 255 - np.reshape(mean, (1, 3, 1, 1))) / np.reshape(std, (1, 3, 1, 1))
    expected = calibration.softmax(source_outputs(source, taken))[:, [1, 2, 0]]
    model = model_file.load(model_paths.resolve("mine"))
    np.testing.assert_allclose(model.probabilities(slices), expected, atol=1e-5)
    assert result.card.classes == ("benign", "malignant", "normal")
    assert result.card.adopted is not None
    assert result.card.adopted.largest_change < 1e-6
    assert (result.conventions.activation, result.reasons["activation"]) == (
        "logits",
        "its outputs are not from 0 to 1",
    )


@pytest.mark.parametrize(("ends", "activation"), [(["Softmax"], "softmax"), (["Sigmoid"], "sigmoid")])
def test_shares_of_an_nhwc_net_become_logits(tmp_path: Path, ends: list[str], activation: str) -> None:
    """As Keras makes them; shares that do not sum to 1 are made to."""
    source = foreign.classifier(tmp_path / "net.onnx", layout="NHWC", ends=ends)
    result = adopted(source)
    assert (result.conventions.layout, result.conventions.activation) == ("NHWC", activation)
    slices = graphs.slices(5, size=foreign.SIZE)
    outputs = source_outputs(source, np.repeat(slices[..., None] / 255, 3, axis=3))
    expected = (outputs / outputs.sum(axis=1, keepdims=True))[:, [1, 2, 0]]
    model = model_file.load(model_paths.resolve("mine"))
    np.testing.assert_allclose(model.probabilities(slices), expected, atol=1e-4)


@pytest.mark.parametrize("ends", [["Sigmoid"], []])
def test_one_output_is_that_of_the_second_class(tmp_path: Path, ends: list[str]) -> None:
    source = foreign.classifier(tmp_path / "net.onnx", ends=ends, outputs=1)
    adopted(source, classes=("normal", "malignant"), activation=None if ends else "logits")
    slices = graphs.slices(5, size=foreign.SIZE)
    outputs = source_outputs(source, np.repeat(slices[:, None] / 255, 3, axis=1))[:, 0]
    malignant = outputs if ends else 1 / (1 + np.exp(-outputs))
    model = model_file.load(model_paths.resolve("mine"))
    np.testing.assert_allclose(model.probabilities(slices)[:, 0], malignant, atol=1e-4)


def test_an_ultralytics_export_says_all_itself(tmp_path: Path) -> None:
    metadata = {"task": "classify", "names": "{0: 'normal', 1: \"it's\", 2: 'c'}", "imgsz": "[64, 64]"}
    source = foreign.classifier(tmp_path / "net.onnx", ends=["Softmax"], metadata=metadata)
    result = adopt.adopt(source, adopt.free_name("yolo"), Conventions())
    assert result.card.classes == ("c", "it's", "normal")
    assert result.card.recipe.resize == "crop"
    assert result.reasons["classes"] == "its metadata (Ultralytics)"


def test_what_export_writes_is_adopted_without_a_question(tmp_path: Path) -> None:
    """With the temperature inside, and marked as of drawn slices as the model was."""
    model = model_file.load(graphs.nodule_file(tmp_path / "net.onnx"))
    (tmp_path / "out.onnx").write_bytes(formats.export(model, "onnx").files[".onnx"])
    result = adopt.adopt(tmp_path / "out.onnx", adopt.free_name("back"), Conventions())
    again = model_file.load(model_paths.resolve("back"))
    slices = graphs.slices(4, size=model.card.size)
    np.testing.assert_allclose(again.probabilities(slices), model.probabilities(slices), atol=1e-5)
    assert result.card.data.synthetic
    assert result.card.recipe.resize == "lungs"


@pytest.mark.parametrize(
    ("changes", "net", "missing"),
    [
        ({"classes": None}, {}, "--classes with 3 names"),
        ({"mean": None, "std": None}, {}, "--scale 0..1|0..255|imagenet"),
        ({"resize": None}, {}, "--resize stretch|crop|lungs"),
        ({}, {"size": "side"}, "--size PIXELS"),
        ({}, {"channels": 1, "size": 3}, "--layout NCHW|NHWC"),
        ({}, {"ends": ["HardSigmoid"]}, "--activation logits|sigmoid"),
    ],
)
def test_what_nothing_says_is_asked_for(
    tmp_path: Path, changes: dict[str, Any], net: dict[str, Any], missing: str
) -> None:
    source = foreign.classifier(tmp_path / "net.onnx", **net)
    with pytest.raises(UsageError) as refused:
        adopted(source, **changes)
    assert missing in refused.value.hint
    assert not paths.models_home().exists()


def test_an_open_size_is_that_of_the_option(tmp_path: Path) -> None:
    result = adopted(foreign.classifier(tmp_path / "net.onnx", size="side"), size=96)
    assert model_file.load(model_paths.resolve("mine")).card.size == result.card.size == 96


def test_one_of_several_outputs_is_chosen_by_name(tmp_path: Path) -> None:
    source = foreign.classifier(tmp_path / "net.onnx", given={"output": ("n", 3), "pooled": ("n", 8, 1, 1)})
    adopted(source, output="output")
    assert model_paths.adopted().keys() == {"mine"}
    with pytest.raises(ModelFileError, match="no output 'more'"):
        adopted(source, "other", output="more")


def test_outputs_that_are_not_what_was_said_are_refused(tmp_path: Path) -> None:
    source = foreign.classifier(tmp_path / "net.onnx", ends=["Softmax"])
    with pytest.raises(UsageError, match="not those of --activation logits"):
        adopted(source, activation="logits")


def test_a_net_that_mixes_slices_is_refused(tmp_path: Path) -> None:
    """What it says of a slice depends on the others: the batch is normalised, or only one is taken."""
    weights = {"dense": np.diag([1, 2, 3]).astype(np.float32)}
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["means"], axes=[2, 3], keepdims=0),
        helper.make_node("ReduceMean", ["means"], ["mean"], axes=[0], keepdims=1),
        helper.make_node("Sub", ["means", "mean"], ["centred"]),
        helper.make_node("Gemm", ["centred", "dense"], ["scaled"], alpha=90.0),
        helper.make_node("Add", ["scaled", "means"], ["output"]),
    ]
    source = foreign.save(tmp_path / "net.onnx", nodes, weights, ("n", 3, 64, 64), {"output": ("n", 3)})
    with pytest.raises(ModelFileError, match="when several slices are predicted at once"):
        adopted(source, activation="logits")


def test_its_slices_are_prepared_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare = mock.Mock(side_effect=prepare_file)
    monkeypatch.setattr(adopt, "prepare_file", prepare)
    adopt.bundled_slices.cache_clear()
    for name in ("a", "b"):
        adopted(foreign.classifier(tmp_path / "net.onnx"), name)
    assert prepare.call_count == len(package_data.slices())


def test_a_net_that_takes_all_memory_is_refused(tmp_path: Path) -> None:
    """The trial run of unknown files holds for these, too."""
    nodes = [
        helper.make_node("Reshape", ["images", "column"], ["tall"]),
        helper.make_node("Transpose", ["tall"], ["wide"], perm=[1, 0]),
        helper.make_node("MatMul", ["tall", "wide"], ["square"]),
        helper.make_node("ReduceMax", ["square"], ["most"], axes=[0, 1], keepdims=1),
        helper.make_node("Mul", ["most", "three"], ["output"]),
    ]
    weights: dict[str, NDArray[np.generic]] = {
        "column": np.array([-1, 1], dtype=np.int64),
        "three": np.ones((1, 3), dtype=np.float32),
    }
    source = foreign.save(tmp_path / "net.onnx", nodes, weights, (1, 3, 512, 512), {"output": (1, 3)})
    with pytest.raises(ModelFileError, match="MB or 10 s"):
        adopted(source)
    assert not paths.models_home().exists()


@pytest.mark.parametrize("name", ["bundled", "ResNet18", "../x", ""])
def test_a_name_that_means_something_else_is_refused(name: str) -> None:
    with pytest.raises(UsageError):
        adopt.free_name(name)


def test_the_card_says_how_the_source_takes_slices(tmp_path: Path) -> None:
    source = foreign.classifier(tmp_path / "net.onnx")
    adopted(source)
    card = model_file.read_card(model_paths.resolve("mine"))
    assert card.adopted is not None
    assert card.adopted.sha256 == foreign_net.read(source).sha256
    assert (card.stage, card.data.name, card.split.in_words(), card.guard) == ("adopted", "unknown", "unknown", None)
    assert model_paths.name_of(model_paths.resolve("mine")) == "mine"
    assert "mine" in model_paths.files()


def test_half_floats_are_given_half_floats(tmp_path: Path) -> None:
    weights = {"dense": np.eye(3, dtype=np.float16)}
    nodes = [
        helper.make_node("GlobalAveragePool", ["images"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["means"]),
        helper.make_node("MatMul", ["means", "dense"], ["halves"]),
        helper.make_node("Cast", ["halves"], ["output"], to=TensorProto.FLOAT),
    ]
    taken = ("n", 3, 64, 64)
    source = foreign.save(tmp_path / "net.onnx", nodes, weights, taken, {"output": ("n", 3)}, kind=TensorProto.FLOAT16)
    result = adopted(source, activation="logits")
    assert result.card.adopted is not None
    assert result.card.adopted.largest_change < 1e-4


def test_what_other_outputs_would_cost_is_not_paid(tmp_path: Path) -> None:
    """A second output of constants alone would be computed when the source is loaded."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["images"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["output"]),
        helper.make_node("MatMul", ["column", "row"], ["square"]),
        helper.make_node("MatMul", ["square", "square"], ["cube"]),
    ]
    ones = np.ones((6000, 1), dtype=np.float32)
    given: dict[str, foreign.Dimensions] = {"output": ("n", 3), "cube": (6000, 6000)}
    source = foreign.save(tmp_path / "net.onnx", nodes, {"column": ones, "row": ones.T}, ("n", 3, 64, 64), given)
    start = time.process_time()
    with contextlib.suppress(ModelFileError):
        adopted(source, output="output", activation="logits")
    assert time.process_time() - start < 5


def test_names_that_forge_lines_are_refused(tmp_path: Path) -> None:
    metadata = {"task": "classify", "names": "{0: 'a\nb', 1: 'c', 2: 'd'}", "imgsz": "[64, 64]"}
    source = foreign.classifier(tmp_path / "net.onnx", metadata=metadata)
    with pytest.raises(ModelFileError, match="a name in it is no line of text"):
        adopt.adopt(source, adopt.free_name("yolo"), Conventions())
    assert not paths.models_home().exists()


def test_a_scale_of_nothing_beside_a_net_is_damage(tmp_path: Path) -> None:
    for factor in ("0", "1e-320", "1e999"):
        (tmp_path / "preprocessor_config.json").write_text(f'{{"rescale_factor": {factor}}}')
        with pytest.raises(ModelFileError, match=r"preprocessor_config\.json is damaged"):
            foreign_metadata.beside(tmp_path / "net.onnx")
