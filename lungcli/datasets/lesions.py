"""Crops of lesions with their masks, read from a data set that has both."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lungcli.core.errors import UsageError
from lungcli.datasets import manifest
from lungcli.datasets.manifest import Manifest, Slice
from lungcli.imaging.image_io import read
from lungcli.metrics.predictions import MALIGNANT

# Fewer pixels show no shape; a crop of LIDC-IDRI has about 0.7 mm a pixel, so this is 9 mm across.
_LEAST_PIXELS = 130
_HINT = "import crops of lesions with a column `mask`: see lungcli/datasets/README.md"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesions:
    """Crops uint8 (m, C, C) with a lesion in the middle, each on its own grey scale, and their masks, 0 or 1."""

    crops: NDArray[np.uint8]
    masks: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.crops)


def load(name: str, patients: frozenset[str] = frozenset()) -> Lesions:
    """Read the malignant lesions of the data set `name` but for those of `patients`, which learning may not see.

    Raises UsageError when it has none with a mask, UnreadableInputError when a file cannot be read.
    """
    data = manifest.load(name)
    usable = [item for item in data.slices if item.label.startswith(MALIGNANT) and item.mask]
    usable = [item for item in usable if item.patient not in patients or not item.patient]
    lesions = [_lesion(data, item) for item in usable]
    lesions = [(crop, mask) for crop, mask in lesions if mask.sum() >= _LEAST_PIXELS]
    if not lesions:
        raise UsageError(f"the data set {data.name!r} has no malignant lesion with a mask", _HINT)
    if len({crop.shape for crop, _ in lesions}) > 1:
        raise UsageError(f"the lesions of {data.name!r} have crops of several sizes", _HINT)
    crops, masks = zip(*lesions, strict=True)
    return Lesions(crops=np.stack(crops), masks=np.stack(masks))


def _lesion(data: Manifest, item: Slice) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    folder = manifest.folder(data.name)
    crop, mask = (read(folder / path, colour=False).grey for path in (item.path, item.mask))
    return np.rint(crop * 255).astype(np.uint8), (mask > 0).astype(np.uint8)
