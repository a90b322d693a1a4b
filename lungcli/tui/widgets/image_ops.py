"""Slices as pixels for a screen: no larger than a terminal shows, alone or on a contact sheet."""

import numpy as np
from PIL import Image

from lungcli.imaging.picture import Grey
from lungcli.views.terminal_image import Pixels

# Larger than any terminal shows.
_SIDE = 512


def on_screen(grey: Grey) -> Pixels:
    """Turn a slice as read, float32 [H, W] in 0..1, into grey pixels of at most 512 a side."""
    return small((np.clip(grey, 0, 1) * 255).astype(np.uint8))


def small(pixels: Pixels) -> Pixels:
    """Make a picture, grey [H, W] or RGB [H, W, 3], at most 512 pixels a side."""
    image = Image.fromarray(pixels)
    image.thumbnail((_SIDE, _SIDE), Image.Resampling.BILINEAR)
    return np.asarray(image, dtype=np.uint8)


def sized(pixels: Pixels, width: int, height: int) -> Pixels:
    """Make a picture, grey [H, W] or RGB [H, W, 3], exactly this large, whatever its aspect was."""
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR), dtype=np.uint8)


def grey_of(pixels: Pixels) -> Pixels:
    """Make a picture grey, [H, W]."""
    return pixels if pixels.ndim == 2 else np.asarray(Image.fromarray(pixels).convert("L"), dtype=np.uint8)


def contact_sheet(tiles: list[Pixels], across: int, gap: int = 2) -> Pixels:
    """Lay RGB tiles of one size, each (S, S, 3), out in rows of `across`: RGB (H, W, 3), black between them."""
    step = len(tiles[0]) + gap
    sheet = np.zeros((-(-len(tiles) // across) * step, across * step, 3), dtype=np.uint8)
    for index, tile in enumerate(tiles):
        y, x = index // across * step, index % across * step
        sheet[y : y + len(tile), x : x + len(tile)] = tile
    return sheet


def across_for(count: int, columns: int, rows: int) -> int:
    """Return how many square tiles beside each other make `count` of them largest in `columns` × `rows` cells."""
    choices = range(1, max(count, 1) + 1)
    return max(choices, key=lambda across: (min(columns / across, 2 * rows / -(-count // across)), -across))
