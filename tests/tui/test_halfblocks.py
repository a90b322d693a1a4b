"""Pictures out of half blocks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lungcli.tui import halfblocks


def test_two_pixels_a_cell_in_true_colour() -> None:
    pixels = np.array([[0, 255], [128, 64]], dtype=np.uint8)
    (line,) = halfblocks.strips(pixels, 2, 1, coloured=True)
    assert line.text == "▀▀"
    first, second = (segment.style for segment in line if segment.text)
    assert first is not None
    assert second is not None
    assert first.color is not None
    assert first.bgcolor is not None
    assert first.color.triplet == (0, 0, 0)
    assert first.bgcolor.triplet == (128, 128, 128)
    assert second.color is not None
    assert second.color.triplet == (255, 255, 255)


def test_without_colour_greys_become_a_ramp() -> None:
    pixels = np.repeat(np.linspace(0, 255, 10, dtype=np.uint8)[None], 2, axis=0)
    (line,) = halfblocks.strips(pixels, 10, 1, coloured=False)
    assert line.text == halfblocks.RAMP
    assert all(segment.style is None for segment in line)


def test_an_rgb_picture_has_shades_too() -> None:
    green = np.zeros((2, 3, 3), dtype=np.uint8)
    green[..., 1] = 255
    (line,) = halfblocks.strips(green, 3, 1, coloured=False)
    assert line.text == "+++"


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 120), st.integers(1, 60), st.booleans())
def test_every_picture_fills_exactly_its_cells(height: int, width: int, columns: int, rows: int, colour: bool) -> None:
    drawn = halfblocks.strips(np.zeros((height, width), dtype=np.uint8), columns, rows, coloured=colour)
    assert [strip.cell_length for strip in drawn] == [columns] * rows
    assert [len(strip.text) for strip in drawn] == [columns] * rows


@pytest.mark.parametrize(("columns", "rows"), [(0, 5), (5, 0)])
def test_no_room_no_picture(columns: int, rows: int) -> None:
    assert halfblocks.strips(np.zeros((4, 4), dtype=np.uint8), columns, rows, coloured=True) == []


def test_the_aspect_is_kept() -> None:
    assert halfblocks.size_in(100, 50, columns=40, rows=40) == (40, 20)
    assert halfblocks.size_in(50, 100, columns=40, rows=10) == (10, 20)


def test_a_slice_on_screen_has_at_most_512_pixels_a_side() -> None:
    shown = halfblocks.on_screen(np.full((600, 1200), 0.5, dtype=np.float32))
    assert shown.shape == (256, 512)
    assert shown[0, 0] == 127


def test_tiles_lie_in_rows() -> None:
    tiles = [np.full((8, 8), value, dtype=np.uint8) for value in (50, 100, 150)]
    sheet = halfblocks.contact_sheet(tiles, across=2, side=8, gap=2)
    assert sheet.shape == (20, 20, 3)
    assert [int(sheet[y, x, 0]) for y, x in ((0, 0), (0, 10), (10, 0), (10, 10), (9, 9))] == [50, 100, 150, 0, 0]


@pytest.mark.parametrize(("count", "columns", "rows", "across"), [(1, 80, 20, 1), (4, 80, 40, 2), (6, 60, 20, 3)])
def test_tiles_are_as_large_as_they_can_be(count: int, columns: int, rows: int, across: int) -> None:
    assert halfblocks.across_for(count, columns, rows) == across
