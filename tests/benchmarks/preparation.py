"""What a slice costs before the net sees it: reading, finding the lungs, cropping, and the guard's look.

One after another first; then slices a second with all cores busy. The files are JPEG of 512×512 pixels in colour mode,
as viewers export them and as IQ-OTH/NCCD is.

Run: python -m tests.benchmarks.preparation
"""

import io
import os
import statistics
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from PIL import Image

from lungcli.datasets.phantom import dataset
from lungcli.imaging import lung_segmentation, ood_features
from lungcli.imaging.image_io import read
from lungcli.imaging.preprocessing import prepare, prepare_in
from tests.benchmarks import machine

SLICES, REPEATS, SIZE = 20, 15, 224


def main() -> None:
    """Measure and print: the median over slices of the fastest of several calls, in milliseconds."""
    machine.state()
    times: dict[str, list[float]] = {}
    drawn = list(files())
    for file in drawn:
        for name, call in calls(file):
            fastest = min(machine.seconds(call) for _ in range(REPEATS))
            times.setdefault(name, []).append(fastest * 1000)
    for name, taken in times.items():
        machine.say(f"{name:<32} {statistics.median(taken):6.2f} ms")
    many = drawn * REPEATS
    for name, one in (
        ("reading, all cores", lambda file: read(file, "slice.jpg", colour=False)),
        ("and preparing, all cores", lambda file: prepare(read(file, "slice.jpg", colour=False).pixels, SIZE)),
    ):
        machine.say(f"{name:<32} {len(many) / statistics.median(busy(one, many)):6.0f} slices/s")


def busy(one: Callable[[bytes], object], many: Sequence[bytes]) -> list[float]:
    """Seconds that five rounds over many files take, one thread a core."""

    def spent() -> float:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return machine.seconds(lambda: list(pool.map(one, many)))

    return [spent() for _ in range(5)]


def files() -> Iterator[bytes]:
    """Draw slices of 512×512 pixels as JPEG files."""
    for patient in list(dataset.patients(6 * SLICES, 0))[:SLICES]:
        file = io.BytesIO()
        Image.fromarray(dataset.render(patient, 0.0)).convert("RGB").save(file, "JPEG", quality=95)
        yield file.getvalue()


def calls(file: bytes) -> Iterator[tuple[str, Callable[[], object]]]:
    """Name what is done to one file."""
    picture = read(file, "slice.jpg")
    found = lung_segmentation.segment(picture.pixels)
    yield "read a file", lambda: read(file, "slice.jpg", colour=False)
    yield "read it, and how coloured it is", lambda: read(file, "slice.jpg")
    yield "find the lungs", lambda: lung_segmentation.segment(picture.pixels)
    yield (
        f"crop and scale to {SIZE}×{SIZE}",
        lambda: prepare_in(lung_segmentation.as_image(picture.pixels), SIZE, found),
    )
    yield "preparation: both together", lambda: prepare(picture.pixels, SIZE)
    yield "the guard's look", lambda: ood_features.measure(picture, found)


if __name__ == "__main__":
    main()
