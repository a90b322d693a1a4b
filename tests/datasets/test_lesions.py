"""Crops of lesions with their masks."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lungcli.core.errors import UsageError
from lungcli.datasets import lesions, manifest
from lungcli.datasets.ingest import importer


def crop(radius: int, side: int = 64) -> tuple[np.ndarray, np.ndarray]:
    rows, columns = np.mgrid[:side, :side] - side // 2
    mask = (rows**2 + columns**2 <= radius**2).astype(np.uint8)
    return (40 + 160 * mask).astype(np.uint8), mask * 255


def data_set(folder: Path, *rows: tuple[str, str, int, int]) -> str:
    """Import crops: each row is class, patient, radius and side."""
    (folder / "mask").mkdir(parents=True)
    lines = ["path,label,patient,mask"]
    for number, (label, patient, radius, side) in enumerate(rows):
        for name, pixels in zip((f"{number}.png", f"mask/{number}.png"), crop(radius, side), strict=True):
            Image.fromarray(pixels).save(folder / name)
        lines.append(f"{number}.png,{label},{patient},mask/{number}.png")
    (folder / "labels.csv").write_text("\n".join(lines))
    return importer.import_dataset(folder, "crops").name


def test_malignant_lesions_of_some_size_come_with_their_masks(tmp_path: Path) -> None:
    name = data_set(
        tmp_path,
        ("malignant_rating", "a", 10, 64),
        ("benign_rating", "b", 11, 64),
        ("malignant_rating", "c", 3, 64),
        ("malignant", "d", 12, 64),
    )
    read = lesions.load(name)

    assert read.crops.shape == read.masks.shape == (2, 64, 64)
    for index, radius in enumerate((10, 12)):
        grey, mask = crop(radius)
        np.testing.assert_array_equal(read.crops[index], grey)
        np.testing.assert_array_equal(read.masks[index], mask > 0)


def test_lesions_of_patients_that_learning_may_not_see_are_left_out(tmp_path: Path) -> None:
    name = data_set(tmp_path, ("malignant", "a", 10, 64), ("malignant", "b", 12, 64), ("benign", "c", 12, 64))
    one, other = (item.patient for item in manifest.load(name).slices if item.label == "malignant")

    assert one != other
    assert len(lesions.load(name)) == 2
    assert len(lesions.load(name, frozenset({one}))) == 1


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ((("benign", "a", 10, 64), ("normal", "b", 10, 64)), "has no malignant lesion with a mask"),
        ((("malignant", "a", 10, 64), ("malignant", "b", 10, 48), ("benign", "c", 9, 64)), "crops of several sizes"),
    ],
)
def test_data_without_usable_lesions_is_named(
    tmp_path: Path, rows: tuple[tuple[str, str, int, int], ...], reason: str
) -> None:
    with pytest.raises(UsageError, match=reason):
        lesions.load(data_set(tmp_path, *rows))
