"""Slices as pixels for a screen."""

import numpy as np
import pytest

from lungcli.tui.widgets import image_ops


def test_a_slice_on_screen_has_at_most_512_pixels_a_side() -> None:
    shown = image_ops.on_screen(np.full((600, 1200), 0.5, dtype=np.float32))
    assert shown.shape == (256, 512)
    assert shown[0, 0] == 127
    assert image_ops.small(np.zeros((1200, 600, 3), dtype=np.uint8)).shape == (512, 256, 3)


def test_a_picture_in_colours_has_greys_too() -> None:
    green = np.zeros((2, 3, 3), dtype=np.uint8)
    green[..., 1] = 255
    assert image_ops.grey_of(green).tolist() == [[150] * 3] * 2
    assert image_ops.grey_of(green[..., 1]).tolist() == [[255] * 3] * 2


def test_tiles_lie_in_rows() -> None:
    three = [np.full((8, 8, 3), value, dtype=np.uint8) for value in (50, 100, 150)]
    sheet = image_ops.contact_sheet(three, across=2, gap=2)
    assert sheet.shape == (20, 20, 3)
    assert [int(sheet[y, x, 0]) for y, x in ((0, 0), (0, 10), (10, 0), (10, 10), (9, 9))] == [50, 100, 150, 0, 0]


@pytest.mark.parametrize(("count", "columns", "rows", "across"), [(1, 80, 20, 1), (4, 80, 40, 2), (6, 60, 20, 3)])
def test_tiles_are_as_large_as_they_can_be(count: int, columns: int, rows: int, across: int) -> None:
    assert image_ops.across_for(count, columns, rows) == across
