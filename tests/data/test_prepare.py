"""Preparing: geometry, filter, and the same pixels whatever the file."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lungcli.core.errors import UnreadableInputError
from lungcli.data.prepare import prepare, prepare_file
from lungcli.data.read import read
from tests.data.pictures import encoded, noise


@settings(deadline=None, max_examples=60)
@given(height=st.integers(32, 300), width=st.integers(32, 300), size=st.integers(16, 256))
def test_longer_side_fills_and_the_rest_is_black(height: int, width: int, size: int) -> None:
    out = prepare(np.ones((height, width), dtype=np.float32), size)

    assert out.shape == (size, size)
    assert out.dtype == np.uint8
    rows, columns = np.flatnonzero(out.max(axis=1)), np.flatnonzero(out.max(axis=0))
    assert max(len(rows), len(columns)) == size
    assert len(rows) / size == pytest.approx(height / max(height, width), abs=0.51 / size + 1e-9)
    assert len(columns) / size == pytest.approx(width / max(height, width), abs=0.51 / size + 1e-9)
    assert abs(rows[0] - (size - 1 - rows[-1])) <= 1
    assert abs(columns[0] - (size - 1 - columns[-1])) <= 1
    assert set(np.unique(out)) <= {0, 255}


def test_keeps_every_grey_level_of_what_has_its_size_already() -> None:
    values = np.arange(64 * 64).reshape(64, 64).astype(np.uint8)

    np.testing.assert_array_equal(prepare(values.astype(np.float32) / np.float32(255), 64), values)


def test_rounds_to_the_nearest_level() -> None:
    assert prepare(np.full((32, 32), 100.7 / 255, dtype=np.float32), 32).max() == 101


def test_fine_stripes_become_grey_not_a_pattern() -> None:
    stripes = np.zeros((512, 512), dtype=np.float32)
    stripes[:, ::2] = 1

    inner = prepare(stripes, 128)[:, 2:-2]

    assert inner.min() >= 126
    assert inner.max() <= 129


def test_values_outside_are_held_at_the_ends() -> None:
    low, high = np.full((40, 40), -0.5, np.float32), np.full((40, 40), 1.5, np.float32)

    assert prepare(low, 32).max() == 0
    assert prepare(high, 32).min() == 255


def test_the_same_slice_with_8_and_16_bits(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 256, (200, 160), dtype=np.uint8)
    (tmp_path / "8.png").write_bytes(encoded(values))
    (tmp_path / "16.tif").write_bytes(encoded(values.astype(np.uint16) * 257, "TIFF"))

    shallow, deep = prepare_file(tmp_path / "8.png", 96), prepare_file(tmp_path / "16.tif", 96)

    assert np.abs(shallow.astype(int) - deep.astype(int)).max() <= 1


def test_file_and_picture_are_prepared_alike(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(noise(3, 90, 60)))

    np.testing.assert_array_equal(prepare_file(tmp_path / "a.png", 48), prepare(read(tmp_path / "a.png").grey, 48))


def test_unreadable_file(tmp_path: Path) -> None:
    with pytest.raises(UnreadableInputError, match=r"none\.png: there is no such file"):
        prepare_file(tmp_path / "none.png", 32)
