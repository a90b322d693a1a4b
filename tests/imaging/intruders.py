"""Pictures that are no axial lung slice, drawn; and what exports and scanners do to a slice that is one."""

import io
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from lungcli.datasets.phantom import dataset
from lungcli.imaging.picture import Grey, Picture, quantized

SIDE = 256


def picture(grey: Grey, colour: float = 0.0) -> Picture:
    """A picture of these greys, clipped to 0..1 and rounded to 8 bits."""
    return Picture(pixels=quantized(grey), size=(grey.shape[1], grey.shape[0]), kind="png", colour=colour)


def slices(count: int, seed: int = 0, side: int = SIDE) -> list[Grey]:
    """One slice of each of `count` phantoms."""
    several = dataset.patients(max(dataset.FEWEST, 8 * count), seed)
    return [
        dataset.render(patient, 0.0, side).astype(np.float32) / np.float32(255)
        for patient, _ in zip(several, range(count), strict=False)
    ]


def _window(centre: float, width: float) -> Callable[[Grey], Grey]:
    """Show a slice of about the lung window (-600, 1500) in another one."""
    return lambda grey: (grey * 1500 - 1350 - centre + width / 2) / width


def _resized(grey: Grey, side: int) -> Grey:
    return np.asarray(Image.fromarray(grey).resize((side, side), Image.Resampling.BILINEAR), dtype=np.float32)


def _jpeg(grey: Grey) -> Grey:
    file = io.BytesIO()
    Image.fromarray(np.rint(np.clip(grey, 0, 1) * 255).astype(np.uint8)).save(file, "JPEG", quality=40)
    return np.asarray(Image.open(file), dtype=np.float32) / np.float32(255)


def _cropped(grey: Grey) -> Grey:
    cut = [round(0.075 * side) for side in grey.shape]
    return grey[cut[0] : -cut[0], cut[1] : -cut[1]]


# What other hospitals and exports do: still axial slices of the lungs.
CHANGES: dict[str, Callable[[Grey], Grey]] = {
    "as it is": lambda grey: grey,
    "lung window -600/1200": _window(-600, 1200),
    "full range": _window(1024, 4096),
    "soft tissue window": _window(40, 400),
    "gamma 0.7": lambda grey: grey ** np.float32(0.7),
    "gamma 1.4": lambda grey: grey ** np.float32(1.4),
    "cropped to 85 %": _cropped,
    "blurred": lambda grey: _resized(_resized(grey, grey.shape[1] // 3), grey.shape[1]),
    "reduced to 128 px": lambda grey: _resized(grey, 128),
    "black margins": lambda grey: np.pad(grey, ((0, 0), (grey.shape[0] // 4,) * 2)),
    "grey margins": lambda grey: np.pad(grey, grey.shape[0] // 8, constant_values=0.5),
    "white margins": lambda grey: np.pad(grey, grey.shape[0] // 8, constant_values=1),
    "JPEG, quality 40": _jpeg,
    "noisy": lambda grey: grey + np.random.default_rng(0).normal(0, 0.05, grey.shape).astype(np.float32),
    "mirrored": lambda grey: grey[:, ::-1],
    "prone": lambda grey: grey[::-1],
}


def negative(grey: Grey) -> Grey:
    """Inverted grey."""
    return np.float32(1) - grey


def turned(grey: Grey) -> Grey:
    """Turned on its side."""
    return np.ascontiguousarray(np.rot90(grey))


def _frame(seed: int, side: int = SIDE) -> tuple[np.random.Generator, Grey, Grey]:
    """A random stream, and x and y from -1 to 1."""
    axis = np.linspace(-1, 1, side, dtype=np.float32)
    return np.random.default_rng(seed), axis[None, :] + 0 * axis[:, None], axis[:, None] + 0 * axis[None, :]


def _soft(grey: Grey, reach: int) -> Grey:
    return _resized(_resized(grey, len(grey) // reach), len(grey))


def _in_lung(x: Grey, y: Grey, middle: float, top: float, bottom: float) -> Grey:
    """A lung seen from the front: a pointed top, a domed bottom. 1 in it, 0 elsewhere."""
    half = 0.24 * np.sqrt(np.clip((y - top) / 0.7, 0, 1))
    dome = bottom - 0.15 * np.clip(1 - ((x - middle) / 0.25) ** 2, 0, 1)
    return np.asarray((abs(x - middle) < half) & (y > top) & (y < dome), dtype=np.float32)


def coronal(seed: int) -> Grey:
    """A coronal plane of a chest: neck, lungs, liver; it runs out of the picture above and below."""
    rng, x, y = _frame(seed)
    neck = 0.2 + 2.2 * np.clip(y + 0.78, 0, 1) ** 0.7
    body = abs(x) < np.where(y < -0.72, neck, rng.uniform(0.58, 0.7) + 0.08 * np.clip(y, 0, 1))
    grey = np.where(body, rng.uniform(0.75, 0.85), 0.08).astype(np.float32)
    for side in (-1, 1):
        lung = _in_lung(x, y, side * rng.uniform(0.27, 0.32), rng.uniform(-0.75, -0.6), rng.uniform(0.25, 0.5))
        grey = grey + lung * (0.25 - grey)
        for rib in np.arange(-0.6, 0.6, 0.13):
            grey[np.hypot((x - side * 0.54) / 0.04, (y - rib) / 0.025) < 1] = 1
    grey[(abs(x) < 0.07) & (y > -0.2)] = 0.95
    return _soft(grey, 2) + rng.normal(0, 0.02, grey.shape).astype(np.float32)


def x_ray(seed: int) -> Grey:
    """A chest X-ray: everything lies over everything, so that no grey is that of one tissue."""
    rng, x, y = _frame(seed)
    grey = np.clip(1.25 - 1.1 * abs(x) + 0.25 * y, 0.05, 0.9) * (abs(x) < 0.92)
    for side in (-1, 1):
        middle = side * rng.uniform(0.36, 0.42)
        lung = _in_lung(x / 1.35, y, middle / 1.35, rng.uniform(-0.85, -0.7), rng.uniform(0.4, 0.6))
        grey = grey * (1 - rng.uniform(0.5, 0.7) * _soft(lung, 6))
        for rib in np.arange(-0.8, 0.6, 0.16):
            arc = abs(y - rib - 0.5 * (x - side * 0.2) ** 2) < 0.025
            grey = grey + 0.12 * _soft(np.float32(1) * (arc & (side * x > 0.08) & (abs(x) < 0.85)), 3)
    grey = grey + 0.25 * np.exp(-((x / 0.12) ** 2)) + 0.2 * np.exp(-(((x - 0.15) / 0.25) ** 2) - ((y - 0.3) / 0.3) ** 2)
    noise = rng.normal(0, 0.02, grey.shape).astype(np.float32)
    whole: Grey = _soft(np.asarray(grey, dtype=np.float32), 2) + noise
    return whole


def brain(seed: int) -> Grey:
    """An axial brain MRI: scalp, dark skull, grey and white matter, ventricles."""
    rng, x, y = _frame(seed)
    radius = np.hypot(x / rng.uniform(0.62, 0.7), y / rng.uniform(0.78, 0.88))
    fold = 0.02 * np.sin(14 * np.arctan2(y, x)) + radius
    grey = np.select(
        [fold < 0.6, radius < 0.82, radius < 0.92, radius < 1], [0.75, 0.5, 0.08, 0.9], default=0.02
    ).astype(np.float32)
    for side in (-1, 1):
        grey[np.hypot((x - side * 0.1) / 0.06, (y + 0.05) / 0.25) < 1] = 0.12
    return _soft(grey, 2) + rng.normal(0, 0.03, grey.shape).astype(np.float32)


def head(seed: int) -> Grey:
    """An axial CT of a head through its sinuses, in the lung window: soft tissue, a skull, cavities of air."""
    rng, x, y = _frame(seed)
    radius = np.hypot(x / rng.uniform(0.55, 0.65), y / rng.uniform(0.75, 0.85))
    grey = np.select([radius < 0.85, radius < 0.93, radius < 1], [0.93, 1.0, 0.9], default=0.23).astype(np.float32)
    for side in (-1, 1):
        cavity = np.hypot((x - side * rng.uniform(0.2, 0.25)) / 0.13, (y + 0.35) / rng.uniform(0.15, 0.25)) < 1
        grey[cavity] = 0.24
    return _soft(grey, 2) + rng.normal(0, 0.01, grey.shape).astype(np.float32)


def abdomen(seed: int) -> Grey:
    """An axial CT of an abdomen in the lung window: organs, a spine, and a bowel full of gas in front."""
    rng, x, y = _frame(seed)
    grey = np.where(np.hypot(x / 0.85, y / 0.65) < 1, 0.92, 0.23).astype(np.float32)
    grey[np.hypot(x / 0.12, (y - 0.4) / 0.12) < 1] = 1
    for side in (-1, 1):
        at = side * rng.uniform(0.25, 0.4)
        grey[np.hypot((x - at) / rng.uniform(0.16, 0.24), (y + 0.35) / rng.uniform(0.09, 0.13)) < 1] = 0.235
    return _soft(grey, 2) + rng.normal(0, 0.01, grey.shape).astype(np.float32)


def hollow_head(seed: int) -> Grey:
    """A head phantom: a shell of bone with nothing but a few rods in it."""
    rng, x, y = _frame(seed)
    radius = np.hypot(x / rng.uniform(0.5, 0.6), y / rng.uniform(0.6, 0.7))
    grey = np.where((radius > 0.9) & (radius < 1), 1.0, 0.24).astype(np.float32)
    for _ in range(3):
        grey[np.hypot(x - rng.uniform(-0.3, 0.3), y - rng.uniform(-0.3, 0.3)) < rng.uniform(0.04, 0.1)] = 0.95
    return _soft(grey, 2) + rng.normal(0, 0.01, grey.shape).astype(np.float32)


def page(seed: int) -> Grey:
    """A page of text, black on white or white on black."""
    image = Image.new("L", (2 * SIDE, 2 * SIDE), 255 * (seed % 2))
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(12 + seed % 8)
    for line in range(10, 2 * SIDE, 24):
        draw.text(
            (20, line),
            f"{seed}-{line}: no focal lesion, no effusion, heart of normal size",
            255 - 255 * (seed % 2),
            font,
        )
    return np.asarray(image, dtype=np.float32) / np.float32(255)


def blank(seed: int) -> Grey:
    """One grey, some noise, or a ramp."""
    rng, x, _ = _frame(seed)
    return np.asarray(
        (np.full_like(x, rng.random()), rng.random(x.shape, dtype=np.float32), (x + 1) / 2)[seed % 3], dtype=np.float32
    )


def scene(seed: int) -> Grey:
    """Something like a photograph: overlapping patches under uneven light."""
    rng, x, y = _frame(seed)
    grey = np.full_like(x, rng.uniform(0.2, 0.8))
    for _ in range(12):
        at, size = rng.uniform(-1, 1, 2), rng.uniform(0.1, 0.7, 2)
        grey[np.hypot((x - at[0]) / size[0], (y - at[1]) / size[1]) < 1] = rng.random()
    grey = grey * (1 + rng.uniform(-0.4, 0.4) * x + rng.uniform(-0.4, 0.4) * y)
    return grey + rng.normal(0, 0.03, x.shape).astype(np.float32)


DRAWN: dict[str, Callable[[int], Grey]] = {
    "coronal plane, drawn": coronal,
    "X-ray, drawn": x_ray,
    "brain MRI, drawn": brain,
    "head CT, drawn": head,
    "abdomen CT, drawn": abdomen,
    "hollow head phantom, drawn": hollow_head,
    "text, drawn": page,
    "blank or noise": blank,
    "scene, drawn": scene,
}
