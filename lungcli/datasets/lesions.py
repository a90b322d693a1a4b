"""Crops of lesions with their masks: of a data set of crops or of whole slices that has masks, or drawn ones."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from lungcli.core import names
from lungcli.core.errors import UsageError
from lungcli.core.recipe import DRAWN_LESIONS
from lungcli.datasets import manifest
from lungcli.datasets.phantom import nodules
from lungcli.imaging.image_io import read
from lungcli.imaging.picture import Pixels
from lungcli.metrics.predictions import MALIGNANT

# Fewer pixels show no shape; a crop of LIDC-IDRI has about 0.7 mm a pixel, so this is 9 mm across.
_LEAST_PIXELS = 130
_PARTS = 5
# As many pixels as the crops of LIDC-IDRI have; on whole slices, too, a pixel is about 0.7 mm.
_SIDE = 128
_HINT = "import crops of lesions with a column `mask`: see lungcli/datasets/README.md"

Part = Literal["train", "val"]

# How many are drawn, as many as of a pack of 200 nodules, and the seed.
_DRAWN: dict[Part, tuple[int, int]] = {"train": (160, 0), "val": (40, 1)}
# To be changed with what is drawn: a training that has begun must not go on with others.
_DRAWN_DIGEST = "drawn nodules, first version"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesions:
    """Crops uint8 (m, C, C) with a lesion in the middle, each on its own grey scale, and their masks, 0 or 1."""

    crops: Pixels
    masks: Pixels

    def __len__(self) -> int:
        return len(self.crops)


def digest(name: str) -> str:
    """Return what changes when the lesions of a data set, or drawn ones, do. Raises UsageError."""
    return _DRAWN_DIGEST if _is_drawn(name) else manifest.load(name).digest


def load(name: str, part: Part, patients: frozenset[str] = frozenset()) -> Lesions:
    """Read the malignant lesions of a part of the data set `name` but for those of `patients`, or draw `DRAWN_LESIONS`.

    One group in five, patients and near-duplicates together, is for validation, whatever is trained. A class such as
    `malignant_rating` counts, too: readers' opinions are no diagnoses, and named apart. Raises UsageError when there is
    none with a mask, UnreadableInputError when a file cannot be read.
    """
    if _is_drawn(name):
        drawn, shapes = nodules.crops(*_DRAWN[part])
        return Lesions(crops=drawn, masks=shapes)
    data = manifest.load(name)
    folder = manifest.folder(data.name)
    files = [
        (folder / item.path, folder / item.mask)
        for item in data.slices
        if item.mask
        and item.label.startswith(MALIGNANT)
        and (item.group % _PARTS == 0) is (part == "val")
        and not (item.patient and item.patient in patients)
    ]
    lesions = [(crop, mask) for crop, mask in map(_read, files) if mask.sum() >= _LEAST_PIXELS]
    if not lesions:
        raise UsageError(f"the data set {data.name!r} has no malignant lesion with a mask", _HINT)
    if len({crop.shape for crop, _ in lesions}) > 1:
        raise UsageError(f"the lesions of {data.name!r} have crops of several sizes", _HINT)
    crops, masks = zip(*lesions, strict=True)
    return Lesions(crops=np.stack(crops), masks=np.stack(masks))


def _is_drawn(name: str) -> bool:
    if names.spelling(name) != names.spelling(DRAWN_LESIONS):
        return False
    is_there = names.spelling(name) in map(names.spelling, manifest.existing())
    return not is_there or manifest.load(name).source.synthetic


def _read(files: tuple[Path, Path]) -> tuple[Pixels, Pixels]:
    crop, mask = (read(path, colour=False).pixels for path in files)
    return _around(crop, mask), (_around(mask, mask) > 0).astype(np.uint8)


def _around(pixels: Pixels, mask: Pixels) -> Pixels:
    """Cut the square of `_SIDE` pixels around the middle of the mask out of a whole slice; a crop stays as it is."""
    if max(pixels.shape) <= _SIDE:
        return pixels
    rows, columns = np.nonzero(mask)
    padded = np.pad(pixels, _SIDE // 2, mode="edge")
    top, left = (round(float(places.mean())) if len(places) else 0 for places in (rows, columns))
    return padded[top : top + _SIDE, left : left + _SIDE]
