"""Crops of lesions with their masks."""

import contextlib
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from PIL import Image

from lungcli.core.errors import UsageError
from lungcli.datasets import lesions, manifest
from lungcli.datasets.ingest import importer
from lungcli.datasets.lesions import Lesions
from lungcli.datasets.phantom import dataset


def crop(radius: int, side: int = 64) -> tuple[np.ndarray, np.ndarray]:
    rows, columns = np.mgrid[:side, :side] - side // 2
    mask = (rows**2 + columns**2 <= radius**2).astype(np.uint8)
    return (40 + 160 * mask).astype(np.uint8), mask * 255


def data_set(folder: Path, *rows: tuple[str, str, int, int], called: str = "crops") -> str:
    """Import crops: each row is class, patient, radius and side."""
    (folder / "mask").mkdir(parents=True)
    lines = ["path,label,patient,mask"]
    for number, (label, patient, radius, side) in enumerate(rows):
        for name, pixels in zip((f"{number}.png", f"mask/{number}.png"), crop(radius, side), strict=True):
            Image.fromarray(pixels).save(folder / name)
        lines.append(f"{number}.png,{label},{patient},mask/{number}.png")
    (folder / "labels.csv").write_text("\n".join(lines))
    return importer.import_dataset(folder, called).name


def both_parts(name: str, patients: frozenset[str] = frozenset()) -> list[Lesions]:
    """The lesions of each part; a part that has none is left out."""
    parts = []
    for part in get_args(lesions.Part):
        with contextlib.suppress(UsageError):
            parts.append(lesions.load(name, part, patients))
    return parts


def test_malignant_lesions_of_some_size_come_with_their_masks(tmp_path: Path) -> None:
    name = data_set(
        tmp_path,
        ("malignant_rating", "a", 10, 64),
        ("benign_rating", "b", 11, 64),
        ("malignant_rating", "c", 3, 64),
        ("malignant", "d", 12, 64),
    )
    crops, masks = (np.concatenate([getattr(part, field) for part in both_parts(name)]) for field in ("crops", "masks"))

    assert crops.shape == masks.shape == (2, 64, 64)
    expected = sorted((crop(radius) for radius in (10, 12)), key=lambda pair: pair[0].sum())
    order = np.argsort(crops.sum(axis=(1, 2)))
    for index, (grey, mask) in zip(order, expected, strict=True):
        np.testing.assert_array_equal(crops[index], grey)
        np.testing.assert_array_equal(masks[index], mask > 0)


def test_a_lesion_is_cut_out_of_a_whole_slice(tmp_path: Path) -> None:
    name = data_set(tmp_path, ("malignant", "a", 10, 512), ("malignant", "b", 12, 512), ("benign", "c", 9, 512))

    for part in both_parts(name):
        assert part.crops.shape[1:] == (128, 128)
        for grey, mask in zip(part.crops, part.masks, strict=True):
            assert mask[64, 64]
            np.testing.assert_array_equal(grey > 100, mask > 0)


def test_a_lesion_at_the_edge_of_a_slice_is_cut_out_too() -> None:
    slice_, mask = np.zeros((2, 200, 300), dtype=np.uint8)
    slice_[:9, -5:] = mask[:9, -5:] = 200

    assert lesions._around(slice_, mask).shape == (128, 128)
    assert lesions._around(slice_, mask)[64, 64] == 200


def test_a_fifth_of_the_groups_is_for_validation(tmp_path: Path) -> None:
    rows = [("malignant", f"patient {number}", 9 + number, 64) for number in range(15)]
    name = data_set(tmp_path, *rows, ("benign", "other", 8, 64))
    groups = {item.group for item in manifest.load(name).slices if item.label == "malignant"}
    train, validation = (lesions.load(name, part) for part in ("train", "val"))

    assert len(validation) == sum(group % 5 == 0 for group in groups) > 0
    assert len(train) + len(validation) == 15


def test_lesions_of_patients_that_learning_may_not_see_are_left_out(tmp_path: Path) -> None:
    name = data_set(tmp_path, ("malignant", "a", 10, 64), ("malignant", "b", 12, 64), ("benign", "c", 12, 64))
    one, other = (item.patient for item in manifest.load(name).slices if item.label == "malignant")

    assert one != other
    assert sum(map(len, both_parts(name))) == 2
    assert sum(map(len, both_parts(name, frozenset({one})))) == 1


@pytest.mark.parametrize("slices", [0, 30], ids=["no data set", "a drawn data set"])
def test_drawn_lesions_need_no_data_set(slices: int) -> None:
    if slices:
        dataset.make_dataset(slices=slices, side=64)
    train, validation = (lesions.load("Phantom", part) for part in get_args(lesions.Part))

    assert (len(train), len(validation)) == (160, 40)
    assert not {crop.tobytes() for crop in train.crops} & {crop.tobytes() for crop in validation.crops}
    np.testing.assert_array_equal(lesions.load("phantom", "train").crops, train.crops)
    assert lesions.digest("phantom")


@pytest.mark.parametrize("called", ["phantom", "Phantom"])
def test_real_lesions_of_that_name_are_the_users(called: str, tmp_path: Path) -> None:
    rows = [("malignant", f"patient {number}", 9 + number, 64) for number in range(6)]
    data_set(tmp_path, *rows, ("benign", "other", 8, 64), called=called)
    assert sum(map(len, both_parts("phantom"))) == 6
    assert lesions.digest("phantom") == manifest.load(called).digest


def test_data_without_lesions_that_have_masks_is_named(tmp_path: Path) -> None:
    name = data_set(tmp_path, ("benign", "a", 10, 64), ("normal", "b", 10, 64))

    with pytest.raises(UsageError, match="has no malignant lesion with a mask"):
        lesions.load(name, "train")


def test_crops_of_several_sizes_are_refused(tmp_path: Path) -> None:
    rows = [("malignant", f"patient {number}", 9 + number, 48 + 16 * (number % 2)) for number in range(10)]

    with pytest.raises(UsageError, match="crops of several sizes"):
        lesions.load(data_set(tmp_path, *rows, ("benign", "other", 8, 64)), "train")
