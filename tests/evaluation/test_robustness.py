"""A model under perturbation: the unchanged slices give the ordinary predictions, flips are counted."""

import dataclasses
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper
from PIL import Image

from lungcli.core.errors import UnreadableInputError
from lungcli.evaluation import robustness
from lungcli.imaging import perturbations
from lungcli.imaging.image_io import read
from lungcli.imaging.preprocessing import prepare
from lungcli.metrics.operating_point import OperatingPoint, OperatingTarget
from lungcli.metrics.predictions import Evaluation
from lungcli.modelfile import model_file
from tests.modelfile import graphs

COUNT = 9


def _chest(path: Path, number: int) -> str:
    """Write a slice with two lungs, brighter from slice to slice."""
    rng = np.random.default_rng(number)
    picture = np.full((64, 80), 8, dtype=np.uint8)
    picture[8:56, 6:74] = 200
    picture[16:48, 14:34] = picture[16:48, 46:66] = 30 + 12 * number
    noisy = np.clip(picture + rng.normal(0, 3, picture.shape), 0, 255).astype(np.uint8)
    Image.fromarray(noisy).save(path / f"{number}.png")
    return f"{number}.png"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("slices")
    for number in range(COUNT):
        _chest(made, number)
    return made


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> model_file.Model:
    """A net that wavers between the classes: its logits on these slices are centred on one another."""
    place = tmp_path_factory.mktemp("model")
    model_file.write(graphs.convolutional(place / "net", seed=3), graphs.card(), place / "m.onnx")
    mean = model_file.load(place / "m.onnx", threads=1).logits(_prepared(folder)).mean(axis=0)
    net = onnx.load(place / "net")
    bias = next(weight for weight in net.graph.initializer if weight.name == "head.b")
    bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) - mean, "head.b"))
    onnx.save(net, place / "net")
    model_file.write(place / "net", graphs.card(), place / "m.onnx")
    return model_file.load(place / "m.onnx", threads=1)


def _prepared(folder: Path) -> NDArray[np.uint8]:
    return np.stack([prepare(read(folder / f"{number}.png").grey, graphs.SIZE) for number in range(COUNT)])


@pytest.fixture(scope="module")
def evaluation(folder: Path, model: model_file.Model) -> Evaluation:
    return Evaluation(
        classes=graphs.CLASSES,
        part="test",
        protocol="grouped",
        split_digest="s",
        slices=tuple(f"{number}.png" for number in range(COUNT)),
        labels=tuple(number % 3 for number in range(COUNT)),
        groups=tuple(number // 2 for number in range(COUNT)),
        probabilities=tuple(tuple(row) for row in model.probabilities(_prepared(folder)).tolist()),
    )


def test_a_row_for_the_slices_as_they_are_and_for_every_change_and_strength(
    model: model_file.Model, evaluation: Evaluation, folder: Path
) -> None:
    progress: list[tuple[int, int]] = []
    rows = robustness.evaluate_robustness(model, evaluation, folder, lambda done, total: progress.append((done, total)))
    assert progress == [(number + 1, COUNT) for number in range(COUNT)]
    assert [(row.change, row.strength) for row in rows] == [
        ("none", 0),
        *((change.name, strength) for change in perturbations.CHANGES for strength in (1, 2, 3)),
    ]
    own = evaluation.figures().estimates
    assert rows[0].balanced_accuracy == own["balanced_accuracy"]
    assert rows[0].sensitivity == own["malignant_sensitivity"]
    assert rows[0].specificity == own["malignant_specificity"]
    assert (rows[0].flips, rows[0].positive_flips) == (0, 0)


def test_a_row_by_hand(model: model_file.Model, evaluation: Evaluation, folder: Path) -> None:
    """The strongest noise, done one slice at a time."""
    rows = robustness.evaluate_robustness(model, evaluation, folder)
    row = next(row for row in rows if (row.change, row.strength) == ("noise", 3))
    noisy = np.stack([prepare(perturbations.noise(read(folder / path).grey, 0.12), 32) for path in evaluation.slices])
    predicted = model.logits(noisy).argmax(axis=1)
    labels, probabilities, _ = evaluation.arrays()
    flipped = predicted != probabilities.argmax(axis=1)
    assert row.flips == pytest.approx(flipped.mean())
    assert row.positive_flips == pytest.approx(flipped[labels == 1].mean())
    assert row.sensitivity.value == pytest.approx((predicted[labels == 1] == 1).mean())
    assert row.specificity.value == pytest.approx((predicted[labels != 1] != 1).mean())
    assert row.setting == "sigma 12%"


def test_with_an_operating_point_only_findings_flip(
    model: model_file.Model, evaluation: Evaluation, folder: Path
) -> None:
    """At the median probability of the unchanged slices half of them are suspicious, whatever is most probable."""
    _, unchanged, _ = evaluation.arrays()
    point = OperatingPoint(
        threshold=float(np.median(unchanged[:, 1])),
        target=OperatingTarget(kind="specificity", value=0.5),
        sensitivity=0.5,
        specificity=0.5,
        n=COUNT,
    )
    decided = dataclasses.replace(model, card=msgspec.structs.replace(model.card, operating_point=point))
    rows = robustness.evaluate_robustness(decided, evaluation, folder)
    noisy = np.stack([prepare(perturbations.noise(read(folder / path).grey, 0.12), 32) for path in evaluation.slices])
    before, after = (share[:, 1] >= point.threshold for share in (unchanged, model.probabilities(noisy)))
    row = next(row for row in rows if (row.change, row.strength) == ("noise", 3))
    assert row.flips == pytest.approx((before != after).mean())
    is_malignant = evaluation.arrays()[0] == 1
    assert rows[0].sensitivity.value == pytest.approx(before[is_malignant].mean())
    assert rows[0].specificity.value == pytest.approx((~before[~is_malignant]).mean())


def test_predictions_do_flip(model: model_file.Model, evaluation: Evaluation, folder: Path) -> None:
    """A net without training reacts to something, or the test above would compare nothing with nothing."""
    assert max(row.flips for row in robustness.evaluate_robustness(model, evaluation, folder)) > 0


def test_changes_act_before_the_preparation(folder: Path) -> None:
    grey = read(folder / "0.png").grey
    changed = robustness.under_every_condition(grey, 32)
    assert changed.shape == (1 + 3 * len(perturbations.CHANGES), 32, 32)
    np.testing.assert_array_equal(changed[0], prepare(grey, 32))
    np.testing.assert_array_equal(changed[1], prepare(perturbations.window(grey, 0.85), 32))
    np.testing.assert_array_equal(changed[-1], prepare(perturbations.jpeg(grey, 15), 32))


def test_classes_without_malignant(tmp_path: Path, folder: Path, evaluation: Evaluation) -> None:
    model = model_file.load(graphs.model_file(tmp_path / "m.onnx", classes=("bird", "cat", "dog")), threads=1)
    renamed = Evaluation(
        classes=("bird", "cat", "dog"),
        part=evaluation.part,
        protocol=evaluation.protocol,
        split_digest=evaluation.split_digest,
        slices=evaluation.slices,
        labels=evaluation.labels,
        groups=evaluation.groups,
        probabilities=evaluation.probabilities,
    )
    row = robustness.evaluate_robustness(model, renamed, folder)[1]
    assert row.sensitivity.value is None
    assert row.positive_flips is None
    assert row.balanced_accuracy.value is not None


def test_a_slice_that_is_gone(model: model_file.Model, evaluation: Evaluation, tmp_path: Path) -> None:
    with pytest.raises(UnreadableInputError, match="there is no such file"):
        robustness.evaluate_robustness(model, evaluation, tmp_path)
