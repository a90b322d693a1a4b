from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from lungcli.core.errors import ModelFileError, UnreadableInputError
from lungcli.datasets import manifest as manifests
from lungcli.datasets.manifest import Manifest, Slice
from lungcli.datasets.splits import Split
from lungcli.evaluation import evaluate
from lungcli.metrics.predictions import comparable
from lungcli.modelfile import model_file
from tests.modelfile import graphs

SPLIT = Split(train=(0, 1), val=(2,), test=(3, 4, 5), protocol="grouped", seed=0, digest="split-digest")


def _manifest(classes: tuple[str, ...] = graphs.CLASSES) -> Manifest:
    slices = tuple(
        Slice(path=f"slices/{i}.png", label=classes[i % len(classes)], sha256=str(i), size=(32, 32), group=i // 2)
        for i in range(6)
    )
    return manifests.build("phantom", slices, (), manifests.Source(about="made up"))


@pytest.fixture
def model(tmp_path: Path) -> model_file.Model:
    model_file.write(graphs.convolutional(tmp_path / "net"), graphs.card(temperature=3.0), tmp_path / "m.onnx")
    return model_file.load(tmp_path / "m.onnx", threads=1)


@pytest.fixture
def pixels(tmp_path: Path) -> NDArray[np.uint8]:
    """Slices in a memory map, as the cache keeps them."""
    np.save(tmp_path / "pixels.npy", graphs.slices(6))
    mapped: NDArray[np.uint8] = np.load(tmp_path / "pixels.npy", mmap_mode="r")
    return mapped


@pytest.mark.parametrize("batch", [1, 2, 16])
def test_logits_do_not_depend_on_the_batch(batch: int, model: model_file.Model, pixels: NDArray[np.uint8]) -> None:
    singly = np.concatenate([model.logits(np.array(pixels[i : i + 1])) for i in (5, 0, 3)])
    np.testing.assert_allclose(evaluate.predict_logits(model, pixels, (5, 0, 3), batch=batch), singly, atol=1e-4)


def test_no_indices_no_logits(model: model_file.Model, pixels: NDArray[np.uint8]) -> None:
    assert evaluate.predict_logits(model, pixels, ()).shape == (0, 3)
    assert evaluate.predict_logits(model, pixels, np.array([], dtype=np.int64)).shape == (0, 3)


def test_every_slice_keeps_its_own_label_group_and_probabilities(
    model: model_file.Model, pixels: NDArray[np.uint8]
) -> None:
    found = evaluate.evaluate(model, pixels, SPLIT.test, _manifest(), SPLIT, "test")
    assert found.slices == ("slices/3.png", "slices/4.png", "slices/5.png")
    assert found.labels == (0, 1, 2)
    assert found.groups == (1, 2, 2)
    assert (found.part, found.protocol, found.split_digest) == ("test", "grouped", "split-digest")
    expected = model.probabilities(np.array(pixels[[3, 4, 5]]))
    np.testing.assert_allclose(np.array(found.probabilities), expected, atol=1e-6)
    assert found.figures().n == 3


def test_other_classes_are_refused(model: model_file.Model, pixels: NDArray[np.uint8]) -> None:
    with pytest.raises(ModelFileError, match="data set phantom has cat, dog"):
        evaluate.evaluate(model, pixels, SPLIT.test, _manifest(("cat", "dog")), SPLIT, "test")


def test_an_evaluation_survives_the_file(tmp_path: Path, model: model_file.Model, pixels: NDArray[np.uint8]) -> None:
    found = evaluate.evaluate(model, pixels, SPLIT.test, _manifest(), SPLIT, "test")
    evaluate.save(found, tmp_path / "new" / "evaluation.json")
    again = evaluate.load(tmp_path / "new" / "evaluation.json")
    assert again == found
    assert comparable(again, found)


@pytest.mark.parametrize("content", [None, b"", b"{}", b"\xff\xfe", b"[1, 2]"])
def test_missing_or_damaged_evaluations(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "evaluation.json"
    if content is not None:
        path.write_bytes(content)
    why = "cannot read the evaluation" if content is None else "the evaluation .* is damaged"
    with pytest.raises(UnreadableInputError, match=why):
        evaluate.load(path)
