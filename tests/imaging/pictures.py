"""Small pictures, archives and manifests for the tests of this room."""

import io
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lungcli.datasets import manifest
from lungcli.datasets.manifest import Manifest, Slice, Source

# A slice is read into 256 levels of grey.
HALF_A_LEVEL = 0.5 / 255 + 1e-6


def noise(seed: int, height: int = 48, width: int = 48) -> NDArray[np.uint8]:
    """Coarse noise: any two seeds are unlike, and shrinking keeps it so."""
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.NEAREST))


def encoded(values: NDArray[Any], kind: str = "PNG", **options: Any) -> bytes:
    """Encode an array as a picture file."""
    file = io.BytesIO()
    Image.fromarray(values).save(file, format=kind, **options)
    return file.getvalue()


def windowed(hu: NDArray[np.float32], centre: float = -600.0, width: float = 1500.0) -> NDArray[np.float32]:
    """Grey values 0..1, in 256 steps, of Hounsfield units under a window."""
    grey = np.clip((hu - np.float32(centre - width / 2)) / np.float32(width), 0, 1)
    steps: NDArray[np.float32] = (np.rint(grey * 255) / 255).astype(np.float32)
    return steps


def png(seed: int) -> bytes:
    return encoded(noise(seed))


def write(folder: Path, files: Mapping[str, bytes]) -> Path:
    """Write files under a folder, by relative path."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def zipped(path: Path, files: Mapping[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def described(groups: Sequence[tuple[str, int]], name: str = "some") -> Manifest:
    """A manifest of slices that exist nowhere: for each group its class and its number of slices."""
    slices = [
        Slice(
            path=f"slices/{label}/{number}-{i}.png",
            label=label,
            sha256=f"{number:032x}{i:032x}",
            size=(48, 48),
            group=number,
        )
        for number, (label, count) in enumerate(groups)
        for i in range(count)
    ]
    return manifest.build(name, tuple(slices), (), Source(about="made up"))
