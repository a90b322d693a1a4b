import numpy as np
import pytest
from rich.color import ColorType

from lungcli.views import terminal_image


@pytest.mark.parametrize(
    ("picture", "room", "expected"),
    [
        ((512, 512), (64, 32), (64, 64)),
        ((512, 512), (80, 10), (20, 20)),
        ((400, 100), (40, 40), (40, 10)),
        ((10, 10), (1, 1), (1, 1)),
    ],
)
def test_pictures_keep_their_aspect(picture: tuple[int, int], room: tuple[int, int], expected: tuple[int, int]) -> None:
    assert terminal_image.size_in(*picture, *room) == expected


def test_a_cell_shows_two_pixels() -> None:
    rgb = np.array([[[255, 0, 0], [0, 0, 0]], [[0, 255, 0], [9, 8, 7]]], dtype=np.uint8)
    ((left, right),) = terminal_image.lines(rgb, 2, 1)
    assert left.text == right.text == "▀"
    assert left.style is not None
    assert left.style.color is not None
    assert left.style.bgcolor is not None
    assert left.style.color.type == ColorType.TRUECOLOR
    assert left.style.color.triplet == (255, 0, 0)
    assert left.style.bgcolor.triplet == (0, 255, 0)
    assert right.style is not None
    assert right.style.bgcolor is not None
    assert right.style.bgcolor.triplet == (9, 8, 7)


def test_an_odd_last_row_stands_above_black() -> None:
    drawn = terminal_image.lines(np.full((3, 3), 200, dtype=np.uint8), 3, 2)
    assert len(drawn) == 2
    style = drawn[1][0].style
    assert style is not None
    assert style.bgcolor is not None
    assert style.bgcolor.triplet == (0, 0, 0)


def test_shades_are_plain_ascii_from_dark_to_bright() -> None:
    ramp = np.tile(np.linspace(0, 255, 20).astype(np.uint8), (4, 1))
    drawn = terminal_image.shades(ramp, 20, 2)
    assert drawn == ["  ..::--==++**##%%@@"] * 2
    assert all(line.isascii() for line in drawn)
