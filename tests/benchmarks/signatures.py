"""How many bits of a slice's signature differ from those of copies, and from those of other bodies.

Run: python -m tests.benchmarks.signatures [DATA]…     (default: phantom)

A copy is scaled by half and kept as a JPEG of quality 75. `NEAR_BITS` of `training_slices` is to recognise nearly all
copies, and few slices of other near-duplicate groups.
"""

import io
import sys

import numpy as np
from PIL import Image

from lungcli.datasets import groups, manifest, training_slices
from lungcli.imaging.image_io import read
from tests.benchmarks import machine

BITS = (4, 8, 10, 12, 16, 20)


def main() -> None:
    """Measure and print, data set by data set."""
    for name in sys.argv[1:] or ["phantom"]:
        data = manifest.load(name)
        folder = manifest.folder(data.name)
        greys = [read(folder / item.path, colour=False).grey for item in data.slices]
        own = bits([training_slices.signature(groups.thumbnail(grey)) for grey in greys])
        copies = bits([training_slices.signature(groups.thumbnail(read(copied(grey)).grey)) for grey in greys])
        group = np.array([item.group for item in data.slices])
        apart = (own[:, None] != own[None]).sum(axis=2)
        apart[group[:, None] == group[None]] = training_slices.SIGNATURE_BITS
        machine.say(f"{data.name}, {len(own)} slices: share of copies recognised, of slices taken for another group's")
        for most in BITS:
            recognised = ((own != copies).sum(axis=1) <= most).mean()
            machine.say(f"  at most {most:>2} bits  {recognised:.1%}  {(apart.min(axis=1) <= most).mean():.1%}")


def bits(signatures: list[str]) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    """Bits of signatures: (n, SIGNATURE_BITS)."""
    packed = np.frombuffer(b"".join(map(bytes.fromhex, signatures)), dtype=np.uint8)
    return np.unpackbits(packed).reshape(len(signatures), -1)


def copied(grey: np.ndarray[tuple[int, int], np.dtype[np.float32]]) -> bytes:
    """Return a smaller copy of a slice, encoded anew."""
    picture = Image.fromarray(np.rint(grey * 255).astype(np.uint8))
    file = io.BytesIO()
    picture.resize((max(32, picture.width // 2), max(32, picture.height // 2))).save(file, "JPEG", quality=75)
    return file.getvalue()


if __name__ == "__main__":
    main()
