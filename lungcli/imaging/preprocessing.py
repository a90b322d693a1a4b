"""From a slice as read to what every net sees. Training, evaluation and prediction all call this and nothing else.

What the picture owes to scanner and export rather than to the lungs is taken out: the table, the margins, the body's
outline and the field of view by a crop to the lungs with all white around them; window and level by a grey scale that
hangs on two greys which every slice of a chest has, lung air and soft tissue; contrast agent and bone by white from
soft tissue on.
"""

import dataclasses
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from lungcli.core.recipe import Resize
from lungcli.imaging import lung_segmentation
from lungcli.imaging.image_io import read
from lungcli.imaging.lung_segmentation import LungSegmentation
from lungcli.imaging.picture import Grey, Pixels

# Goes up whenever the same slice would come out with other pixels: cached slices and model files name it.
VERSION = 3

# Where the two greys come to lie. Darker than lung air is only air; brighter than soft tissue is bone and contrast.
AIR, TISSUE = 0.20, 1.00


def prepare(slice_: Grey | Pixels, size: int, resize: Resize = "lungs") -> Pixels:
    """Crop a slice [H, W], uint8, or float32 in 0..1, to its lungs, on the common grey scale: uint8 [size, size].

    For another `resize` see `part_seen`.

    The aspect is kept. All beyond the outline of the lungs is white, as the chest wall is: where its fat and the body
    end, and what lies around, differs by scanner and patient and not by what is in the lungs. The filter is a triangle
    as wide as the reduction, so that nothing aliases. Without lungs the whole body, or the whole picture, is taken, and
    stretched over the scale; what lies beyond the picture is black then.
    """
    picture = lung_segmentation.as_image(slice_)
    return prepare_in(picture, size, part_seen(picture.size, lung_segmentation.segment_image(picture), resize))


def part_seen(size: tuple[int, int], segmentation: LungSegmentation, resize: Resize) -> LungSegmentation:
    """Return the segmentation that `prepare_in` takes for `resize`, of a picture of this `size`: width and height.

    `lungs` is as `prepare` says. Nets from elsewhere see the picture with its own greys: `stretch` all of it, whatever
    its aspect, `crop` the square in its middle.
    """
    if resize == "lungs":
        return segmentation
    width, height = size
    side = min(width, height)
    left, top = ((width - side) / 2, (height - side) / 2) if resize == "crop" else (0.0, 0.0)
    box = (left, top, width - left, height - top)
    return dataclasses.replace(
        segmentation, box=box, outline=(), air=0.0, tissue=1.0, failure_reason="the net takes whole pictures"
    )


def prepare_in(picture: Image.Image, size: int, segmentation: LungSegmentation) -> Pixels:
    """`prepare` of a slice as `lung_segmentation.as_image` makes it, with its segmentation."""
    prepared = _cropped(picture, segmentation.box, size).point(_scale(segmentation))
    if segmentation.outline:
        left, top, right, _ = segmentation.box
        zoom = size / (right - left)
        around = Image.new("L", (size, size), 255)
        # Pillow counts from the middles of pixels.
        outline = [((x - left) * zoom - 0.5, (y - top) * zoom - 0.5) for x, y in segmentation.outline]
        ImageDraw.Draw(around).polygon(outline, fill=0)
        prepared.paste(255, mask=around)
    return np.asarray(prepared)


def _scale(segmentation: LungSegmentation) -> list[int]:
    """Level of the common grey scale for each level of a picture."""
    low, high = (0.0, 1.0) if segmentation.failure_reason else (AIR, TISSUE)
    steepness = (high - low) / max(segmentation.tissue - segmentation.air, 1e-6)
    scaled = (np.arange(256) / 255 - segmentation.air) * steepness + low
    table: list[int] = np.rint(np.clip(scaled, 0, 1) * 255).astype(int).tolist()
    return table


def prepare_file(path: Path, size: int, resize: Resize = "lungs") -> Pixels:
    """Read one file and prepare it: uint8 [size, size]. Raises UnreadableInputError."""
    return prepare(read(path, colour=False).pixels, size, resize)


def _cropped(picture: Image.Image, box: tuple[float, float, float, float], size: int) -> Image.Image:
    """Resample the `box` of a picture to [size, size]; what lies beyond the picture is 0."""
    width, height = picture.size
    left, top, right, bottom = box
    across_scale, down_scale = size / (right - left), size / (bottom - top)
    inner = (max(0.0, left), max(0.0, top), min(float(width), right), min(float(height), bottom))
    at = (round((inner[0] - left) * across_scale), round((inner[1] - top) * down_scale))
    fitted = (
        max(1, min(size - at[0], round((inner[2] - inner[0]) * across_scale))),
        max(1, min(size - at[1], round((inner[3] - inner[1]) * down_scale))),
    )
    # Across, then down: left to itself, Pillow takes the cheaper order first, which rounds otherwise, in some versions.
    across = picture.resize((fitted[0], height), Image.Resampling.BILINEAR, box=(inner[0], 0, inner[2], height))
    small = across.resize(fitted, Image.Resampling.BILINEAR, box=(0, inner[1], fitted[0], inner[3]))
    if fitted == (size, size):
        return small
    canvas = Image.new("L", (size, size))
    canvas.paste(small, at)
    return canvas
