"""From a slice as read to what every net sees. Training, evaluation and prediction all call this and nothing else."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lungcli.data.read import Grey, read

# Goes up whenever the same slice would come out with other pixels: cached slices and model files name it.
VERSION = 1


def prepare(grey: Grey, size: int) -> NDArray[np.uint8]:
    """Fit a slice, float32 [H, W] in 0..1, into uint8 [size, size].

    The longer side becomes `size`, the aspect is kept, the rest is black. The filter is a triangle as wide as the
    reduction, so that nothing aliases.
    """
    height, width = grey.shape
    scale = size / max(height, width)
    fitted = (max(1, round(width * scale)), max(1, round(height * scale)))
    image = Image.fromarray(np.ascontiguousarray(grey, dtype=np.float32))
    small = np.asarray(image.resize(fitted, Image.Resampling.BILINEAR))
    rounded: NDArray[np.uint8] = np.clip(np.rint(small * 255), 0, 255).astype(np.uint8)
    if fitted == (size, size):
        return rounded
    canvas = np.zeros((size, size), dtype=np.uint8)
    left, top = (size - fitted[0]) // 2, (size - fitted[1]) // 2
    canvas[top : top + fitted[1], left : left + fitted[0]] = rounded
    return canvas


def prepare_file(path: Path, size: int) -> NDArray[np.uint8]:
    """Read one file and prepare it: uint8 [size, size]. Raises UnreadableInputError."""
    return prepare(read(path).grey, size)
