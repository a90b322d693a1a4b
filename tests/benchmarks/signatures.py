"""How many bits of a slice's signature differ from those of copies, and from those of other bodies.

Run: python -m tests.benchmarks.signatures [DATA]…     (default: phantom)

A copy is scaled by half and kept as a JPEG of quality 75; a windowed one has 70 % of the window before. `NEAR_BITS` of
`training_slices` is to recognise nearly all copies, few slices of other near-duplicate groups, and hardly any of other
institutions.
"""

import io
import sys

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lungcli.datasets import groups, manifest, training_slices
from lungcli.imaging.image_io import read
from lungcli.imaging.perturbations import window
from tests.benchmarks import machine

BITS = (4, 8, 10, 12, 16, 20)

Words = NDArray[np.uint64]


def main() -> None:
    """Measure and print, data set by data set."""
    for name in sys.argv[1:] or ["phantom"]:
        data = manifest.load(name)
        folder = manifest.folder(data.name)
        greys = [read(folder / item.path, colour=False).grey for item in data.slices]
        own = bits([training_slices.signature(groups.thumbnail(grey)) for grey in greys])
        copies = [
            bits(
                [training_slices.signature(groups.thumbnail(read(copied(window(grey, width))).grey)) for grey in greys]
            )
            for width in (1.0, 0.7)
        ]
        _, group = np.unique([item.group for item in data.slices], return_inverse=True)
        _, place = np.unique(data.institutions(), return_inverse=True)
        to_group, to_place = nearest_other(own, group), nearest_other(own, place)
        machine.say(
            f"{data.name}, {len(own)} slices: copies and windowed copies recognised, taken for another group's,"
        )
        machine.say("for another institution's")
        for most in BITS:
            recognised = [(np.bitwise_count(own ^ these).sum(axis=1) <= most).mean() for these in copies]
            shares = (*recognised, (to_group <= most).mean(), (to_place <= most).mean())
            machine.say(f"  at most {most:>2} bits  " + "  ".join(f"{share:.2%}" for share in shares))


def bits(signatures: list[str]) -> Words:
    """Bits of signatures: (n, SIGNATURE_BITS / 64)."""
    return np.frombuffer(b"".join(map(bytes.fromhex, signatures)), dtype=np.uint64).reshape(len(signatures), -1)


def nearest_other(signatures: Words, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many bits of each signature (n, W) differ from the nearest one of another number, where they are (n,)."""
    nearest = np.full(len(signatures), training_slices.SIGNATURE_BITS, dtype=np.int64)
    for i, signature in enumerate(signatures):
        others = signatures[numbers != numbers[i]]
        if len(others):
            nearest[i] = np.bitwise_count(others ^ signature).sum(axis=1, dtype=np.int64).min()
    return nearest


def copied(grey: np.ndarray[tuple[int, int], np.dtype[np.float32]]) -> bytes:
    """Return a smaller copy of a slice, encoded anew."""
    picture = Image.fromarray(np.rint(grey * 255).astype(np.uint8))
    file = io.BytesIO()
    picture.resize((max(32, picture.width // 2), max(32, picture.height // 2))).save(file, "JPEG", quality=75)
    return file.getvalue()


if __name__ == "__main__":
    main()
