"""Finding the body and the lungs in a slice, and the two greys that every CT slice of a chest has.

Everything is decided on a copy whose shorter side has 100 to 200 pixels. Thresholds come from the slice itself, so
that the window, the gamma and the margins a picture was exported with matter little.
"""

import functools
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lungcli.imaging.connected_components import Labels, Mask, label
from lungcli.imaging.picture import Grey, Pixels, quantized

Box = tuple[float, float, float, float]
Outline = tuple[tuple[float, float], ...]

SIDE = 100

# Many short steps that hold Python's lock: threads that take them together wait for each other more than they work.
SHORT_STEPS = threading.RLock()

# Shares of the picture, or of the largest region where it says so.
_LUNG_AT_LEAST = 0.006
_BESIDE_LARGEST = 0.15
_BODY_AT_LEAST = 0.08
_BORDER_MEANS_OUTSIDE = 0.20

# Lungs take 4 to 60 % of the section of a body; bowel gas and the gap to a table take less or more.
_LUNGS_OF_BODY = (0.025, 0.75)

# Rows and columns of a frame differ by compression alone, in levels of grey.
_FLAT = 7

# So much of the larger side of both lungs lies beside them in the box, and inside the outline half as much, which still
# holds all that lies on the pleura: a lesion there is 1 cm thick.
_BOX, _MARGIN = 1.12, 0.08

# Soft tissue and lung air nearer than this are no chest, or a window that shows none.
_CONTRAST_AT_LEAST = 0.08


@dataclass(frozen=True, slots=True, kw_only=True)
class LungSegmentation:
    """The body and the lungs of a slice.

    `box` is the square around the lungs as (left, top, right, bottom) in pixels of the picture; it may reach beyond
    it. `outline` is the convex hull of the lungs, a little wider, as points (x, y) in pixels of the picture. `body` and
    `lungs` are masks of `small`, a copy each pixel of which is `factor`² pixels of the picture. `air` and `tissue` are
    the median greys, 0..1, of the lungs and of the soft tissue around them. `failure_reason` says in words why no lungs
    were found; the box is then that of the body, or the whole picture, the outline is empty, and the greys are the 1st
    and the 99th percentile of what is in the box.
    """

    box: Box
    outline: Outline
    small: Pixels
    body: Mask
    lungs: Mask
    factor: int
    air: float
    tissue: float
    failure_reason: str = ""


def segment(slice_: Grey | Pixels) -> LungSegmentation:
    """Find the chest in a slice [H, W], uint8, or float32 in 0..1.

    The body is the largest bright region; lungs are the dark regions within it. Never fails: where there are no
    lungs, `failure_reason` says why.
    """
    return segment_image(as_image(slice_))


def as_image(slice_: Grey | Pixels) -> Image.Image:
    """A slice [H, W], uint8, or float32 in 0..1, as Pillow holds it: mode L."""
    return Image.fromarray(np.ascontiguousarray(quantized(slice_)))


def segment_image(picture: Image.Image) -> LungSegmentation:
    """`segment` for who has the picture, mode L, already."""
    factor = max(1, min(picture.size) // SIDE)
    small: Pixels = np.asarray(picture.reduce(factor))
    with SHORT_STEPS:
        return _found(small, factor)


def _found(small: Pixels, factor: int) -> LungSegmentation:
    content = _content(small)
    bright, body, lungs = _best(small, content)
    if np.count_nonzero(body) / body.size < _BODY_AT_LEAST:
        return _without_lungs(factor, small, np.ones_like(body), "no body found")
    if not lungs.any():
        return _without_lungs(factor, small, body, "no lungs found")
    balanced = _balanced(lungs, body)
    around = _square(bounds(balanced), _BOX)
    air, tissue = _anchors(small, lungs, body & bright, around)
    if tissue - air < _CONTRAST_AT_LEAST:
        return _without_lungs(factor, small, body, "lungs and soft tissue have the same grey")
    return LungSegmentation(
        box=_enlarged(around, factor),
        outline=_outline(balanced, body, factor),
        small=small,
        body=body,
        lungs=lungs,
        factor=factor,
        air=air,
        tissue=tissue,
    )


def otsu(values: Pixels) -> float:
    """Least level of the upper one of the two classes that it makes most uniform (Otsu 1979, eq. 12).

    0 for no values (n,).
    """
    counts = np.bincount(values, minlength=256)
    below = counts.cumsum()
    above = below[-1] - below
    mass = (counts * np.arange(256)).cumsum()
    # Nothing on one side is no class.
    apart = mass / np.maximum(below, 1) - (mass[-1] - mass) / np.maximum(above, 1)
    best = below * above * apart**2
    # A gap between the classes makes every threshold in it equally good: take its middle.
    at = np.flatnonzero(best >= best.max() * (1 - 1e-9))
    return float(at.mean() + 1) if len(values) else 0.0


def _content(small: Pixels) -> Mask:
    """The picture without a frame of one grey around it, which an export or a conversion may have added."""
    top, bottom = _unframed(small)
    left, right = _unframed(small[top:bottom].T)
    content = np.zeros(small.shape, dtype=np.bool_)
    content[top:bottom, left:right] = True
    return content


def _unframed(lines: Pixels) -> tuple[int, int]:
    """First line and end of what is left without the lines at both ends that have the one grey of the outermost."""
    low, high = lines.min(axis=1).astype(np.int16), lines.max(axis=1).astype(np.int16)
    bounds = []
    for edge in (0, -1):
        framed = (high <= low[edge] + _FLAT) & (low >= high[edge] - _FLAT)
        bounds.append(int((framed if edge == 0 else framed[::-1]).argmin()))
    first, end = bounds[0], len(lines) - bounds[1]
    return (first, end) if first < end else (0, len(lines))


@functools.lru_cache(maxsize=64)
def _middle(shape: tuple[int, int], content: tuple[int, int, int, int]) -> Mask:
    """The ellipse that fills the content: beyond it a scanner shows nothing, in a grey of its own."""
    left, top, right, bottom = content
    height, width = shape
    down = (2 * np.arange(height) + 1 - top - bottom) / (bottom - top)
    across = (2 * np.arange(width) + 1 - left - right) / (right - left)
    middle: Mask = (down[:, None] ** 2 + across[None, :] ** 2) <= 1
    middle.setflags(write=False)
    return middle


def _grown(mask: Mask) -> Mask:
    """Grow a mask by a pixel on all sides, corners included."""
    tall = mask.copy()
    tall[1:] |= mask[:-1]
    tall[:-1] |= mask[1:]
    grown = tall.copy()
    grown[:, 1:] |= tall[:, :-1]
    grown[:, :-1] |= tall[:, 1:]
    return grown


def _best(small: Pixels, content: Mask) -> tuple[Mask, Mask, Mask]:
    """What is bright, the body, and its lungs: the first of the ways to part them that finds lungs, or the first."""
    first = None
    # A chest wall may be thinner than a pixel; but to grow it at once would weld some bodies to their tables.
    for bright in _brights(small, content):
        for grow in (False, True):
            body, lungs = _segmented(bright, grow=grow)
            first = first or (bright, body, lungs)
            if lungs.any():
                return bright, body, lungs
    return first or (content, content, ~content)


def _brights(small: Pixels, content: Mask) -> Iterator[Mask]:
    """What is bright, by one threshold and, where that is asked for, by another."""
    values = small[_middle(small.shape, bounds(content))]
    threshold = otsu(values)
    yield (small >= threshold) & content
    # A window for soft tissue has lungs and air at black and fat halfway: there the second cut is the right one.
    yield (small >= otsu(values[values < threshold])) & content


def _segmented(bright: Mask, *, grow: bool) -> tuple[Mask, Mask]:
    """The body, filled, and the lungs in it; either may be empty."""
    wall = _largest(_grown(bright) if grow else bright)
    regions = _enclosed(~wall)
    inside = regions > 0
    body = ~_grown(~(wall | inside)) if grow else wall | inside
    dark = body & ~bright
    if grow:
        # The wall has grown into the lungs, which may be in pieces now.
        regions, sizes = label(dark)
        dark &= (np.bincount(regions[inside], minlength=len(sizes)) > 0)[regions]
    return body, _lungs(np.where(dark, regions, 0), body)


def _largest(mask: Mask) -> Mask:
    regions, sizes = label(mask)
    largest: Mask = (regions == sizes.argmax()) & mask
    return largest


def _enclosed(rest: Mask) -> Labels:
    """Numbers of the regions of what is not body that the body encloses, or that only touch the edge in a cut."""
    regions, sizes = label(rest)
    border = np.concatenate([regions[0], regions[-1], regions[:, 0], regions[:, -1]])
    touching = np.bincount(border, minlength=len(sizes)) > _BORDER_MEANS_OUTSIDE * sum(rest.shape) / 2
    touching[regions[[0, 0, -1, -1], [0, -1, 0, -1]]] = True
    numbers = np.arange(len(sizes))
    numbers[touching] = 0
    return numbers[regions]


def _lungs(dark: Labels, body: Mask) -> Mask:
    """Dark regions of the body, numbered, that are large enough for lungs; none where all of them together are not."""
    sizes = np.bincount(dark.ravel())
    sizes[0] = 0
    chosen = sizes >= max(_LUNG_AT_LEAST * body.size, _BESIDE_LARGEST * int(sizes.max()))
    lungs: Mask = chosen[dark]
    low, high = _LUNGS_OF_BODY
    share = int(np.count_nonzero(lungs)) / max(1, int(np.count_nonzero(body)))
    return lungs if low <= share <= high else np.zeros_like(lungs)


def _balanced(lungs: Mask, body: Mask) -> Mask:
    """Lungs, joined by their mirror image where there is one only: the other may be full of fluid, or gone."""
    left, _, right, _ = bounds(body)
    columns, places = lungs.sum(axis=0), np.arange(lungs.shape[1])
    if abs(float(columns @ places) / int(columns.sum()) - (left + right - 1) / 2) <= 0.12 * (right - 1 - left):
        return lungs
    mirrored = np.zeros_like(lungs)
    mirrored[:, left:right] = lungs[:, left:right][:, ::-1]
    return lungs | mirrored


def bounds(mask: Mask) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of a mask that is not empty; right and bottom are beyond it."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _square(bounds: tuple[int, int, int, int], wider: float) -> Box:
    left, top, right, bottom = bounds
    half = max(right - left, bottom - top) * wider / 2
    across, down = (left + right) / 2, (top + bottom) / 2
    return across - half, down - half, across + half, down + half


def _outline(lungs: Mask, body: Mask, factor: int) -> Outline:
    """The convex hull of lungs that are not empty, wider on all sides within the body, in pixels of the picture."""
    left, top, right, bottom = bounds(lungs)
    rows = np.flatnonzero(lungs.any(axis=1))
    first, last = lungs[rows].argmax(axis=1), lungs.shape[1] - 1 - lungs[rows, ::-1].argmax(axis=1)
    up, down = (list(zip(side.tolist(), rows.tolist(), strict=True)) for side in (first, last))
    hull = np.array(_convex(up[::-1]) + _convex(down)) + 0.5
    middle, sides = np.array([left + right, top + bottom]) / 2, np.array([right - left, bottom - top])
    widened = middle + (1 + _MARGIN * sides.max() / sides) * (hull - middle)
    limits = bounds(body)
    within = np.clip(widened, np.add(limits[:2], 1), np.subtract(limits[2:], 1)) * factor
    return tuple((x, y) for x, y in within.tolist())


def _convex(chain: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The points of a chain that turn right only, as half of a hull does (Andrew 1979)."""
    kept: list[tuple[int, int]] = []
    for x, y in chain:
        while len(kept) > 1:
            (ax, ay), (bx, by) = kept[-2:]
            if (bx - ax) * (y - ay) - (by - ay) * (x - ax) > 0:
                break
            kept.pop()
        kept.append((x, y))
    return kept


def _anchors(small: Pixels, lungs: Mask, bright: Mask, around: Box) -> tuple[float, float]:
    left, top, right, bottom = (round(value) for value in around)
    near = (slice(max(0, top), max(0, bottom)), slice(max(0, left), max(0, right)))
    return median(small[lungs]) / 255, median(small[near][bright[near]]) / 255


def median(values: NDArray[np.generic]) -> float:
    """Median of values (n,) none of which is NaN, 0 for no values: what `numpy.median` gives, for half of the time."""
    half, odd = divmod(len(values), 2)
    if not len(values):
        return 0.0
    ordered = np.partition(values, half if odd else (half - 1, half))
    return float(ordered[half]) if odd else (float(ordered[half - 1]) + float(ordered[half])) / 2


def _without_lungs(factor: int, small: Pixels, body: Mask, missing: str) -> LungSegmentation:
    around = _square(bounds(body), 1.0)
    dark, bright = np.percentile(small[body], (1, 99))
    return LungSegmentation(
        box=_enlarged(around, factor),
        outline=(),
        small=small,
        body=body,
        lungs=np.zeros_like(body),
        factor=factor,
        air=float(dark) / 255,
        tissue=float(bright) / 255,
        failure_reason=missing,
    )


def _enlarged(box: Box, factor: int) -> Box:
    left, top, right, bottom = box
    return left * factor, top * factor, right * factor, bottom * factor
