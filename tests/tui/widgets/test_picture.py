"""Pictures in the middle of their cells, in colours and without."""

import asyncio

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from textual.app import App, ComposeResult
from textual.screen import ModalScreen

from lungcli.tui.widgets import picture, terminal_capabilities
from lungcli.tui.widgets.terminal_capabilities import Graphics
from lungcli.views import terminal_image


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
    assert line.text == terminal_image.RAMP
    assert not any(segment.style for segment in line)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 120), st.integers(1, 60), st.booleans())
def test_every_picture_fills_exactly_its_cells(height: int, width: int, columns: int, rows: int, colour: bool) -> None:
    drawn = picture.strips(np.zeros((height, width), dtype=np.uint8), columns, rows, coloured=colour)
    assert [strip.cell_length for strip in drawn] == [columns] * rows
    assert [len(strip.text) for strip in drawn] == [columns] * rows


class _Shown(App[None]):
    """A picture alone, in a terminal that draws it in a way; what is written to that is kept."""

    def __init__(self, can: Graphics) -> None:
        super().__init__()
        self.graphics, self.terminal = can, self
        self.written: list[str] = []

    def write(self, data: str) -> None:
        self.written.append(data)

    def compose(self) -> ComposeResult:
        yield picture.Picture()


@pytest.mark.parametrize("covered", [False, True], ids=["alone", "under a dialog"])
def test_sixel_is_drawn_over_the_cells_unless_something_lies_there(
    monkeypatch: pytest.MonkeyPatch, covered: bool
) -> None:
    monkeypatch.setattr(terminal_capabilities, "cell", lambda _: terminal_capabilities.CELL)

    async def go() -> list[str]:
        app = _Shown(Graphics(way="sixel", colours=256))
        async with app.run_test(size=(40, 12)) as pilot:
            if covered:
                await app.push_screen(ModalScreen())
            # The screen below is the picture's.
            app.screen_stack[0].query_one(picture.Picture).show(np.full((64, 64), 200, dtype=np.uint8))
            await app.workers.wait_for_complete()
            await pilot.pause()
            await pilot.pause()
        return app.written

    written = asyncio.run(go())
    assert bool(written) is not covered
    # 24 × 12 cells of a VT340 in the middle: 240 × 240 pixels from column 9 on.
    assert all(text.startswith('\x1b7\x1b[1;9H\x1bP0;1;0q"1;1;240;240') and text.endswith("\x1b8") for text in written)


def test_without_an_answer_nothing_but_cells_is_drawn() -> None:
    async def go() -> list[str]:
        app = _Shown(Graphics())
        async with app.run_test(size=(40, 12)) as pilot:
            app.query_one(picture.Picture).show(np.full((64, 64), 200, dtype=np.uint8))
            await pilot.pause()
            assert app.query_one(picture.Picture).render_line(3).text.strip()
        return app.written

    assert asyncio.run(go()) == []
