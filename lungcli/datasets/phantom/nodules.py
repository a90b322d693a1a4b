"""Crops of synthetic nodules with their masks, for where no real lesions are at hand."""

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lungcli.datasets.phantom import anatomy, lung
from lungcli.datasets.phantom.lung import Nodule

# As the crops of LIDC-IDRI: so many pixels, each so many mm.
_SIDE, _PIXEL = 128, 0.7
_RADIUS = (5.0, 16.0)
# HU of a lung window, and of its noise.
_BOTTOM, _WIDTH, _NOISE = -1350.0, 1500.0, 20.0


def crops(count: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draw nodules in lung, each in the middle of its crop, and their masks, 0 or 1: two of uint8 (count, C, C).

    A pixel is 0.7 mm. The same `seed` gives the same ones. They have lobes, and three in five spicules.
    """
    drawn = [_crop(np.random.default_rng((seed, number))) for number in range(count)]
    return np.stack([crop for crop, _ in drawn]), np.stack([mask for _, mask in drawn])


def _crop(rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    body = replace(anatomy.draw_body(rng), fov=_SIDE * _PIXEL, x=0.0, y=0.0, tilt=0.0)
    radius = float(rng.uniform(*_RADIUS))
    turns = rng.uniform(0, 2 * math.pi, int(rng.integers(10, 22)) if rng.random() < 0.6 else 0)
    nodule = Nodule(
        u=0.0,
        v=0.0,
        z=0.0,
        radius=radius,
        reach=radius,
        density=float(rng.uniform(-100, 60)),
        lobes=tuple((float(rng.uniform(0.06, 0.16)), waves, float(rng.uniform(0, 2 * math.pi))) for waves in (2, 3, 5)),
        spicules=tuple((float(turn), float(rng.uniform(1.2, 1.65))) for turn in turns),
    )
    around = np.full((_SIDE, _SIDE), body.aeration, dtype=np.float32)
    hu = around.copy()
    lung.draw_nodule(hu, body, anatomy.grid_of(body, _SIDE), nodule, 0.0)
    mask = hu - around > (nodule.density - around) / 2
    hu += rng.normal(0, _NOISE, hu.shape).astype(np.float32)
    grey = np.clip((hu - _BOTTOM) * (255 / _WIDTH), 0, 255)
    return np.rint(grey).astype(np.uint8), mask.astype(np.uint8)
