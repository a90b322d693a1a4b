"""The guard before every prediction: is this an axial slice of the lungs, and was it taken like those learned from?

Hard rules on the layout refuse what cannot be such a slice (`layout_rejection`). A Mahalanobis distance to the
training slices (Lee et al. 1807.03888, section 2, on a handful of measures instead of features) marks an unfamiliar
acquisition (`distance`). Every score is a ratio to its limit: above 1 the guard speaks up.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
from numpy.typing import NDArray

from lungcli.core.versioned import Count
from lungcli.imaging import lung_segmentation
from lungcli.imaging.image_io import read
from lungcli.imaging.ood_features import Features, measure

Rows = NDArray[np.float64]

# Scores have no use for more.
_MOST = 100.0
# Of each covariance, this share is dropped: few slices leave it uncertain.
_SHRINKAGE = 0.1
_ACCEPTED = 0.99
# A spread is at least 0.02, so a precision is at most in the thousands.
_MOST_STATISTIC = 1e9


class OodStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """How the training slices were acquired, for telling pictures from elsewhere.

    `mean` and `spread` (standard deviation) of each of `signs`, the inverse covariance `precision`, and the distance
    `threshold` that 99 % of the validation slices lie within; `n` training slices were measured.
    """

    signs: tuple[str, ...]
    mean: tuple[float, ...]
    spread: tuple[float, ...]
    precision: tuple[tuple[float, ...], ...]
    threshold: Annotated[float, msgspec.Meta(gt=0, le=1e6)]
    n: Count

    def __post_init__(self) -> None:
        rows = (self.mean, self.spread, *self.precision)
        count = len(self.signs)
        if not count or len(self.precision) != count or any(len(row) != count for row in rows):
            raise ValueError("each sign of the acquisition needs a mean, a spread and a row of the precision")
        # What is beyond would overflow, and a distance that is no number is none.
        if min(self.spread) <= 0 or any(abs(value) > _MOST_STATISTIC for row in rows for value in row):
            raise ValueError("its statistics of the acquisition are out of range")
        if np.linalg.eigvalsh(np.array(self.precision)).min() <= 0:
            raise ValueError("the precision of its statistics of the acquisition is not positive definite")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """Why the guard speaks up: a `reason` in plain words, and a `score` above 1, the ratio to the limit passed."""

    reason: str
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Acquisition:
    """One sign of the acquisition: the spread it is allowed in any case, and words for too little and too much."""

    spread: float
    less: str
    more: str


# Training slices of one scanner would make any other one alien without a least spread.
_ACQUISITION = {
    "noise": _Acquisition(spread=0.15, less="smoother", more="noisier"),
    "grain": _Acquisition(spread=0.1, less="of finer noise", more="of coarser noise or blurred"),
    "sharpness": _Acquisition(spread=0.08, less="blurrier", more="sharper"),
    "separation": _Acquisition(spread=0.03, less="of less clear lungs", more="of starker contrast"),
    "ambient": _Acquisition(spread=0.03, less="emptier around the body", more="of more around the body"),
    "hollow": _Acquisition(spread=0.06, less="of blacker lungs", more="of brighter lungs"),
    "lung": _Acquisition(spread=0.06, less="of darker lungs", more="of brighter lungs"),
    "tissue": _Acquisition(spread=0.06, less="of darker tissue", more="of brighter tissue"),
    "texture": _Acquisition(spread=0.02, less="of emptier lungs", more="of fuller lungs"),
    "black": _Acquisition(spread=0.05, less="of less black", more="of lungs cut off at black by the window"),
    "white": _Acquisition(spread=0.05, less="of less white", more="of tissue cut off at white by the window"),
}
FEATURES = tuple(_ACQUISITION)
# Measured between neighbouring pixels, whatever lies between them in the body.
_BY_PIXELS = ("noise", "grain", "sharpness")


def rejection(region: str, features: Features) -> Rejection | None:
    """Return why a picture is no axial slice of the lungs by its header or its layout, None where it may be one.

    `region` is that of its Picture.
    """
    if region:
        return Rejection(reason=named_elsewhere(region), score=_MOST)
    return layout_rejection(features)


def named_elsewhere(region: str) -> str:
    """Return why a slice is none of the chest whose header names another `region`."""
    return f"the header says it shows {region}"


def layout_rejection(signs: Features) -> Rejection | None:
    """Return why a picture cannot be an axial slice of the lungs, None where it may be one.

    Limits leave room around windows from soft tissue to full range, gamma .7 to 1.4, crops, blur, and margins of any
    grey. The first rule broken is told, and where the picture has fewer pixels than lungs are looked for in, that too.
    """
    rejection = next((rejection for rule in _RULES if (rejection := rule(signs))), None)
    if rejection is None or signs.side >= lung_segmentation.SIDE or rejection.reason in _AT_ANY_SIZE:
        return rejection
    how = f"hard to tell at so low a resolution ({signs.side:.0f} pixels a side)"
    return Rejection(reason=f"{rejection.reason}; {how}", score=rejection.score)


_AT_ANY_SIZE = ("a colour picture", "blank")


def _coloured(signs: Features) -> Rejection | None:
    return _above(signs.colour, 0.05, _AT_ANY_SIZE[0])


def _blank(signs: Features) -> Rejection | None:
    return _below(signs.contrast, 0.02, _AT_ANY_SIZE[1])


def _negative(signs: Features) -> Rejection | None:
    # A picture cut to the chest wall is bright all around as well: two lungs beside a mediastinum tell it.
    if signs.lungs > max(0.2, signs.inverted) and signs.middle < 0.3 and signs.between <= _BETWEEN:
        return None
    if signs.inverted > max(0.08, signs.lungs):
        return _above(signs.edge, 0.5, "inverted grey: air is brighter than tissue")
    return _above(signs.edge, 0.5 if _cut_off(signs) else 0.75, "no dark air around a body")


def _strokes(signs: Features) -> Rejection | None:
    return _above(signs.thin, 0.4, "mostly text or lines")


def _bodiless(signs: Features) -> Rejection | None:
    return _below(signs.body, 0.12, "no body found")


def _lungless(signs: Features) -> Rejection | None:
    return _below(signs.lungs, 0.04, "no lungs found")


_MIXED = "grey values don't fall into air and tissue, as in an X-ray or MRI"
# Of a chest, lungs and all, as much as this is neither: vessels, edges, and what fills lungs in disease.
_BETWEEN = 0.15


def _mixed(signs: Features) -> Rejection | None:
    # A window that cuts lungs off at black shows fat and muscle apart, and one that spans all of CT shows bone apart:
    # there two modes explain less. What lies in between like lungs may be lungs all the same.
    if signs.hollow <= 0.05:
        limit = 0.62
    elif 0.06 <= signs.aeration <= 0.5 and signs.unevenness <= 0.1:
        limit = 0.70
    else:
        limit = 0.84
    return _below(signs.separation, limit, _MIXED)


def _graded(signs: Features) -> Rejection | None:
    # A window that cuts lungs off at black shows fat between lungs and muscle.
    return _above(signs.between, 0.28 if _cut_off(signs) else _BETWEEN, _MIXED)


def _surroundings(signs: Features) -> Rejection | None:
    return _above(signs.ambient, 0.17, "what surrounds the body is not air")


def _standing(signs: Features) -> Rejection | None:
    if signs.balance < 0.2:
        return None
    return _above(signs.upright, 1.3, "lungs stand upright: a coronal or sagittal plane, or a slice turned on its side")


def _central(signs: Features) -> Rejection | None:
    # Near the top of a chest lungs lie close together as well, but side by side, wider than high.
    if signs.upright < 0.7:
        return None
    return _below(signs.apart, 0.5, "dark in the middle of the body instead of on both sides, as in a brain")


def _abdomen(signs: Features) -> Rejection | None:
    # A slice cut close may run out of the picture as well, but its lungs lie side by side, flatter than they stand.
    if signs.balance < 0.15 or signs.upright < 0.62:
        return None
    return _above(signs.under, 0.6, "the body goes on below the lungs: a coronal or sagittal plane?")


_AIR = "its dark regions hold air and no lung tissue"


def _gas(signs: Features) -> Rejection | None:
    if _cut_off(signs):
        return None
    # Lung tissue is about 150 HU above air, emphysema at least 50; bowel, sinuses and hollow phantoms are air.
    if signs.unevenness < 0.018:
        limit = 0.12
    elif signs.lungs < 0.1 or signs.unevenness < 0.03:
        limit = 0.06
    else:
        limit = 0.04
    return _below(signs.aeration, limit, _AIR)


def _uneven(signs: Features) -> Rejection | None:
    if _cut_off(signs):
        return None
    return _above(signs.unevenness, 0.145, "its dark regions are too uneven to be lungs, as in an X-ray or MRI")


def _undivided(signs: Features) -> Rejection | None:
    if _cut_off(signs):
        return None
    return _above(signs.middle, 0.4, "dark where a chest has its spine and heart")


def _cut_off(signs: Features) -> bool:
    """Say whether the window cuts lungs off at black: then nothing can be told from how dark they are."""
    return signs.lung < 0.03 or signs.black > 0.2


def _tall(signs: Features) -> Rejection | None:
    return _below(signs.aspect, 0.92, "the body is taller than wide, unlike a chest in an axial plane")


_RULES: tuple[Callable[[Features], Rejection | None], ...] = (
    _coloured,
    _blank,
    _negative,
    _strokes,
    _bodiless,
    _lungless,
    _mixed,
    _graded,
    _surroundings,
    _uneven,
    _central,
    _standing,
    _abdomen,
    _tall,
    _undivided,
    _gas,
)


def _above(value: float, limit: float, reason: str) -> Rejection | None:
    return Rejection(reason=reason, score=min(_MOST, value / limit)) if value > limit else None


def _below(value: float, limit: float, reason: str) -> Rejection | None:
    if value >= limit:
        return None
    return Rejection(reason=reason, score=min(_MOST, limit / max(value, 1e-6)))


def fit(train: Rows, validation: Rows) -> OodStatistics | None:
    """Learn what is familiar from rows of acquisition signs (n, 11), in the order of `FEATURES`; None without rows.

    The covariance of the training rows loses a tenth of its correlations and gets a least spread. The threshold lets
    99 % of the rows of either part through; it is at least the √11 that is usual for normally distributed rows.
    """
    if not len(train):
        return None
    mean = train.mean(axis=0)
    covariance = np.atleast_2d(np.cov(train, rowvar=False, bias=True)) * (1 - _SHRINKAGE)
    spread = np.sqrt(train.var(axis=0) + np.square([item.spread for item in _ACQUISITION.values()]))
    np.fill_diagonal(covariance, spread**2)
    precision = np.linalg.inv(covariance)
    usual = math.sqrt(len(FEATURES))
    threshold = max(usual, _limit(train - mean, precision), _limit(validation - mean, precision))
    return OodStatistics(
        signs=FEATURES,
        mean=tuple(mean.tolist()),
        spread=tuple(spread.tolist()),
        precision=tuple(tuple(row) for row in precision.tolist()),
        threshold=threshold,
        n=len(train),
    )


def fit_files(train: Iterable[Path], validation: Iterable[Path]) -> OodStatistics | None:
    """Read slices and `fit` them; about 5 ms a slice. Raises UnreadableInputError."""
    return fit(
        feature_rows(measure(read(path)) for path in train), feature_rows(measure(read(path)) for path in validation)
    )


def feature_rows(features: Iterable[Features]) -> Rows:
    """Acquisition signs of several pictures: float64 (n, 11), in the order of `FEATURES`."""
    rows = [[getattr(signs, name) for name in FEATURES] for signs in features]
    return np.array(rows, dtype=np.float64).reshape(-1, len(FEATURES))


def distance(signs: Features, statistics: OodStatistics) -> float:
    """Distance of a picture's acquisition to the training slices, over the threshold: above 1 it is unfamiliar."""
    away = _away(signs, statistics)
    return min(_MOST, _mahalanobis(away, np.array(statistics.precision)) / statistics.threshold)


def ood_reason(signs: Features, statistics: OodStatistics) -> Rejection | None:
    """Return how a picture's acquisition differs most from the training slices; None where it is familiar."""
    score = distance(signs, statistics)
    if score <= 1:
        return None
    away = _away(signs, statistics) / np.array(statistics.spread)
    furthest = int(np.abs(away).argmax())
    name = statistics.signs[furthest]
    how = _ACQUISITION[name].more if away[furthest] > 0 else _ACQUISITION[name].less
    # Fewer pixels a centimetre make all edges steep.
    if name in _BY_PIXELS and signs.side < lung_segmentation.SIDE:
        how = f"of lower resolution ({signs.side:.0f} pixels a side)"
    return Rejection(reason=f"unfamiliar acquisition: {how} than the slices it learned from", score=score)


def understands(statistics: OodStatistics) -> bool:
    """Tell whether every sign of `statistics` is measured here."""
    return set(statistics.signs) <= set(FEATURES)


def _away(signs: Features, statistics: OodStatistics) -> Rows:
    values: list[float] = [getattr(signs, name) for name in statistics.signs]
    away: Rows = np.array(values) - np.array(statistics.mean)
    return away


def _mahalanobis(away: NDArray[np.floating], precision: NDArray[np.floating]) -> float:
    return math.sqrt(max(0.0, float(away @ precision @ away)))


def _limit(away: NDArray[np.floating], precision: NDArray[np.floating]) -> float:
    """Distance within which 99 % of the rows lie, 0 without any."""
    distances = sorted(_mahalanobis(row, precision) for row in away)
    # The k-th of n is the smallest value that lets the share k/n through.
    return distances[math.ceil(_ACCEPTED * len(distances)) - 1] if distances else 0.0
