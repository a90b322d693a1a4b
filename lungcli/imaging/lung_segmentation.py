"""Finding the body and the lungs in a slice, and the two greys that every CT slice of a chest has.

Everything is decided on a copy whose shorter side has 100 to 200 pixels. Thresholds come from the slice itself, so
that the window, the gamma and the margins a picture was exported with matter little.
"""

import threading
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lungcli.imaging.connected_components import Mask, label
from lungcli.imaging.picture import Grey

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

# Rows and columns of a frame differ by compression alone.
_FLAT = 0.03

# Middles of the 64 bins of a histogram over 0..1.
_CENTRES = (np.arange(64) + 0.5) / 64

# Soft tissue and lung air nearer than this are no chest, or a window that shows none.
_CONTRAST_AT_LEAST = 0.08


@dataclass(frozen=True, slots=True, kw_only=True)
class LungSegmentation:
    """The body and the lungs of a slice.

    `box` is the square around the lungs as (left, top, right, bottom) in pixels of the picture; it may reach beyond
    it. `body` and `lungs` are masks of `small`, a copy each pixel of which is `factor`² pixels of the picture. `air`
    and `tissue` are the median greys, 0..1, of the lungs and of the soft tissue around them. `failure_reason` says in
    words why no lungs were found; the box is then that of the body, or the whole picture, and the greys are the 1st and
    the 99th percentile of what is in it.
    """

    box: tuple[float, float, float, float]
    small: Grey
    body: Mask
    lungs: Mask
    factor: int
    air: float
    tissue: float
    failure_reason: str = ""


def segment(grey: Grey) -> LungSegmentation:
    """Find the chest in a slice, float32 [H, W] in 0..1.

    The body is the largest bright region; lungs are the dark regions within it. Never fails: where there are no
    lungs, `failure_reason` says why.
    """
    return segment_image(as_image(grey))


def as_image(values: Grey | Mask) -> Image.Image:
    """A slice, or a mask of it, as Pillow holds it: a copy, mode F."""
    height, width = values.shape
    # What `Image.fromarray` does, without blackening first what is written over.
    picture = Image.new("F", (width, height), None)
    picture.frombytes(np.ascontiguousarray(values, dtype=np.float32), "raw", "F")
    return picture


def segment_image(picture: Image.Image) -> LungSegmentation:
    """`segment` for who has the picture already: to copy it costs as much as to make it small."""
    factor = max(1, min(picture.size) // SIDE)
    small: Grey = np.asarray(picture.reduce(factor))
    with SHORT_STEPS:
        return _found(small, factor)


def _found(small: Grey, factor: int) -> LungSegmentation:
    content = _content(small)
    bright, body, lungs = _best(small, content)
    if np.count_nonzero(body) / body.size < _BODY_AT_LEAST:
        return _without_lungs(factor, small, np.ones_like(body), "no body found")
    if not lungs.any():
        return _without_lungs(factor, small, body, "no lungs found")
    around = _square(bounds(_balanced(lungs, body)), margin=0.06)
    air, tissue = _anchors(small, lungs, body & bright, around)
    if tissue - air < _CONTRAST_AT_LEAST:
        return _without_lungs(factor, small, body, "lungs and soft tissue have the same grey")
    return LungSegmentation(
        box=_enlarged(around, factor), small=small, body=body, lungs=lungs, factor=factor, air=air, tissue=tissue
    )


def otsu(values: NDArray[np.float32]) -> float:
    """Threshold between the two classes of values in 0..1 that it makes most uniform (Otsu 1979, eq. 12).

    0 for no values.
    """
    if not len(values):
        return 0.0
    levels = np.minimum(np.maximum(values * 64, 0), 63).astype(np.intp).ravel()
    counts = np.bincount(levels, minlength=64)
    below = counts.cumsum()
    above = below[-1] - below
    mass = (counts * _CENTRES).cumsum()
    # Nothing on one side is no class.
    apart = (mass / np.maximum(below, 1) - (mass[-1] - mass) / np.maximum(above, 1)) ** 2
    best = below * above * apart
    # A gap between the classes makes every threshold in it equally good: take its middle.
    at = np.flatnonzero(best >= best.max() * (1 - 1e-9))
    return float((at.mean() + 1) / 64)


def _content(small: Grey) -> Mask:
    """The picture without a frame of one grey around it, which an export or a conversion may have added."""
    top, bottom = _unframed(small)
    left, right = _unframed(small[top:bottom].T)
    content = np.zeros(small.shape, dtype=np.bool_)
    content[top:bottom, left:right] = True
    return content


def _unframed(lines: Grey) -> tuple[int, int]:
    """First line and end of what is left without the lines at both ends that have the one grey of the outermost."""
    low, high = lines.min(axis=1), lines.max(axis=1)
    bounds = []
    for edge in (0, -1):
        framed = (high <= low[edge] + _FLAT) & (low >= high[edge] - _FLAT)
        bounds.append(int((framed if edge == 0 else framed[::-1]).argmin()))
    first, end = bounds[0], len(lines) - bounds[1]
    return (first, end) if first < end else (0, len(lines))


def _middle(content: Mask) -> Mask:
    """The ellipse that fills the content: beyond it a scanner shows nothing, in a grey of its own."""
    left, top, right, bottom = bounds(content)
    height, width = content.shape
    down = (2 * np.arange(height) + 1 - top - bottom) / (bottom - top)
    across = (2 * np.arange(width) + 1 - left - right) / (right - left)
    middle: Mask = (down[:, None] ** 2 + across[None, :] ** 2) <= 1
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


def _best(small: Grey, content: Mask) -> tuple[Mask, Mask, Mask]:
    """What is bright, the body, and its lungs: the first of the ways to part them that finds lungs, or the first."""
    values = small[_middle(content)]
    threshold = otsu(values)
    first = None
    # A window for soft tissue has lungs and air at black and fat halfway: there the second cut is the right one.
    for cut in (threshold, otsu(values[values < threshold])):
        bright = (small >= cut) & content
        # A chest wall may be thinner than a pixel; but to grow it at once would weld some bodies to their tables.
        for grow in (False, True):
            body, lungs = _segmented(bright, grow=grow)
            first = first or (bright, body, lungs)
            if lungs.any():
                return bright, body, lungs
    return first or (content, content, ~content)


def _segmented(bright: Mask, *, grow: bool) -> tuple[Mask, Mask]:
    """The body, filled, and the lungs in it; either may be empty."""
    wall = _largest(_grown(bright) if grow else bright)
    inside = _inside(~wall)
    body = ~_grown(~(wall | inside)) if grow else wall | inside
    return body, _lungs(body & ~bright, inside, body)


def _largest(mask: Mask) -> Mask:
    regions, sizes = label(mask)
    largest: Mask = (regions == sizes.argmax()) & mask
    return largest


def _inside(rest: Mask) -> Mask:
    """Regions of what is not body that the body encloses, or that only touch the picture's edge in a cut."""
    regions, sizes = label(rest)
    border = np.concatenate([regions[0], regions[-1], regions[:, 0], regions[:, -1]])
    touching = np.bincount(border, minlength=len(sizes)) > _BORDER_MEANS_OUTSIDE * sum(rest.shape) / 2
    corners = regions[[0, 0, -1, -1], [0, -1, 0, -1]]
    touching[corners] = True
    touching[0] = True
    enclosed: Mask = ~touching[regions]
    return enclosed


def _lungs(dark: Mask, inside: Mask, body: Mask) -> Mask:
    """Large dark regions of the body that reach into what its wall encloses."""
    regions, sizes = label(dark)
    if len(sizes) == 1:
        return dark
    reaching = np.bincount(regions[inside], minlength=len(sizes)) > 0
    sizes[~reaching] = 0
    chosen = sizes >= max(_LUNG_AT_LEAST * body.size, _BESIDE_LARGEST * int(sizes.max()))
    lungs: Mask = chosen[regions]
    low, high = _LUNGS_OF_BODY
    share = np.count_nonzero(lungs) / np.count_nonzero(body)
    return lungs if low <= share <= high else np.zeros_like(lungs)


def _balanced(lungs: Mask, body: Mask) -> Mask:
    """Lungs, joined by their mirror image where there is one only: the other may be full of fluid, or gone."""
    columns = np.flatnonzero(body.any(axis=0))
    middle = (int(columns[0]) + int(columns[-1])) / 2
    centre = float(np.nonzero(lungs)[1].mean())
    if abs(centre - middle) <= 0.12 * (columns[-1] - columns[0]):
        return lungs
    mirrored = np.zeros_like(lungs)
    rows, at = np.nonzero(lungs)
    other = np.clip(np.rint(2 * middle - at).astype(np.intp), 0, lungs.shape[1] - 1)
    mirrored[rows, other] = True
    return lungs | mirrored


def bounds(mask: Mask) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of a mask that is not empty; right and bottom are beyond it."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _square(bounds: tuple[int, int, int, int], margin: float) -> tuple[float, float, float, float]:
    left, top, right, bottom = bounds
    half = max(right - left, bottom - top) * (0.5 + margin)
    across, down = (left + right) / 2, (top + bottom) / 2
    return across - half, down - half, across + half, down + half


def _anchors(small: Grey, lungs: Mask, bright: Mask, around: tuple[float, float, float, float]) -> tuple[float, float]:
    left, top, right, bottom = (round(value) for value in around)
    near = np.zeros_like(lungs)
    near[max(0, top) : max(0, bottom), max(0, left) : max(0, right)] = True
    return median(small[lungs]), median(small[bright & near])


def median(values: NDArray[np.float32]) -> float:
    """Median of values (n,) none of which is NaN, 0 for no values: what `numpy.median` gives, for half of the time."""
    half, odd = divmod(len(values), 2)
    if not len(values):
        return 0.0
    ordered = np.partition(values, half if odd else (half - 1, half))
    return float(ordered[half] if odd else (ordered[half - 1] + ordered[half]) / np.float32(2))


def _without_lungs(factor: int, small: Grey, body: Mask, missing: str) -> LungSegmentation:
    around = _square(bounds(body), margin=0.0)
    dark, bright = np.percentile(small[body], (1, 99))
    return LungSegmentation(
        box=_enlarged(around, factor),
        small=small,
        body=body,
        lungs=np.zeros_like(body),
        factor=factor,
        air=float(dark),
        tissue=float(bright),
        failure_reason=missing,
    )


def _enlarged(box: tuple[float, float, float, float], factor: int) -> tuple[float, float, float, float]:
    left, top, right, bottom = box
    return left * factor, top * factor, right * factor, bottom * factor
