"""Random changes of training slices, of two kinds.

Geometry (rotation, shift, scale, flip) is what a body may do in the scanner. Acquisition (window, gamma, blur, noise,
resolution) is what another scanner or export would have done to the same body: on this kind of data malignant slices
were often taken differently, and a net that sees every slice under many acquisitions cannot use that.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from lungcli.core.recipe import Augment

# Waves a picture: longer ones are lungs, heart and chest wall, not sharpness or noise.
_FIRST_MIXED_FREQUENCY = 12


def augment(slices: Tensor, settings: Augment, generator: torch.Generator) -> Tensor:
    """Change each slice of a batch at random: uint8 (N, 1, S, S) → float32 (N, 1, S, S), values 0 to 255.

    Every draw comes from `generator` (on the CPU), so a seed repeats the batch exactly.
    """
    moved = _change_geometry(slices.float() / 255, settings, generator)
    changed = _change_acquisition(moved, settings, generator)
    kept = _uniform(len(slices), 0, 1, generator).to(slices.device) < settings.clean
    return torch.where(kept.view(-1, 1, 1, 1), moved, changed).clamp(0, 1) * 255


def _change_geometry(slices: Tensor, how: Augment, generator: torch.Generator) -> Tensor:
    count = len(slices)
    angle = _uniform(count, -1, 1, generator) * math.radians(how.rotation)
    zoom = torch.exp(_uniform(count, -1, 1, generator) * how.scale)
    mirror = torch.where(_uniform(count, 0, 1, generator) < how.flip, -1.0, 1.0)
    # `affine_grid` measures in half pictures, so a share of the whole is twice as much.
    shift = torch.rand(count, 2, generator=generator).sub(0.5).mul(4 * how.shift)
    cosine, sine = torch.cos(angle) * zoom, torch.sin(angle) * zoom
    matrix = torch.stack(
        [
            torch.stack([cosine * mirror, -sine, shift[:, 0]], dim=1),
            torch.stack([sine * mirror, cosine, shift[:, 1]], dim=1),
        ],
        dim=1,
    )
    grid = functional.affine_grid(matrix, list(slices.shape), align_corners=False).to(slices.device)
    return functional.grid_sample(slices, grid, padding_mode="border", align_corners=False)


def _change_acquisition(slices: Tensor, how: Augment, generator: torch.Generator) -> Tensor:
    changed = _lower_resolution(slices, how.resolution, generator)
    changed = _blur(changed, how.blur, generator)
    changed = _sharpen(changed, how.sharpen, generator)
    changed = _exchange_spectra(changed, how.spectrum, generator)
    low = _per_slice(_uniform(len(slices), -1, 1, generator) * how.window, slices)
    high = _per_slice(1 + _uniform(len(slices), -1, 1, generator) * how.window, slices)
    changed = ((changed - low) / (high - low)).clamp(0, 1)
    changed = changed ** _per_slice(torch.exp(_uniform(len(slices), -1, 1, generator) * how.gamma), slices)
    strength = _per_slice(_uniform(len(slices), 0, 1, generator) * how.noise, slices)
    return changed + torch.randn(slices.shape, generator=generator).to(slices.device) * strength


def _lower_resolution(slices: Tensor, lost: float, generator: torch.Generator) -> Tensor:
    """Lose pixels and interpolate them back; one factor a batch, since slices of a batch share one shape."""
    side = slices.shape[-1]
    coarse = round(side * (1 - float(_uniform(1, 0, lost, generator))))
    if coarse == side:
        return slices
    small = functional.interpolate(slices, size=(coarse, coarse), mode="bilinear", antialias=True)
    return functional.interpolate(small, size=(side, side), mode="bilinear")


def _blur(slices: Tensor, widest: float, generator: torch.Generator) -> Tensor:
    """Gaussian blur with a σ of its own for each slice, as two one-dimensional passes."""
    if widest == 0:
        return slices
    count, radius = len(slices), math.ceil(2 * widest)
    sigma = _uniform(count, 0.05, max(widest, 0.06), generator).view(-1, 1)
    kernel = torch.exp(-(torch.arange(-radius, radius + 1) ** 2) / (2 * sigma**2))
    kernel = (kernel / kernel.sum(dim=1, keepdim=True)).to(slices.device)
    padded = functional.pad(slices, (radius,) * 4, mode="replicate").transpose(0, 1)
    rows = functional.conv2d(padded, kernel.view(count, 1, 1, -1), groups=count)
    return functional.conv2d(rows, kernel.view(count, 1, -1, 1), groups=count).transpose(0, 1)


def _sharpen(slices: Tensor, strongest: float, generator: torch.Generator) -> Tensor:
    """Add what a small blur takes away, as a sharper reconstruction kernel would."""
    if strongest == 0:
        return slices
    taps = torch.tensor([0.25, 0.5, 0.25], device=slices.device)
    smooth = functional.conv2d(
        functional.pad(slices, (1, 1, 1, 1), mode="replicate"), torch.outer(taps, taps)[None, None]
    )
    return slices + (slices - smooth) * _per_slice(_uniform(len(slices), 0, strongest, generator), slices)


def _exchange_spectra(slices: Tensor, most: float, generator: torch.Generator) -> Tensor:
    """Give each slice, to a random degree, the radial amplitude spectrum of another slice of the batch.

    How fast amplitudes fall with frequency is what reconstruction kernel, dose and resolution leave in a picture, and
    with spectra exchanged across classes they cannot stand for a class. Phases, which hold the anatomy, and the
    lowest frequencies stay. Amplitude mixing after Xu et al. (2105.11120), section 3.2, here averaged over angles.
    """
    if most == 0:
        return slices
    side = slices.shape[-1]
    vertical, horizontal = torch.fft.fftfreq(side) * side, torch.fft.rfftfreq(side) * side
    radius = torch.hypot(vertical[:, None], horizontal[None, :]).round().long().to(slices.device)
    rings = int(radius.max()) + 1
    waves = torch.fft.rfft2(slices[:, 0])
    sums = torch.zeros(len(slices), rings, device=slices.device)
    sums.index_add_(1, radius.flatten(), waves.abs().flatten(1))
    other = torch.randperm(len(slices), generator=generator).to(slices.device)
    degree = _uniform(len(slices), 0, most, generator).to(slices.device)[:, None]
    gain = (sums[other] / sums.clamp(min=1e-6)).clamp(0.2, 5.0) ** degree
    gain[:, :_FIRST_MIXED_FREQUENCY] = 1.0
    exchanged: Tensor = torch.fft.irfft2(waves * gain[:, radius], s=(side, side))[:, None]
    return exchanged


def _per_slice(values: Tensor, slices: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1).to(slices.device)


def _uniform(count: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(count, generator=generator)
