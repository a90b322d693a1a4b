"""Data augmentation of training slices, of two kinds.

Geometry (rotation, shift, scale, flip) varies how a patient lies in the scanner. Acquisition (window, gamma, blur,
noise, resolution) varies what another scanner or export would have made of the same body: in this kind of data
malignant slices were often acquired differently, and a net that sees every slice under many acquisitions cannot use
that as a shortcut.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from lungcli.core.recipe import Augment

# Cycles per picture: lower frequencies show lungs, heart and chest wall, not sharpness or noise.
_FIRST_MIXED_FREQUENCY = 12


def augment(slices: Tensor, settings: Augment, generator: torch.Generator) -> Tensor:
    """Change each slice of a batch at random: uint8 (N, 1, S, S) → float32 (N, 1, S, S), values 0 to 255.

    Every draw comes from `generator` (on the CPU), so a seed repeats the batch exactly.
    """
    moved = _change_geometry(slices.float() / 255, settings, generator)
    changed = _change_acquisition(moved, settings, generator)
    is_clean = _uniform(len(slices), 0, 1, generator).to(slices.device) < settings.clean
    return torch.where(is_clean.view(-1, 1, 1, 1), moved, changed).clamp(0, 1) * 255


def _change_geometry(slices: Tensor, settings: Augment, generator: torch.Generator) -> Tensor:
    count = len(slices)
    angle = _uniform(count, -1, 1, generator) * math.radians(settings.rotation)
    zoom = torch.exp(_uniform(count, -1, 1, generator) * settings.scale)
    mirror = torch.where(_uniform(count, 0, 1, generator) < settings.flip, -1.0, 1.0)
    # `affine_grid` measures in half pictures, so a share of the whole is twice as much.
    shift = torch.rand(count, 2, generator=generator).sub(0.5).mul(4 * settings.shift)
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


def _change_acquisition(slices: Tensor, settings: Augment, generator: torch.Generator) -> Tensor:
    changed = _lower_resolution(slices, settings.resolution, generator)
    changed = _blur(changed, settings.blur, generator)
    changed = _sharpen(changed, settings.sharpen, generator)
    changed = _exchange_spectra(changed, settings.spectrum, generator)
    low = _per_slice(_uniform(len(slices), -1, 1, generator) * settings.window, slices)
    high = _per_slice(1 + _uniform(len(slices), -1, 1, generator) * settings.window, slices)
    changed = ((changed - low) / (high - low)).clamp(0, 1)
    changed = changed ** _per_slice(torch.exp(_uniform(len(slices), -1, 1, generator) * settings.gamma), slices)
    strength = _per_slice(_uniform(len(slices), 0, 1, generator) * settings.noise, slices)
    return changed + torch.randn(slices.shape, generator=generator).to(slices.device) * strength


def _lower_resolution(slices: Tensor, max_loss: float, generator: torch.Generator) -> Tensor:
    """Downsample and interpolate back, by one factor per batch, since slices of a batch share one shape."""
    side = slices.shape[-1]
    coarse = round(side * (1 - float(_uniform(1, 0, max_loss, generator))))
    if coarse == side:
        return slices
    small = functional.interpolate(slices, size=(coarse, coarse), mode="bilinear", antialias=True)
    return functional.interpolate(small, size=(side, side), mode="bilinear")


def _blur(slices: Tensor, max_sigma: float, generator: torch.Generator) -> Tensor:
    """Gaussian blur with one σ per slice, as two one-dimensional passes."""
    if max_sigma == 0:
        return slices
    count, radius = len(slices), math.ceil(2 * max_sigma)
    sigma = _uniform(count, 0.05, max(max_sigma, 0.06), generator).view(-1, 1)
    kernel = torch.exp(-(torch.arange(-radius, radius + 1) ** 2) / (2 * sigma**2))
    kernel = (kernel / kernel.sum(dim=1, keepdim=True)).to(slices.device)
    padded = functional.pad(slices, (radius,) * 4, mode="replicate").transpose(0, 1)
    blurred = functional.conv2d(padded, kernel.view(count, 1, 1, -1), groups=count)
    return functional.conv2d(blurred, kernel.view(count, 1, -1, 1), groups=count).transpose(0, 1)


def _sharpen(slices: Tensor, max_strength: float, generator: torch.Generator) -> Tensor:
    """Unsharp masking, like a sharper reconstruction kernel."""
    if max_strength == 0:
        return slices
    taps = torch.tensor([0.25, 0.5, 0.25], device=slices.device)
    smooth = functional.conv2d(
        functional.pad(slices, (1, 1, 1, 1), mode="replicate"), torch.outer(taps, taps)[None, None]
    )
    return slices + (slices - smooth) * _per_slice(_uniform(len(slices), 0, max_strength, generator), slices)


def _exchange_spectra(slices: Tensor, max_degree: float, generator: torch.Generator) -> Tensor:
    """Give each slice, to a random degree, the radial amplitude spectrum of another slice of the batch.

    Reconstruction kernel, dose and resolution show in how fast amplitudes fall with frequency; once spectra are
    exchanged across classes, they no longer tell the class. Phases, which hold the anatomy, and the lowest
    frequencies stay. Amplitude mixing after Xu et al. (2105.11120), section 3.2, here averaged over angles.
    """
    if max_degree == 0:
        return slices
    side = slices.shape[-1]
    vertical, horizontal = torch.fft.fftfreq(side) * side, torch.fft.rfftfreq(side) * side
    radius = torch.hypot(vertical[:, None], horizontal[None, :]).round().long().to(slices.device)
    rings = int(radius.max()) + 1
    spectrum = torch.fft.rfft2(slices[:, 0])
    sums = torch.zeros(len(slices), rings, device=slices.device)
    sums.index_add_(1, radius.flatten(), spectrum.abs().flatten(1))
    other = torch.randperm(len(slices), generator=generator).to(slices.device)
    degree = _uniform(len(slices), 0, max_degree, generator).to(slices.device)[:, None]
    gain = (sums[other] / sums.clamp(min=1e-6)).clamp(0.2, 5.0) ** degree
    gain[:, :_FIRST_MIXED_FREQUENCY] = 1.0
    exchanged: Tensor = torch.fft.irfft2(spectrum * gain[:, radius], s=(side, side))[:, None]
    return exchanged


def _per_slice(values: Tensor, slices: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1).to(slices.device)


def _uniform(count: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(count, generator=generator)
