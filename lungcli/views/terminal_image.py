"""Pictures as text: two pixels a cell as ▀ in colour, or a ramp of ASCII characters where there is no colour."""

import functools
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

if TYPE_CHECKING:
    from rich.segment import Segment
    from rich.style import Style

Pixels = NDArray[np.uint8]

RAMP = " .:-=+*#%@"
_UPPER = "▀"


def size_in(width: int, height: int, columns: int, rows: int) -> tuple[int, int]:
    """Return the largest size in pixels, aspect kept, that fits into `columns` × `rows` cells of 1 × 2 pixels."""
    scale = min(columns / width, 2 * rows / height)
    return max(1, min(columns, round(width * scale))), max(1, min(2 * rows, round(height * scale)))


def lines(pixels: Pixels, columns: int, rows: int) -> "list[list[Segment]]":
    """Draw a grey [H, W] or RGB [H, W, 3] picture into at most `columns` × `rows` cells, one list of segments a row."""
    from rich.segment import Segment

    small = _fit(pixels, columns, rows)
    rgb = small if small.ndim == 3 else np.repeat(small[..., None], 3, axis=2)
    if len(rgb) % 2:
        rgb = np.concatenate([rgb, np.zeros_like(rgb[:1])])
    return [
        [Segment(_UPPER, _style(*map(tuple, pair))) for pair in zip(upper.tolist(), lower.tolist(), strict=True)]
        for upper, lower in zip(rgb[::2], rgb[1::2], strict=True)
    ]


def shades(grey: Pixels, columns: int, rows: int) -> list[str]:
    """Draw a grey picture [H, W] into at most `columns` × `rows` characters of `RAMP`, one string a row."""
    small = _fit(grey, columns, rows).astype(np.float64)
    if len(small) % 2:
        small = np.concatenate([small, np.zeros_like(small[:1])])
    levels = ((small[::2] + small[1::2]) / 2 / 256 * len(RAMP)).astype(np.intp)
    return ["".join(RAMP[level] for level in row) for row in levels]


def _fit(pixels: Pixels, columns: int, rows: int) -> Pixels:
    size = size_in(pixels.shape[1], pixels.shape[0], columns, rows)
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR), dtype=np.uint8)


@functools.lru_cache(maxsize=1 << 15)
def _style(top: tuple[int, int, int], bottom: tuple[int, int, int]) -> "Style":
    from rich.color import Color
    from rich.style import Style

    return Style(color=Color.from_rgb(*top), bgcolor=Color.from_rgb(*bottom))
