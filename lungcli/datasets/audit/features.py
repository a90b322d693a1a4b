"""Features of slices for the audit: a thumbnail, and numbers a net could use as a shortcut to the class."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from lungcli.core.errors import UnreadableInputError
from lungcli.datasets import groups
from lungcli.datasets.files import Advance, map_in_order
from lungcli.datasets.manifest import Manifest, Rejected, Slice
from lungcli.imaging import preprocessing
from lungcli.imaging.image_io import read
from lungcli.imaging.picture import Grey, content_of, printable
from lungcli.metrics.classification import Floats

Features = dict[str, Floats]

SIDE = 8
_RIM = np.pad(np.zeros((SIDE - 2, SIDE - 2), dtype=bool), 1, constant_values=True)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SliceFeatures:
    """The features of one slice. `thumb` is float32 [4096] as in `groups`; `kind` is the file's format.

    `before` and `after` are the `features` of the slice as read and as prepared for a net. `changed` says that the
    file is no longer the one that was imported.
    """

    thumb: groups.Thumbs
    kind: str
    size: tuple[int, int]
    before: Features
    after: Features
    changed: bool


def features(grey: Grey) -> Features:
    """Features of a slice, float32 [H, W] in 0..1, that do not depend on nodules.

    `border`: mean, spread and median of the outermost 1/32. `border-thumbnail`: the 28 outer of 8×8 mean values.
    `grey`: five quantiles and the spread of all pixels. `thumbnail`: all 8×8 mean values, row by row.
    """
    image = Image.fromarray(np.ascontiguousarray(grey, dtype=np.float32))
    small = np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BOX), dtype=np.float64)
    depth = max(1, min(grey.shape) // 32)
    inner = grey[depth:-depth]
    ring = np.concatenate([part.ravel() for part in (grey[:depth], grey[-depth:], inner[:, :depth], inner[:, -depth:])])
    # A sixteenth of the pixels has about the same quantiles, and is sorted faster.
    some = grey[::4, ::4]
    levels = np.quantile(some, [0.1, 0.25, 0.5, 0.75, 0.9])
    return {
        "border": np.array([ring.mean(), ring.std(), np.median(ring)], dtype=np.float64),
        "border-thumbnail": small[_RIM],
        "grey": np.array([*levels, some.std()], dtype=np.float64),
        "thumbnail": small.ravel(),
    }


def slice_features(path: Path, item: Slice, size: int) -> SliceFeatures | Rejected:
    """Read the slice `item` from `path`, and prepare it at `size` pixels; `Rejected` if it cannot be read."""
    shown = printable(item.path)
    try:
        content = content_of(path, shown)
        picture = read(content, name=shown)
    except UnreadableInputError as error:
        return Rejected(path=item.path, reason=error.message.removeprefix(f"cannot read {shown}: "))
    prepared = preprocessing.prepare(picture.grey, size)
    return SliceFeatures(
        thumb=groups.thumbnail(picture.grey),
        kind=picture.kind,
        size=picture.size,
        before=features(picture.grey),
        after=features(prepared.astype(np.float32) * np.float32(1 / 255)),
        changed=hashlib.sha256(content).hexdigest() != item.sha256,
    )


def dataset_features(
    manifest: Manifest, folder: Path, size: int, advance: Advance | None = None
) -> tuple[SliceFeatures | Rejected, ...]:
    """Return the features of every slice of a data set in `folder`, in the manifest's order."""

    def measure(item: Slice) -> SliceFeatures | Rejected:
        return slice_features(folder / item.path, item, size)

    return tuple(map_in_order(measure, manifest.slices, advance))
