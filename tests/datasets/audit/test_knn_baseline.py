"""The leak, on slices made so that memory helps and knowledge does not."""

import numpy as np
import pytest

from lungcli.core.errors import UsageError
from lungcli.datasets.audit import knn_baseline
from lungcli.datasets.audit.knn_baseline import nearest, nearest_neighbour_accuracy
from lungcli.datasets.groups import Thumbs


def unit(rows: "np.typing.NDArray[np.float64]") -> Thumbs:
    thumbs: Thumbs = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return thumbs


def test_pairs_whose_nearest_stranger_is_of_the_other_class() -> None:
    # Two pairs of near-duplicates at 0° and 40°, each of its own class.
    angles = np.radians([0, 5, 40, 45])
    thumbs = unit(np.stack([np.cos(angles), np.sin(angles)], axis=1))

    found = nearest_neighbour_accuracy(thumbs, labels=[0, 0, 1, 1], groups=[0, 0, 1, 1])

    assert (found.random_accuracy, found.random_balanced) == (1.0, 1.0)
    assert (found.grouped_accuracy, found.grouped_balanced) == (0.0, 0.0)
    assert (found.n, found.groups) == (4, 2)


def test_balanced_accuracy_weighs_classes_alike() -> None:
    # Slice 3 is alone of its class; the other three are of three groups and close to each other.
    thumbs = unit(np.array([[1, 0, 0], [1, 0.1, 0], [1, 0, 0.1], [0.3, 1, 1]]))

    found = nearest_neighbour_accuracy(thumbs, labels=[0, 0, 0, 1], groups=[0, 1, 2, 3])

    assert found.grouped_accuracy == 0.75
    assert found.grouped_balanced == 0.5


def test_without_look_alikes_there_is_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    thumbs, labels = unit(rng.normal(size=(40, 4096))), rng.integers(0, 3, 40).tolist()

    whole = nearest_neighbour_accuracy(thumbs, labels, list(range(40)))
    monkeypatch.setattr(knn_baseline, "BLOCK", 7)
    blocked = nearest_neighbour_accuracy(thumbs, labels, list(range(40)))

    assert whole.random_accuracy == whole.grouped_accuracy
    assert whole == blocked


def test_memory_of_look_alikes_is_worth_nothing_outside_them() -> None:
    rng = np.random.default_rng(1)
    centres = rng.normal(size=(30, 4096))
    group = np.repeat(np.arange(30), 6)
    thumbs = unit(centres[group] + rng.normal(scale=0.2, size=(180, 4096)))
    labels = rng.integers(0, 2, 30)[group]

    found = nearest_neighbour_accuracy(thumbs, labels.tolist(), group.tolist())

    assert found.random_accuracy == 1.0
    assert found.grouped_accuracy < 0.8


def test_one_group_has_no_strangers() -> None:
    with pytest.raises(UsageError, match="all slices are of one near-duplicate group"):
        nearest_neighbour_accuracy(unit(np.ones((3, 4096))), [0, 1, 0], [0, 0, 0])


def test_nearest_looks_only_where_the_numbers_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    thumbs = unit(np.array([[1, 0, 0], [1, 0.1, 0], [1, 0.4, 0], [0, 0, 1]]))
    labels, same = np.array([0, 0, 1, 1]), np.zeros(4, dtype=np.int64)
    monkeypatch.setattr(knn_baseline, "BLOCK", 3)

    (any_, likeness), (other, _), (_, nobody) = nearest(thumbs, [np.arange(4), labels, same])

    assert any_.tolist()[:3] == [1, 0, 1]
    assert likeness[0] == pytest.approx(1 / np.sqrt(1.01))
    assert other.tolist()[:3] == [2, 2, 1]
    assert np.isneginf(nobody).all()
