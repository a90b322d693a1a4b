"""Lesions transplanted into healthy slices, so that two slices of a batch differ by the lesion alone.

Malignant slices of one hospital differ from the others in how they were acquired; a net that learns that difference
says nothing of tumours. A healthy slice and its copy with a nodule share everything else. The nodules are crops of
real ones with their masks; they are scaled to millimetres, brought to the slice's own greys, and blended without a
seam where there is lung. After the idea of copy-and-paste augmentation (Ghiasi et al., 2012.07177, section 3).
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from lungcli.datasets.lesions import Lesions
from lungcli.imaging import preprocessing

# Both are averages: crops of LIDC-IDRI, and the width of the two lungs' box of adults in the sources seen.
MILLIMETRES_PER_CROP_PIXEL = 0.7
MILLIMETRES_PER_SLICE = 300.0

# Range of the log of the change of a lesion's scale: most masses that are found late are larger than screened nodules.
_SCALE = (-0.2, 0.6)
# A solid core is soft tissue; one that is partly ground glass is darker. Shares of the way from lung to soft tissue.
_CORE = (0.65, 1.0)
# Darker than this is the air of the windpipe; brighter is tissue, or what lies around the lungs.
_LUNG = (255 * preprocessing.AIR * 0.35, 255 * (preprocessing.AIR + 0.4 * (preprocessing.TISSUE - preprocessing.AIR)))
_SMOOTHING = 5
# Distance of a lesion's centre from what is not lung, as a share of the slice; below it, lung is a rim or a fissure.
_MARGIN = 0.02
# Distance of a lesion from the middle of its patch at most, along each side, as a share of the slice.
_OFF_CENTRE = 0.15


def transplant(slices: Tensor, lesions: Lesions, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Put a random lesion into each prepared slice: uint8 (N, 1, S, S) → the same with lesions, and their masks.

    The masks are bool (N, 1, S, S), and all false for a slice that shows no lung, which comes back as it was. Outside
    a narrow rim of its mask, a slice is bit for bit as before. Every draw comes from `generator`, on the CPU.
    """
    if not len(slices):
        return slices, torch.zeros_like(slices, dtype=torch.bool)
    chosen = torch.randint(len(lesions), (len(slices),), generator=generator).tolist()
    results = [
        _transplant_one(host, lesions.crops[index], lesions.masks[index], generator)
        for host, index in zip(slices[:, 0].cpu(), chosen, strict=True)
    ]
    changed, masks = (torch.stack(values)[:, None].to(slices.device) for values in zip(*results, strict=True))
    return changed, masks


def with_transplants(
    slices: Tensor, labels: Tensor, lesions: Lesions, malignant: int, most: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Add copies with a lesion of at most `most` slices that are not malignant: uint8 (M, 1, S, S), labels (M,)."""
    hosts = (labels != malignant).nonzero()[:, 0][:most]
    changed, masks = transplant(slices[hosts], lesions, generator)
    changed = changed[masks.flatten(1).any(dim=1)]
    return torch.cat([slices, changed]), torch.cat([labels, labels.new_full((len(changed),), malignant)])


def lesion_patches(
    slices: Tensor, labels: Tensor, lesions: Lesions, malignant: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Cut patches around transplanted lesions, and the same patches without: uint8 (2M, 1, S/2, S/2), labels (2M,).

    M of the slices (N, 1, S, S) are not malignant and show a lung. A lesion covers four times as much of a patch as of
    its slice, at a quarter of the cost, so a net learns what one looks like before it searches whole slices for it: the
    two steps of Shen et al. (1711.05775, section 2).
    """
    hosts = (labels != malignant).nonzero()[:, 0]
    without = slices[hosts]
    changed, masks = transplant(without, lesions, generator)
    side, half = slices.shape[-1], slices.shape[-1] // 2
    reach = round(_OFF_CENTRE * side)
    offsets = torch.randint(-reach, reach + 1, (len(hosts), 2), generator=generator)
    shown = masks.flatten(1).any(dim=1).nonzero()[:, 0].tolist()
    centres = [masks[index, 0].nonzero().float().mean(dim=0).cpu() + offsets[index] for index in shown]
    corners = [(centre - half / 2).round().int().clamp(0, half).tolist() for centre in centres]
    patches = [
        pictures[index, :, top : top + half, left : left + half]
        for pictures in (changed, without)
        for index, (top, left) in zip(shown, corners, strict=True)
    ]
    if not patches:
        return slices[:0], labels[:0]
    lesion_labels = labels.new_full((len(shown),), malignant)
    return torch.stack(patches), torch.cat([lesion_labels, labels[hosts[shown]]])


def lung_centres(host: Tensor) -> Tensor:
    """Return where in a prepared slice, uint8 (S, S), a lesion may lie: bool (S, S), inside the lungs."""
    smooth = functional.avg_pool2d(host[None, None].float(), _SMOOTHING, 1, _SMOOTHING // 2, count_include_pad=False)
    outside = ~((smooth > _LUNG[0]) & (smooth < _LUNG[1]))
    radius = max(1, round(_MARGIN * len(host)))
    near = functional.pad(outside.float(), (radius,) * 4, value=1.0)
    # A square's maximum is that of its rows' maxima, at a fraction of the cost.
    for kernel in ((1, 2 * radius + 1), (2 * radius + 1, 1)):
        near = functional.max_pool2d(near, kernel, 1)
    return near[0, 0] == 0


def _transplant_one(
    host: Tensor, crop: NDArray[np.uint8], mask: NDArray[np.uint8], generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    # Drawn before anything is decided, so that one slice without lungs does not change the draws of the others.
    scale, angle, core, place, mirror = torch.rand(5, generator=generator).tolist()
    none = torch.zeros_like(host, dtype=torch.bool)
    centres = lung_centres(host).nonzero()
    if not len(centres):
        return host, none
    side = len(host)
    zoom = (
        MILLIMETRES_PER_CROP_PIXEL
        * side
        / MILLIMETRES_PER_SLICE
        * math.exp(_SCALE[0] + (_SCALE[1] - _SCALE[0]) * scale)
    )
    patch, shape = _resampled(crop, mask, zoom, 2 * math.pi * angle, mirror=mirror < 0.5)
    row, column = centres[min(int(place * len(centres)), len(centres) - 1)].tolist()
    # The window of the host that the patch covers, and the part of the patch that lies inside the host.
    reach = len(patch) // 2
    top, left = row - reach, column - reach
    rows, columns = slice(max(0, top), min(side, row + reach + 1)), slice(max(0, left), min(side, column + reach + 1))
    inside = (slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left))
    local = host[rows, columns].float()
    patch, shape = patch[inside], shape[inside]
    lung = local[shape > 0].quantile(0.25) if bool((shape > 0).any()) else local.median()
    tissue = 255 * preprocessing.TISSUE
    bright = lung + (tissue - lung) * (_CORE[0] + (_CORE[1] - _CORE[0]) * core)
    lesion = (lung + patch * (bright - lung)).clamp(0, 255)
    # A vessel or a wall that the lesion covers stays: the brighter of the two.
    blended = local + _soft(shape) * (lesion - local).clamp(min=0)
    changed = host.clone()
    changed[rows, columns] = blended.round().clamp(0, 255).to(torch.uint8)
    where = none.clone()
    where[rows, columns] = shape > 0.5
    return changed, where


def _resampled(
    crop: NDArray[np.uint8], mask: NDArray[np.uint8], zoom: float, angle: float, *, mirror: bool
) -> tuple[Tensor, Tensor]:
    """Rotate and scale a crop and its mask: float32 (P, P), P odd, the crop with its lung at 0 and its core at 1."""
    grey, shape = torch.from_numpy(crop).float(), torch.from_numpy(mask).float()
    lung, core = grey[shape == 0].quantile(0.25), grey[shape > 0].quantile(0.75)
    grey = (grey - lung) / (core - lung).clamp(min=1.0)
    centre = shape.nonzero().float().mean(dim=0)
    extent = float((shape.nonzero() - centre).norm(dim=1).max())
    # As wide as the lesion and its soft rim.
    reach = math.ceil(extent * zoom * 1.5) + 3
    cosine, sine = math.cos(angle), math.sin(angle)
    offsets = torch.arange(-reach, reach + 1, dtype=torch.float32) / zoom
    down, right = torch.meshgrid(offsets, offsets, indexing="ij")
    right = -right if mirror else right
    rows = centre[0] + cosine * down - sine * right
    columns = centre[1] + sine * down + cosine * right
    # `grid_sample` counts from -1 to 1 between the centres of the outermost pixels.
    grid = torch.stack([columns, rows], dim=-1)[None] * (2 / (len(grey) - 1)) - 1
    both = functional.grid_sample(
        torch.stack([grey, shape])[None], grid, padding_mode="border", align_corners=True, mode="bilinear"
    )[0]
    return both[0].clamp(0, 1.5), both[1]


def _soft(shape: Tensor) -> Tensor:
    """Return the weight of a lesion, 0 to 1 (P, P): 1 on its mask, falling to 0 over a rim around it."""
    radius = max(1, round(0.3 * math.sqrt(float((shape > 0.5).sum()) / math.pi)))
    grown = functional.max_pool2d(shape[None, None], 2 * radius + 1, 1, radius)
    soft = functional.avg_pool2d(grown, 2 * radius + 1, 1, radius)[0, 0]
    return torch.maximum(soft, shape)
