"""Pictures in a terminal: two pixels a cell as ▀ in true colour, or a ramp of characters where there is no colour."""

import functools

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from lungcli.data.read import Grey

Pixels = NDArray[np.uint8]

RAMP = " .:-=+*#%@"
_UPPER = "▀"
# Larger than any terminal shows.
_SIDE = 512


def on_screen(grey: Grey) -> Pixels:
    """Turn a slice as read, float32 [H, W] in 0..1, into grey pixels of at most 512 a side."""
    image = Image.fromarray((np.clip(grey, 0, 1) * 255).astype(np.uint8))
    image.thumbnail((_SIDE, _SIDE), Image.Resampling.BILINEAR)
    return np.asarray(image, dtype=np.uint8)


def size_in(width: int, height: int, columns: int, rows: int) -> tuple[int, int]:
    """Return the largest size in pixels, aspect kept, that fits into `columns` × `rows` cells of 1 × 2 pixels."""
    scale = min(columns / width, 2 * rows / height)
    return max(1, min(columns, round(width * scale))), max(1, min(2 * rows, round(height * scale)))


def strips(pixels: Pixels, columns: int, rows: int, *, coloured: bool) -> list[Strip]:
    """Draw a grey (H, W) or RGB (H, W, 3) picture, centred in `columns` × `rows` cells, one strip a row."""
    if columns < 1 or rows < 1:
        return []
    small = _fit(pixels, columns, rows)
    top, left = ((rows * 2 - small.shape[0]) // 4) * 2, (columns - small.shape[1]) // 2
    lines = [_coloured_line(*pair) if coloured else _shaded_line(*pair) for pair in _pairs(small)]
    before, after = [Segment(" " * left)], [Segment(" " * (columns - left - small.shape[1]))]
    empty = Strip.blank(columns)
    drawn = [Strip([*before, *line, *after], columns) for line in lines]
    return [*[empty] * (top // 2), *drawn, *[empty] * (rows - top // 2 - len(drawn))]


def contact_sheet(tiles: list[Pixels], across: int, side: int = 64, gap: int = 2) -> Pixels:
    """Lay RGB or grey tiles out in rows of `across`: RGB (H, W, 3), black between them, `side` pixels a tile."""
    down = -(-len(tiles) // across)
    sheet = np.zeros((down * (side + gap), across * (side + gap), 3), dtype=np.uint8)
    for index, tile in enumerate(tiles):
        y, x = (index // across) * (side + gap), (index % across) * (side + gap)
        image = Image.fromarray(tile).convert("RGB")
        image.thumbnail((side, side), Image.Resampling.BILINEAR)
        sheet[y : y + image.height, x : x + image.width] = np.asarray(image)
    return sheet


def across_for(count: int, columns: int, rows: int) -> int:
    """Return how many square tiles beside each other make `count` of them largest in `columns` × `rows` cells."""
    choices = range(1, max(count, 1) + 1)
    return max(choices, key=lambda across: (min(columns / across, 2 * rows / -(-count // across)), -across))


def _fit(pixels: Pixels, columns: int, rows: int) -> Pixels:
    width, height = size_in(pixels.shape[1], pixels.shape[0], columns, rows)
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR), dtype=np.uint8)


def _pairs(small: Pixels) -> list[tuple[Pixels, Pixels]]:
    """Rows of pixels by twos; an odd last row is above black."""
    below = np.zeros_like(small[0])
    return [(small[y], small[y + 1] if y + 1 < len(small) else below) for y in range(0, len(small), 2)]


def _coloured_line(upper: Pixels, lower: Pixels) -> list[Segment]:
    tops, bottoms = _rgb(upper), _rgb(lower)
    return [Segment(_UPPER, _style(top, bottom)) for top, bottom in zip(tops, bottoms, strict=True)]


def _shaded_line(upper: Pixels, lower: Pixels) -> list[Segment]:
    grey = (upper.astype(np.float64) + lower) / 2
    if grey.ndim == 2:
        grey = grey @ np.array([0.299, 0.587, 0.114])
    shades = np.minimum((grey / 256 * len(RAMP)).astype(int), len(RAMP) - 1)
    return [Segment("".join(RAMP[shade] for shade in shades))]


def _rgb(line: Pixels) -> list[tuple[int, int, int]]:
    colours = line if line.ndim == 2 else np.repeat(line[:, None], 3, axis=1)
    return [(red, green, blue) for red, green, blue in colours.tolist()]


@functools.lru_cache(maxsize=1 << 15)
def _style(top: tuple[int, int, int], bottom: tuple[int, int, int]) -> Style:
    return Style(color=Color.from_rgb(*top), bgcolor=Color.from_rgb(*bottom))
