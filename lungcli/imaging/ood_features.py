"""What tells an axial lung slice from other pictures, and one acquisition from another: a few cheap measures.

The layout is measured on the small copy that the lungs are segmented in, noise and sharpness on rows of the picture.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lungcli.imaging import lung_segmentation
from lungcli.imaging.connected_components import Mask
from lungcli.imaging.lung_segmentation import LungSegmentation
from lungcli.imaging.picture import Grey, Picture, Pixels

# Rows of the picture that noise is measured on.
ROWS = 32
_BINS = 64
# A border is flat where its grey differs by less than this: JPEG ripples by less.
_FLAT = 10
# What is left without margins has more lines than this.
_FEWEST = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """Measures of one picture; shares lie in 0..1, and grey levels do unless they are said to be of the contrast.

    Layout: `colour` as in Picture; `contrast` between the darkest and the brightest half per cent; `separation`, the
    share of the variance that two modes explain; `edge`, bright share of the border, flat margins cut off; `body`,
    share of the picture; `lungs`, share of the body, and `inverted`, the same of the negative; `hollow`, how much
    brighter than black the lungs are, of the contrast; `ambient`, spread of what surrounds the body, of the contrast;
    `balance`, share of the lungs on the body's smaller side; `upright`, spread of the lungs along y over that along x;
    `apart`, distance of the lungs from the body's middle along x over the spread of the body there;
    `under`, height of the body below the lungs over theirs, where the body runs out of the picture there;
    `thin`, share of what is bright in strokes; `aeration`, where the inside of the lungs lies between the darkest grey
    (0) and soft tissue (1), 1 where no air is seen around the body; `unevenness`, its spread on that scale; `between`,
    share of the body in the middle half of the greys from lungs to soft tissue; `middle`, share of lungs in the middle
    tenth of the body's columns; `aspect`, width of the body over its height, 1 where the
    picture cuts it off on a side.

    Acquisition: `noise` in the tissue and `sharpness` of the steepest edges, of the contrast, log10; `grain`, the
    noise two pixels apart over that of neighbours, log10; `lung` and `tissue`, grey levels; `texture`, spread within
    the lungs, of the contrast; `black` and `white`, shares of lungs and body that are clipped. `side` is the picture's
    shorter one in pixels.
    """

    colour: float
    contrast: float
    separation: float
    edge: float
    body: float
    lungs: float
    inverted: float
    hollow: float
    ambient: float
    balance: float
    upright: float
    under: float
    apart: float
    thin: float
    aeration: float
    unevenness: float
    between: float
    middle: float
    aspect: float
    noise: float
    sharpness: float
    grain: float
    lung: float
    tissue: float
    texture: float
    black: float
    white: float
    side: float


def measure(picture: Picture, segmentation: LungSegmentation | None = None) -> Features:
    """Measure a picture, in about half a millisecond at 512×512.

    `segmentation` is that of the picture, where it is known already.
    """
    segmentation = segmentation or lung_segmentation.segment(picture.pixels)
    with lung_segmentation.SHORT_STEPS:
        return _signs(picture, segmentation)


def _signs(picture: Picture, segmentation: LungSegmentation) -> Features:
    within = _unframed(segmentation.small)
    small = segmentation.small[within].astype(np.float32) * np.float32(1 / 255)
    body, lungs = segmentation.body[within], segmentation.lungs[within]
    low, high = _ends(small)
    span = max(high - low, 1e-6)
    cut, separation = threshold(small, low, high)
    bright = small > cut
    outside = small[~(body | bright)]
    flesh, within_lungs = small[body & bright], small[lungs]
    edge = _edge(bright)
    noise, grain, sharpness = _texture(_within(picture.pixels, segmentation.box), segmentation.tissue, span)
    upright, balance, apart, under = _posture(lungs, body)
    inner = small[_eroded(lungs)] if lungs.any() else within_lungs
    depth = max(segmentation.tissue - low, 1e-6)
    return Features(
        colour=picture.colour,
        contrast=high - low,
        separation=separation,
        edge=edge,
        body=_part(body),
        lungs=_share(lungs, body),
        # Only a picture bright all around can be a negative.
        inverted=_lungs_of_negative(picture.pixels) if edge > 0.5 else 0.0,
        hollow=(segmentation.air - low) / span,
        ambient=float(outside.std()) / span if outside.size > _BINS else 0.0,
        balance=balance,
        upright=upright,
        under=under,
        apart=apart,
        thin=1 - _share(_dilated(_eroded(bright)) & bright, bright),
        aeration=(lung_segmentation.median(inner) - low) / depth if outside.size > _BINS else 1.0,
        unevenness=float(inner.std()) / depth if inner.size else 0.0,
        between=_between(small[body], segmentation),
        middle=_middle(lungs, body),
        aspect=_aspect(body),
        noise=noise,
        sharpness=sharpness,
        grain=grain,
        lung=segmentation.air,
        tissue=segmentation.tissue,
        texture=float(within_lungs.std()) / span if within_lungs.size else 0.0,
        black=_part(within_lungs < 1 / 255),
        white=_part(flesh > 254 / 255),
        side=float(min(picture.pixels.shape)),
    )


def _lungs_of_negative(pixels: Pixels) -> float:
    negative = lung_segmentation.segment(255 - pixels)
    return _share(negative.lungs, negative.body)


def threshold(small: Grey, low: float, high: float) -> tuple[float, float]:
    """Grey value between the two modes of `small`, and the share of the variance that they explain.

    Otsu's criterion (1979, equations 12 and 18) on 64 bins from `low` to `high`. Where modes lie far apart, many
    values are equally good: the middle one is taken.
    """
    if high - low < 1e-3:
        return high, 0.0
    bins = np.clip((small - np.float32(low)) * np.float32(_BINS / (high - low)), 0, _BINS - 1).astype(np.uint8)
    share = np.bincount(bins.ravel(), minlength=_BINS) / small.size
    weight, moment = share.cumsum(), (share * np.arange(_BINS)).cumsum()
    mean = float(moment[-1])
    split = weight * (1 - weight)
    between = np.divide((mean * weight - moment) ** 2, split, out=np.zeros(_BINS), where=split > 1e-9)
    best = float(between.max())
    middle = float(np.flatnonzero(between > 0.999 * best).mean())
    total = float(share @ (np.arange(_BINS) - mean) ** 2)
    return low + (middle + 1) * (high - low) / _BINS, best / total if total else 0.0


def _unframed(small: Pixels) -> tuple[slice, slice]:
    """Rows and columns without flat margins, whatever their grey, and without the next one, which may hold some."""
    rows = _uneven(small)
    return rows, _uneven(small[rows].T)


def _uneven(lines: Pixels) -> slice:
    uneven = np.flatnonzero(lines.max(axis=1) - lines.min(axis=1) > _FLAT)
    if len(uneven) <= _FEWEST:
        return slice(None)
    first, end = int(uneven[0]), int(uneven[-1]) + 1
    return slice(first + (first > 0), end - (end < len(lines)))


def _ends(small: Grey) -> tuple[float, float]:
    """Quantiles .005 and .995."""
    count = small.size
    low, high = count // 200, count - 1 - count // 200
    ordered = np.partition(small, (low, high), axis=None)
    return float(ordered[low]), float(ordered[high])


def _eroded(mask: Mask) -> Mask:
    """Take off what lies next to the outside; the border of the picture is no outside."""
    kept = mask.copy()
    kept[1:] &= mask[:-1]
    kept[:-1] &= mask[1:]
    kept[:, 1:] &= mask[:, :-1]
    kept[:, :-1] &= mask[:, 1:]
    return kept


def _dilated(mask: Mask) -> Mask:
    return ~_eroded(~mask)


def _edge(bright: Mask) -> float:
    sides = (bright[0], bright[-1], bright[:, 0], bright[:, -1])
    return _part(np.concatenate(sides))


def _part(mask: Mask) -> float:
    """Share of a mask that is true, 0 of an empty one."""
    return int(np.count_nonzero(mask)) / max(1, mask.size)


def _share(part: Mask, whole: Mask) -> float:
    return int(np.count_nonzero(part)) / max(1, int(np.count_nonzero(whole)))


def _posture(lungs: Mask, body: Mask) -> tuple[float, float, float, float]:
    """Return `upright`, `balance`, `apart` and `under` of `Features`, 0 where there are no lungs."""
    rows, columns = lungs.sum(axis=1), lungs.sum(axis=0)
    area = int(rows.sum())
    if not area:
        return 0.0, 0.0, 0.0, 0.0
    middle, width = _moments(body.sum(axis=0))
    left = float(columns[: round(middle)].sum() / area)
    at, across = _moments(columns)
    upright = _moments(rows)[1] / max(across, 1e-6)
    apart = math.hypot(across, at - middle) / max(width, 1e-6)
    # Nine tenths of the lungs, so that a few stray pixels don't count.
    top, bottom = np.searchsorted(rows.cumsum(), (0.05 * area, 0.95 * area))
    runs_out = np.count_nonzero(body[-1]) > 0.3 * body.shape[1]
    under = (len(rows) - int(bottom)) / max(1, int(bottom - top)) if runs_out else 0.0
    return upright, min(left, 1 - left), apart, under


def _between(values: Grey, segmentation: LungSegmentation) -> float:
    quarter = (segmentation.tissue - segmentation.air) / 4
    return _part((values > segmentation.air + quarter) & (values < segmentation.tissue - quarter))


def _middle(lungs: Mask, body: Mask) -> float:
    """Share of lungs in the middle tenth of the body's columns, where a chest has its spine and its heart."""
    if not body.any():
        return 0.0
    left, top, right, bottom = lung_segmentation.bounds(body)
    centre, half = (left + right - 1) // 2, max(1, (right - left) // 20)
    return _part(lungs[top:bottom, max(0, centre - half) : centre + half + 1])


def _aspect(body: Mask) -> float:
    if not body.any():
        return 1.0
    left, top, right, bottom = lung_segmentation.bounds(body)
    return (right - left) / (bottom - top) if left > 0 and right < body.shape[1] else 1.0


def _moments(counts: NDArray[np.int64]) -> tuple[float, float]:
    """Mean and standard deviation of the positions that `counts` counts."""
    places, total = np.arange(len(counts)), max(1, int(counts.sum()))
    mean = float(counts @ places) / total
    return mean, math.sqrt(float(counts @ (places - mean) ** 2) / total)


def _within(pixels: Pixels, box: tuple[float, float, float, float]) -> Pixels:
    """The part of a picture in the box (left, top, right, bottom), so that margins and table have no say."""
    left, top, right, bottom = (max(0, round(edge)) for edge in box)
    return pixels[top:bottom, left:right]


def _texture(part: Pixels, tissue: float, span: float) -> tuple[float, float, float]:
    """Return `noise`, `grain` and `sharpness` of `Features`, from rows of the chest.

    Noise is the median second difference along x where all is tissue, as for a normal distribution (median |x| is
    .6745 σ, and the difference has √6 times the spread): anatomy is smooth there, and edges are too few to matter.
    """
    rows = part[:: max(1, len(part) // ROWS)].astype(np.float32) * np.float32(1 / 255)
    if rows.shape[1] < _FEWEST:
        return 0.0, 0.0, 0.0
    flesh = np.abs(rows - np.float32(tissue)) < np.float32(0.15 * span)
    near, far = _bends(rows, flesh, 1) / span, _bends(rows, flesh, 2) / span
    steps = np.abs(rows[:, 1:] - rows[:, :-1]).ravel()
    rank = steps.size - 1 - steps.size // 100
    steepest = float(np.partition(steps, rank)[rank]) / span
    noise = float(np.log10(near + 1e-3))
    return noise, float(np.log10(far + 1e-3)) - noise, float(np.log10(steepest + 1e-3))


def _bends(rows: Grey, flesh: Mask, apart: int) -> float:
    middle, within = rows[:, apart:-apart], flesh[:, apart:-apart]
    within = within & flesh[:, : -2 * apart] & flesh[:, 2 * apart :]
    bends = np.abs(2 * middle - rows[:, : -2 * apart] - rows[:, 2 * apart :])[within]
    return lung_segmentation.median(bends) / (0.6745 * 6**0.5)
