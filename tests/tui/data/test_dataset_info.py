"""What is said of data sets."""

import msgspec
import numpy as np
from PIL import ImageColor

from lungcli.datasets import manifest
from lungcli.datasets.audit.knn_baseline import NearestNeighbour
from lungcli.tui.data import dataset_info
from lungcli.views import colours
from tests.tui import stage

LEAK = NearestNeighbour(
    random_accuracy=0.995, random_balanced=0.99, grouped_accuracy=0.585, grouped_balanced=0.51, n=6, groups=3
)


def test_counts_groups_and_the_leak() -> None:
    stage.data_set()
    (found,) = dataset_info.read_all()
    lines = dataset_info.facts(found, None, 40).plain.splitlines()
    assert lines[0].startswith("! synthetic")
    assert lines[3].split()[:3] == ["malignant", "3", "2"]
    assert lines[5].split() == ["all", "6", "3"]
    assert "1 groups hold several classes" in lines[6]
    assert "n measures what a random split pays" in lines[7]
    text = dataset_info.facts(found, LEAK, 40).plain
    assert "99.0%" in text
    assert "48 points of balanced accuracy: memory" in text
    assert max(map(len, (line for line in text.splitlines() if "█" in line))) <= 40


def test_slices_are_counted_by_institution_and_one_class_alone_stands_out() -> None:
    folder = stage.data_set()
    data = manifest.read(folder / manifest.FILE)
    north = [place for place, item in enumerate(data.slices) if item.label == data.classes[0]]
    slices = tuple(
        msgspec.structs.replace(item, institution="North" if place in north else "South")
        for place, item in enumerate(data.slices)
    )
    manifest.save(manifest.build(data.name, slices, (), data.source), folder)
    (found,) = dataset_info.read_all()

    text = dataset_info.facts(found, None, 40)

    assert f"North: {len(north)} {data.classes[0]}" in text.plain.splitlines()
    start = text.plain.index("North:")
    assert any(span.start <= start < span.end and span.style == "yellow" for span in text.spans)
    assert "! one class only, so that a model may learn the scanner: North" in text.plain.splitlines()


def test_pictures_that_are_no_lung_ct_are_listed_and_so_is_what_lets_them_in() -> None:
    folder = stage.data_set()
    data = manifest.read(folder / manifest.FILE)
    doubtful = (manifest.Rejected(path="a/x-ray.png", reason="no lungs found"),)
    manifest.save(manifest.build(data.name, data.slices, (), data.source, doubtful), folder)
    lines = dataset_info.facts(dataset_info.read_all()[0], None, 40).plain.splitlines()
    assert lines[-2:] == [f"unlike axial lung CT: 1 of {len(data.slices)} slices", "  a/x-ray.png: no lungs found"]

    source = msgspec.structs.replace(data.source, any_picture=True)
    manifest.save(manifest.build(data.name, data.slices, (), source), folder)
    lines = dataset_info.facts(dataset_info.read_all()[0], None, 40).plain.splitlines()
    assert lines[-1] == "any picture is welcome: models trained on it have no guard"


def test_mixed_groups_come_first_then_the_largest() -> None:
    stage.data_set()
    (found,) = dataset_info.read_all()
    assert found.manifest is not None
    first, *rest = dataset_info.groups_of(found.manifest)
    assert first.mixed
    assert first.classes == {"benign": 1, "malignant": 1}
    assert [group.number for group in rest] == [1, 2]


def test_a_damaged_data_set_says_so() -> None:
    (stage.data_set() / "manifest.json").write_text("{")
    (found,) = dataset_info.read_all()
    assert found.manifest is None
    assert dataset_info.facts(found, None, 40).plain.startswith("cannot be read\n")


def test_a_sheet_frames_slices_in_the_colour_of_their_class() -> None:
    folder = stage.data_set()
    (found,) = dataset_info.read_all()
    assert found.manifest is not None
    group = dataset_info.groups_of(found.manifest)[0]
    (folder / group.slices[1].path).write_bytes(b"damaged")
    tiles, failed = dataset_info.sheet(group, folder, found.manifest.classes, 0, 9)
    assert failed == 1
    frames = [tuple(tile[0, 0].tolist()) for tile in tiles]
    assert frames == [ImageColor.getrgb(colours.CLASSES[label]) for label in ("benign", "malignant")]
    assert np.unique([tile.shape for tile in tiles], axis=0).tolist() == [[96, 96, 3]]
    assert dataset_info.caption(group, 0, 2, failed) == "1 benign, 2 malignant of 2 · 1 cannot be read"
    assert dataset_info.caption(group, 1, 1, 0) == "2 malignant of 2"
