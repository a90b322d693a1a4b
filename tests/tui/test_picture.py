"""Pictures in the middle of their cells, in colours and without."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from lungcli.inference import halfblocks
from lungcli.tui import picture


def test_two_pixels_a_cell_in_true_colour() -> None:
    pixels = np.array([[0, 255], [128, 64]], dtype=np.uint8)
    (line,) = picture.strips(pixels, 4, 1, coloured=True)
    assert line.text == " ▀▀ "
    first = next(segment.style for segment in line if segment.text == "▀")
    assert first is not None
    assert first.color is not None
    assert first.bgcolor is not None
    assert first.color.triplet == (0, 0, 0)
    assert first.bgcolor.triplet == (128, 128, 128)


def test_without_colour_greys_become_a_ramp() -> None:
    pixels = np.repeat(np.linspace(0, 255, 10, dtype=np.uint8)[None], 2, axis=0)
    (line,) = picture.strips(pixels, 10, 1, coloured=False)
    assert line.text == halfblocks.RAMP
    assert not any(segment.style for segment in line)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 120), st.integers(1, 60), st.booleans())
def test_every_picture_fills_exactly_its_cells(height: int, width: int, columns: int, rows: int, colour: bool) -> None:
    drawn = picture.strips(np.zeros((height, width), dtype=np.uint8), columns, rows, coloured=colour)
    assert [strip.cell_length for strip in drawn] == [columns] * rows
    assert [len(strip.text) for strip in drawn] == [columns] * rows
