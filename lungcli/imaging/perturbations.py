"""What another scanner, protocol or export would have done to the same body: changes of a slice as it was read.

They act before `imaging.preprocessing`, as the difference between two hospitals does. Lengths are in pixels of a
matrix of 512, the usual one of CT, and grow with the picture.
"""

import io
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from lungcli.imaging.picture import Grey

MATRIX = 512
_SHARPENED_WIDTH = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One kind of change: `apply(grey, amount)` for each of three `amounts`, the weakest first.

    `setting` is the format of an amount in words. `apply` takes and returns float32 [H, W] in 0..1 and is pure: the
    same slice comes out the same.
    """

    name: str
    setting: str
    amounts: tuple[float, float, float]
    apply: Callable[[Grey, float], Grey]

    def settings(self) -> tuple[str, str, str]:
        """Say each of the three amounts in words."""
        weak, middle, strong = (self.setting.format(amount) for amount in self.amounts)
        return weak, middle, strong


def window(grey: Grey, width: float) -> Grey:
    """Show a narrower window: `width` of the range of greys fills black to white, and the rest saturates.

    Of what is cut off, 27 % is dark (air) and the rest bright, as between the lung window and narrower ones.
    """
    low = np.float32(0.27 * (1 - width))
    return _within((grey - low) / np.float32(width))


def gamma(grey: Grey, exponent: float) -> Grey:
    """Export through a display curve: grey ** exponent, which brightens lungs when below 1."""
    return _within(grey ** np.float32(exponent))


def blur(grey: Grey, sigma: float) -> Grey:
    """Reconstruct with a soft kernel, or thicker: a Gaussian of `sigma` pixels."""
    return _within(_gaussian(grey, sigma))


def sharpen(grey: Grey, amount: float) -> Grey:
    """Reconstruct with a sharp kernel: what a Gaussian of 1.5 pixels takes away is added `amount` times over."""
    return _within(grey + np.float32(amount) * (grey - _gaussian(grey, _SHARPENED_WIDTH)))


def noise(grey: Grey, sigma: float) -> Grey:
    """Scan with less dose: Gaussian noise of `sigma` of the range of greys, 15 HU for each 0.01 in the lung window.

    The draw is seeded by the slice itself, so that it is the same every time and another one for each slice.
    """
    rng = np.random.default_rng(zlib.crc32(np.ascontiguousarray(grey).tobytes()))
    return _within(grey + np.float32(sigma) * rng.standard_normal(grey.shape, dtype=np.float32))


def resolution(grey: Grey, fraction: float) -> Grey:
    """Lose detail on the way: both sides shrink to `fraction` of their pixels and are enlarged again."""
    height, width = grey.shape
    small = (max(1, round(width * fraction)), max(1, round(height * fraction)))
    image = Image.fromarray(np.ascontiguousarray(grey, dtype=np.float32))
    coarse = image.resize(small, Image.Resampling.BILINEAR).resize((width, height), Image.Resampling.BILINEAR)
    return _within(np.asarray(coarse))


def crop(grey: Grey, share: float) -> Grey:
    """Reconstruct a smaller field of view: the middle `share` of both sides."""
    height, width = grey.shape
    top, left = round(height * (1 - share) / 2), round(width * (1 - share) / 2)
    return grey[top : height - top, left : width - left]


def jpeg(grey: Grey, quality: float) -> Grey:
    """Export as JPEG of this quality, with 8 bits a pixel."""
    stored = io.BytesIO()
    Image.fromarray(np.rint(grey * 255).astype(np.uint8)).save(stored, format="JPEG", quality=int(quality))
    return np.asarray(Image.open(stored)).astype(np.float32) * np.float32(1 / 255)


CHANGES = (
    Change(name="window", setting="{:.0%} wide", amounts=(0.85, 0.7, 0.55), apply=window),
    Change(name="gamma", setting="power {}", amounts=(0.8, 0.65, 0.5), apply=gamma),
    Change(name="blur", setting="sigma {:g} px", amounts=(1, 2, 4), apply=blur),
    Change(name="sharpening", setting="{:g} times", amounts=(0.5, 1, 2), apply=sharpen),
    Change(name="noise", setting="sigma {:.0%}", amounts=(0.03, 0.06, 0.12), apply=noise),
    Change(name="resolution", setting="{:.0%} a side", amounts=(0.5, 0.33, 0.2), apply=resolution),
    Change(name="crop", setting="middle {:.0%}", amounts=(0.95, 0.9, 0.8), apply=crop),
    Change(name="jpeg", setting="quality {:g}", amounts=(60, 30, 15), apply=jpeg),
)


def _gaussian(grey: Grey, sigma: float) -> Grey:
    """Blur by a Gaussian of `sigma` pixels of a matrix of 512, as two passes; Pillow's own keeps 8 bits only."""
    wide = sigma * max(grey.shape) / MATRIX
    reach = int(np.ceil(3 * wide))
    weights = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * wide**2))
    taps = (weights / weights.sum()).astype(np.float32)
    for axis in (0, 1):
        padded = np.pad(grey, [(reach, reach) if axis == side else (0, 0) for side in (0, 1)], mode="edge")
        length = grey.shape[axis]
        blurred = np.zeros_like(grey)
        for start, tap in enumerate(taps):
            blurred += tap * (padded[start : start + length] if axis == 0 else padded[:, start : start + length])
        grey = blurred
    return grey


def _within(grey: Grey) -> Grey:
    return np.clip(grey, 0, 1).astype(np.float32, copy=False)
