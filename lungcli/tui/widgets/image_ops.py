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
