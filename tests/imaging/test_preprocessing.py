"""Preparing: the lungs, in one frame and on one scale of grey, whatever window and margins the file came with."""

import functools
import hashlib
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from lungcli.core.errors import UnreadableInputError
from lungcli.core.recipe import Resize
from lungcli.datasets.phantom import anatomy, dataset
from lungcli.imaging import lung_segmentation
from lungcli.imaging.image_io import read
from lungcli.imaging.picture import Grey
from lungcli.imaging.preprocessing import AIR, VERSION, prepare, prepare_file, prepare_in
from tests.imaging.pictures import encoded, noise, windowed

SIZE = 160


@functools.cache
def hounsfield(index: int) -> NDArray[np.float32]:
    return dataset.hounsfield(list(dataset.patients(60, 3))[index], 0.0)


def change(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Mean change of a pixel, as a share of the whole scale."""
    return float(np.abs(one.astype(float) - other.astype(float)).mean() / 255)


@pytest.mark.parametrize(("height", "width"), [(300, 200), (200, 300), (64, 256)])
def test_without_lungs_the_whole_picture_keeps_its_aspect(height: int, width: int) -> None:
    squares = np.indices((height // 4, width // 4)).sum(axis=0) % 2
    grey = np.kron(0.9 + squares / 10, np.ones((4, 4))).astype(np.float32)

    out = prepare(grey, SIZE)

    assert out.shape == (SIZE, SIZE)
    assert out.dtype == np.uint8
    rows, columns = np.flatnonzero(out.max(axis=1)), np.flatnonzero(out.max(axis=0))
    assert np.ptp(columns) + 1 == pytest.approx(SIZE * width / max(height, width), abs=3)
    assert np.ptp(rows) + 1 == pytest.approx(SIZE * height / max(height, width), abs=3)
    assert out.max() > 0


@pytest.mark.parametrize("index", [0, 3, 7])
@pytest.mark.parametrize(
    ("centre", "width", "tolerance"),
    [(-500, 1400, 0.04), (-700, 1000, 0.06), (-400, 1800, 0.04), (0, 2000, 0.04), (1024, 4096, 0.05)],
)
def test_one_slice_under_other_windows(index: int, centre: float, width: float, tolerance: float) -> None:
    usual = prepare(windowed(hounsfield(index)), SIZE)

    assert change(prepare(windowed(hounsfield(index), centre, width), SIZE), usual) < tolerance


@pytest.mark.parametrize("gamma", [0.7, 1.4])
def test_one_slice_under_another_gamma(gamma: float) -> None:
    grey = windowed(hounsfield(1))

    assert change(prepare(grey**gamma, SIZE), prepare(grey, SIZE)) < 0.04


def _padded(grey: Grey, value: float) -> Grey:
    return np.pad(grey, ((20, 60), (40, 40)), constant_values=value)


def _resized(grey: Grey, side: int) -> Grey:
    return np.asarray(Image.fromarray(grey).resize((side, side), Image.Resampling.BICUBIC)).clip(0, 1)


@pytest.mark.parametrize("index", [0, 4, 8])
@pytest.mark.parametrize(
    "exported",
    [
        pytest.param(lambda grey: _padded(grey, 0.0), id="black frame"),
        pytest.param(lambda grey: _padded(grey, 1.0), id="white frame"),
        pytest.param(lambda grey: np.pad(grey, ((0, 0), (144, 145))), id="801 wide"),
        pytest.param(lambda grey: grey[24:-24, 24:-24], id="cropped"),
        pytest.param(lambda grey: _resized(grey, 256), id="256 pixels"),
        pytest.param(lambda grey: _resized(grey, 1024), id="1024 pixels"),
    ],
)
def test_one_slice_exported_otherwise(index: int, exported: object) -> None:
    grey = windowed(hounsfield(index))
    assert callable(exported)

    assert change(prepare(exported(grey), SIZE), prepare(grey, SIZE)) < 0.05


def test_a_soft_tissue_window_cannot_be_mended() -> None:
    """Lungs are one black there: the bound says that they are still framed, not that nothing was lost."""
    grey = windowed(hounsfield(4), 40, 400)

    assert not lung_segmentation.segment(grey).failure_reason
    assert change(prepare(grey, SIZE), prepare(windowed(hounsfield(4)), SIZE)) > 0.025


def test_lung_air_is_dark_and_soft_tissue_white() -> None:
    grey = windowed(hounsfield(2))
    found = lung_segmentation.segment(grey)
    lungs = np.asarray(Image.fromarray(found.lungs).resize(grey.shape[::-1], Image.Resampling.NEAREST))

    out = prepare(np.where(lungs, found.air, grey).astype(np.float32), SIZE)

    assert round(AIR * 255) in np.unique(out)
    assert (out == 255).mean() > 0.15


def test_all_beyond_the_lungs_is_white() -> None:
    """Table, air, fat, and where the body ends: a border that is alike in all slices gives no hospital away."""
    out = prepare(windowed(hounsfield(0)), SIZE)

    border = np.concatenate([out[:3].ravel(), out[-3:].ravel(), out[:, :3].ravel(), out[:, -3:].ravel()])
    assert (border == 255).all()


@pytest.mark.parametrize("index", range(8))
def test_the_lungs_and_what_lies_on_them_are_inside_the_outline(index: int) -> None:
    """The outline goes around the field that a phantom's lungs were drawn in, nodules on the pleura among it."""
    patient = list(dataset.patients(60, 3))[index]
    found = lung_segmentation.segment(windowed(hounsfield(index)))
    field = anatomy.lung_field(patient.body, anatomy.grid_of(patient.body, 512), 0.0) < 0
    inside = Image.new("1", field.shape[::-1])
    ImageDraw.Draw(inside).polygon(list(found.outline), fill=1)

    assert not (field & ~np.asarray(inside)).any()


def test_contrast_agent_and_bone_are_as_white_as_muscle() -> None:
    hu = hounsfield(5)

    bright = np.where(hu > 30, hu + 150, hu).astype(np.float32)

    assert change(prepare(windowed(bright, 0, 2000), SIZE), prepare(windowed(hu, 0, 2000), SIZE)) < 0.12


def test_png_jpeg_deep_and_dicom_of_one_slice(tmp_path: Path) -> None:
    grey = windowed(hounsfield(6))
    values = np.rint(grey * 255).astype(np.uint8)
    (tmp_path / "8.png").write_bytes(encoded(values))
    (tmp_path / "16.tif").write_bytes(encoded(values.astype(np.uint16) * 257, "TIFF"))
    (tmp_path / "95.jpg").write_bytes(encoded(values, "JPEG", quality=95))
    _write_dicom(tmp_path / "hu.dcm", hounsfield(6))

    shallow, deep, lossy, units = (
        prepare_file(tmp_path / name, SIZE) for name in ("8.png", "16.tif", "95.jpg", "hu.dcm")
    )

    assert np.abs(shallow.astype(int) - deep.astype(int)).max() <= 1
    assert change(shallow, lossy) < 0.02
    assert change(shallow, units) < 0.02


def _write_dicom(path: Path, hu: NDArray[np.float32]) -> None:
    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    slice_ = pydicom.dataset.FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    slice_.Modality, slice_.PhotometricInterpretation, slice_.SamplesPerPixel = "CT", "MONOCHROME2", 1
    slice_.Rows, slice_.Columns = hu.shape
    slice_.BitsAllocated, slice_.BitsStored, slice_.HighBit, slice_.PixelRepresentation = 16, 16, 15, 1
    slice_.RescaleSlope, slice_.RescaleIntercept = 1, -1024
    slice_.PixelData = (np.rint(hu) + 1024).astype("<i2").tobytes()
    buffer = io.BytesIO()
    slice_.save_as(buffer)
    path.write_bytes(buffer.getvalue())


def test_fine_stripes_become_grey_not_a_pattern() -> None:
    stripes = np.zeros((512, 512), dtype=np.float32)
    stripes[:, ::2] = 1
    whole = lung_segmentation.LungSegmentation(
        box=(0, 0, 512, 512),
        outline=(),
        small=np.zeros((128, 128), dtype=np.uint8),
        body=np.ones((128, 128), dtype=np.bool_),
        lungs=np.zeros((128, 128), dtype=np.bool_),
        factor=4,
        air=0.0,
        tissue=1.0,
        failure_reason="asked for",
    )

    inner = prepare_in(lung_segmentation.as_image(stripes), 128, whole)[:, 2:-2]

    assert inner.min() >= 126
    assert inner.max() <= 129


@settings(deadline=None, max_examples=30)
@given(height=st.integers(32, 300), width=st.integers(32, 300), size=st.integers(16, 256), seed=st.integers(0, 9))
def test_any_picture_fills_the_size(height: int, width: int, size: int, seed: int) -> None:
    out = prepare(noise(seed, height, width).astype(np.float32) / np.float32(255), size)

    assert out.shape == (size, size)
    assert out.dtype == np.uint8


def test_file_and_picture_are_prepared_alike(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(noise(3, 90, 60)))

    np.testing.assert_array_equal(prepare_file(tmp_path / "a.png", 48), prepare(read(tmp_path / "a.png").grey, 48))


def drawn(shade: Callable[[float], float]) -> Grey:
    """A slice as discs: a body with two lungs, each grey gone through `shade`; no random number and no other code."""
    down, across = np.mgrid[0:240, 0:300]
    grey = np.full((240, 300), shade(0.02), dtype=np.float32)
    for row, column, height, width, value in (
        (120, 150, 90, 125, 0.62),
        (115, 90, 58, 38, 0.17),
        (115, 210, 58, 42, 0.17),
        (100, 205, 9, 9, 0.55),
        (190, 150, 12, 14, 0.95),
    ):
        grey[((down - row) / height) ** 2 + ((across - column) / width) ** 2 <= 1] = shade(value)
    return grey


# One hash for each preparation there was; a new VERSION adds its own.
PREPARED = {
    2: "b652fd971e9227491804c0af1572e8243736640731064027f2dcb1621fb8d4f4",
    3: "810afb921f20630043cf50c063da4ccf8cb4c016189c3e75b240534868740bfb",
}


def exported() -> dict[str, Grey]:
    """Slices of every kind that preparing takes another way for."""
    plain, without = drawn(lambda value: value), drawn(lambda value: 0.62 if value == 0.17 else value)
    one, table, bowel = plain.copy(), plain.copy(), without.copy()
    one[57:173, 168:252] = 0.62
    table[214:218, 60:240] = 0.5
    bowel[100:112, 120:140] = 0.05
    return {
        "plain": plain,
        "brighter": drawn(lambda value: value**0.7),
        "cut to one lung": plain[:, :150],
        "one lung": one,
        "table": table,
        "framed": np.pad(plain, ((20, 0), (0, 33)), constant_values=0.3),
        "soft tissue window": np.clip((plain - np.float32(0.4)) / np.float32(0.3), 0, 1),
        "thin wall": np.where(plain > 0.5, 0.62, np.where(plain > 0.1, 0.02, plain)).astype(np.float32)[::3, ::3],
        "no lungs": without,
        "bowel": bowel,
        "no body": np.full((90, 120), 0.3, dtype=np.float32),
        "little contrast": drawn(lambda value: 0.02 + 0.15 * value),
    }


def test_the_same_pixels_come_out_until_the_version_goes_up() -> None:
    """Cached slices and model files name a version: two kinds of pixels under one would be mixed up."""
    pictures = exported()
    out = [prepare(grey, size) for grey in pictures.values() for size in (32, 75)]
    missing = {
        name: found.failure_reason
        for name, grey in pictures.items()
        if (found := lung_segmentation.segment(grey)).failure_reason
    }

    assert missing == {
        "no lungs": "no lungs found",
        "bowel": "no lungs found",
        "no body": "no body found",
        "little contrast": "lungs and soft tissue have the same grey",
    }
    assert hashlib.sha256(b"".join(pixels.tobytes() for pixels in out)).hexdigest() == PREPARED[VERSION]


def test_unreadable_file(tmp_path: Path) -> None:
    with pytest.raises(UnreadableInputError, match=r"none\.png: there is no such file"):
        prepare_file(tmp_path / "none.png", 32)


def test_whole_pictures_are_as_a_user_of_another_tool_makes_them() -> None:
    """Stretched whatever the aspect, or the square in the middle; greys stay what they are, lungs or not."""
    grey = noise(3, 90, 140)
    picture = Image.fromarray(grey)
    resize: Resize
    for resize, box in (("stretch", (0, 0, 140, 90)), ("crop", (25, 0, 115, 90))):
        expected = picture.resize((48, 48), Image.Resampling.BILINEAR, box=box)
        difference = prepare(grey, 48, resize).astype(np.int16) - np.asarray(expected)
        assert abs(difference).max() <= 1
