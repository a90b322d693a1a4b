"""Why a prediction: which regions of a slice support a class, from the model file alone, float or int8.

Parts of the slice are covered one after another. Where a net gives evidence at as many places, heat is read from that
in one pass; from fewer places than that a net sees nearly all of the slice, and their map points beside the lesion.
Heat says where the net looked, not what a radiologist would see there.
"""

import functools
import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter
from PIL.PngImagePlugin import PngInfo

from lungcli import DISCLAIMER
from lungcli.imaging.lung_segmentation import Box, Outline
from lungcli.imaging.picture import Grey, encoded
from lungcli.modelfile.model_file import Model
from lungcli.predict.predict import SliceImage

Heat = NDArray[np.float32]
Pixels = NDArray[np.uint8]

# Occlusion covers squares of two by two of so many cells a side, a cell apart: 169 copies of the slice.
CELLS = 12
_BATCH = 32

# Colours of rising lightness, from violet over orange to pale yellow: told apart without seeing red or green.
_ANCHORS = ((0, 0, 4), (66, 10, 104), (147, 38, 103), (221, 81, 58), (252, 165, 10), (252, 255, 164))
_OPAQUE = 0.8
# Over this share of the crop's side heat fades towards the outline of the lungs.
_FADES = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """Where heat is greatest: column `x` and row `y`, in pixels."""

    x: int
    y: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Explained:
    """The regions that support `label`, ready to be shown.

    `picture` is the whole picture with its heat, uint8 RGB [H, W, 3], and `peak` where heat is greatest in it, None
    where no region supports the label. `slice` is what the net saw, grey, `strength` its heat (0: none, 255: most),
    both uint8 [S, S], and `overlay` the one painted over the other, RGB [S, S, 3].
    """

    label: str
    peak: Peak | None
    picture: Pixels
    slice: Pixels
    strength: Pixels
    overlay: Pixels


def explain(model: Model, prepared: NDArray[np.uint8], label: int) -> Heat:
    """Heat of class number `label` over a prepared slice, uint8 [S, S]: float32 [h, w], in logits.

    Heat is what a place adds to the logit of the class beyond what it adds to the mean logit of all classes: what it
    adds to all alike changes no probability. Negative heat counts against the class. Raises ValueError when the slice
    is of another size or type than the net takes, or there is no such class.
    """
    if not 0 <= label < len(model.card.classes):
        raise ValueError(f"{model.path.name} knows {len(model.card.classes)} classes, none has the number {label}")
    evidence = model.evidence(prepared[None])
    if evidence is None or min(evidence.shape[2:]) < CELLS:
        return occlusion(model, prepared, label)
    return _beyond_mean(evidence[0], label)


def explained(model: Model, image: SliceImage, label: str) -> Explained:
    """Explain the class `label` on what `predict` has captured. Raises ValueError for an unknown class."""
    heat = explain(model, image.prepared, model.card.classes.index(label))
    laid = in_picture(heat, image.chest.box, image.chest.outline, (image.grey.shape[0], image.grey.shape[1]))
    side = model.card.size
    over = np.array(Image.fromarray(heat).resize((side, side), Image.Resampling.BILINEAR), dtype=np.float32)
    return Explained(
        label=label,
        peak=peak(laid),
        picture=overlay(image.grey, laid),
        slice=image.prepared,
        strength=np.rint(strength(over) * 255).astype(np.uint8),
        overlay=overlay(image.prepared.astype(np.float32) / np.float32(255), over),
    )


def png(explained: Explained) -> bytes:
    """Encode the whole picture with its heat as PNG; it says in itself what it shows."""
    about = PngInfo()
    about.add_text("Description", f"regions that support {explained.label}, from violet to yellow. {DISCLAIMER}")
    return encoded(Image.fromarray(explained.picture), pnginfo=about, compress_level=1)


def occlusion(model: Model, prepared: NDArray[np.uint8], label: int) -> Heat:
    """Heat by covering places of the slice and watching the logit of a class fall: float32 [12, 12].

    Occlusion sensitivity (Zeiler & Fergus, 1311.2901, section 4.2), but each square is covered with the median grey
    around it, as one grey for all would put bright spots into lungs or holes into tissue. A cell's heat is the mean
    over the squares that cover it.
    """
    edges = np.rint(np.linspace(0, model.card.size, CELLS + 1)).astype(np.intp)
    places = []
    # Squares reach over the slice's edge, so that each cell is covered four times.
    for row, column in itertools.product(range(-1, CELLS), repeat=2):
        top, bottom, left, right = edges[np.clip([row, row + 2, column, column + 2], 0, CELLS)]
        above, below, before, behind = edges[np.clip([row - 1, row + 3, column - 1, column + 3], 0, CELLS)]
        cover = np.uint8(np.median(prepared[above:below, before:behind]))
        # Beyond the lungs a slice is white, and covering it would change no logit.
        if (prepared[top:bottom, left:right] != cover).any():
            places.append((row, column, (slice(top, bottom), slice(left, right)), cover))
    whole = _beyond_mean(model.logits(prepared[None])[0], label)
    heat = np.zeros((CELLS, CELLS), dtype=np.float32)
    for start in range(0, len(places), _BATCH):
        chosen = places[start : start + _BATCH]
        copies = np.repeat(prepared[None], len(chosen), axis=0)
        for copy, (_, _, square, cover) in zip(copies, chosen, strict=True):
            copy[square] = cover
        for logits, (row, column, _, _) in zip(model.logits(copies), chosen, strict=True):
            heat[max(0, row) : row + 2, max(0, column) : column + 2] += (whole - _beyond_mean(logits, label)) / 4
    return heat


def in_picture(heat: Heat, box: Box, outline: Outline, shape: tuple[int, int]) -> Heat:
    """Lay heat [h, w] over the picture of `shape` (H, W) that the slice was cropped from: float32 [H, W].

    `box` and `outline` are those of the lungs' segmentation. Between the middles of places heat is interpolated
    bilinearly. What the net did not see has none: what lies beyond its crop or beyond the outline, towards which heat
    fades.
    """
    height, width = heat.shape
    left, top, right, bottom = box
    across, down = width / (right - left), height / (bottom - top)
    laid = Image.fromarray(heat).transform(
        (shape[1], shape[0]),
        Image.Transform.AFFINE,
        (across, 0.0, -left * across, 0.0, down, -top * down),
        Image.Resampling.BILINEAR,
    )
    values = np.array(laid, dtype=np.float32)
    return values * _inside(box, outline, shape) if outline else values


def _inside(box: Box, outline: Outline, shape: tuple[int, int]) -> Heat:
    """How far within the outline of the lungs a place of a picture of `shape` (H, W) is: 0 without, 1 well within."""
    left, _, right, _ = box
    mask = Image.new("L", (shape[1], shape[0]))
    ImageDraw.Draw(mask).polygon(outline, fill=255)
    blurred = np.asarray(mask.filter(ImageFilter.GaussianBlur(_FADES * (right - left))), dtype=np.float32)
    # Just inside the edge of a half-plane the blurred mask is a half.
    within: Heat = np.clip(blurred / np.float32(127.5) - 1, 0, 1)
    return within


def peak(heat: Heat) -> Peak | None:
    """Return the middle of where heat is greatest; None where no region supports the class."""
    most = float(heat.max())
    if most <= 0:
        return None
    rows, columns = np.nonzero(heat >= most * (1 - 1e-6))
    middle = int(np.argmin((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2))
    return Peak(x=int(columns[middle]), y=int(rows[middle]))


def strength(heat: Heat) -> Heat:
    """Heat that supports the class as a share of the greatest, 0 to 1; heat against it is 0."""
    positive: Heat = np.maximum(heat, np.float32(0))
    share: Heat = positive / np.float32(max(float(positive.max()), 1e-30))
    return share


def layer(heat: Heat) -> Image.Image:
    """Heat as colours to lay over a slice of the same shape, the more opaque the stronger; none where it is 0."""
    share = Image.fromarray(np.rint(strength(heat) * np.float32(255)).astype(np.uint8))
    colour = share.copy()
    colour.putpalette(_palette())
    rgba = colour.convert("RGBA")
    rgba.putalpha(share.point([round(255 * _OPAQUE * level / 255) for level in range(256)]))
    return rgba


def overlay(grey: Grey, heat: Heat) -> Pixels:
    """Paint heat over a slice in 0..1, both [H, W], the more opaque the stronger: uint8 RGB [H, W, 3]."""
    slice_ = Image.fromarray(levels(grey)).convert("RGBA")
    return np.asarray(Image.alpha_composite(slice_, layer(heat)).convert("RGB"))


def levels(grey: Grey) -> Pixels:
    """Return a slice in 0..1, any shape, in levels of grey: uint8."""
    return np.asarray(np.rint(np.clip(grey, 0, 1) * np.float32(255)), dtype=np.uint8)


@functools.cache
def _palette() -> bytes:
    shares = np.linspace(0, 1, 256, dtype=np.float32)
    return np.rint(colours(shares)).astype(np.uint8).tobytes()


def colours(share: NDArray[np.float32]) -> Heat:
    """Colours of shares 0..1, any shape: float32 RGB [..., 3] in 0..255."""
    at = np.linspace(0, 1, len(_ANCHORS))
    channels = [np.interp(share, at, [anchor[channel] for anchor in _ANCHORS]) for channel in range(3)]
    return np.stack(channels, axis=-1).astype(np.float32)


def _beyond_mean(values: NDArray[np.float32], label: int) -> Heat:
    """Value of one class, along the first axis, less the mean of all."""
    beyond: Heat = values[label] - values.mean(axis=0)
    return beyond
