"""From a slice as read to what every net sees. Training, evaluation and prediction all call this and nothing else.

What the picture owes to scanner and export rather than to the lungs is taken out: the table, the margins and the
field of view by a crop to the lungs and a mask outside the body; window and level by a grey scale that hangs on two
greys which every slice of a chest has, lung air and soft tissue; contrast agent and bone by white from soft tissue on.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lungcli.imaging import lung_segmentation
from lungcli.imaging.image_io import read
from lungcli.imaging.lung_segmentation import LungSegmentation
from lungcli.imaging.picture import Grey

# Goes up whenever the same slice would come out with other pixels: cached slices and model files name it.
VERSION = 2

# Where the two greys come to lie. Darker than lung air is only air; brighter than soft tissue is bone and contrast.
AIR, TISSUE = 0.20, 1.00


def prepare(grey: Grey, size: int) -> NDArray[np.uint8]:
    """Crop a slice, float32 [H, W] in 0..1, to its lungs, and put it on the common grey scale: uint8 [size, size].

    The aspect is kept; what lies outside the body is black. The filter is a triangle as wide as the reduction, so that
    nothing aliases. Without lungs the whole body, or the whole picture, is taken, and stretched over the scale.
    """
    picture = lung_segmentation.as_image(grey)
    return prepare_in(picture, size, lung_segmentation.segment_image(picture))


def prepare_in(picture: Image.Image, size: int, segmentation: LungSegmentation) -> NDArray[np.uint8]:
    """`prepare` of a slice as `lung_segmentation.as_image` makes it, with its segmentation."""
    values = _cropped(picture, segmentation.box, size)
    low, high = (0.0, 1.0) if segmentation.failure_reason else (AIR, TISSUE)
    values -= np.float32(segmentation.air)
    values *= np.float32((high - low) / max(segmentation.tissue - segmentation.air, 1e-6))
    values += np.float32(low)
    left, top, right, bottom = (edge / segmentation.factor for edge in segmentation.box)
    values *= _cropped(lung_segmentation.as_image(segmentation.body), (left, top, right, bottom), size)
    np.minimum(np.maximum(values, 0, out=values), 1, out=values)
    values *= 255
    prepared: NDArray[np.uint8] = np.rint(values, out=values).astype(np.uint8)
    return prepared


def prepare_file(path: Path, size: int) -> NDArray[np.uint8]:
    """Read one file and prepare it: uint8 [size, size]. Raises UnreadableInputError."""
    return prepare(read(path, colour=False).grey, size)


def _cropped(picture: Image.Image, box: tuple[float, float, float, float], size: int) -> NDArray[np.float32]:
    """Resample the square `box` of a picture to [size, size]; what lies beyond the picture is 0."""
    width, height = picture.size
    left, top, right, bottom = box
    scale = size / (right - left)
    inner = (max(0.0, left), max(0.0, top), min(float(width), right), min(float(height), bottom))
    at = [round((inner[0] - left) * scale), round((inner[1] - top) * scale)]
    fitted = (
        max(1, min(size - at[0], round((inner[2] - inner[0]) * scale))),
        max(1, min(size - at[1], round((inner[3] - inner[1]) * scale))),
    )
    small = np.asarray(picture.resize(fitted, Image.Resampling.BILINEAR, box=inner))
    if fitted == (size, size):
        return small.copy()
    canvas = np.zeros((size, size), dtype=np.float32)
    canvas[at[1] : at[1] + fitted[1], at[0] : at[0] + fitted[0]] = small
    return canvas
