"""What a slice costs before the net sees it: reading, finding the lungs, cropping, and the guard's look.

Run: python -m tests.benchmarks.preparation
"""

import io
import statistics
from collections.abc import Callable, Iterator

from PIL import Image

from lungcli.data import chest, phantom, signs
from lungcli.data.prepare import prepare
from lungcli.data.read import read
from tests.benchmarks import machine

SLICES, REPEATS, SIZE = 20, 15, 224


def main() -> None:
    """Measure and print: the median over slices of the fastest of several calls, in milliseconds."""
    machine.state()
    times: dict[str, list[float]] = {}
    for file in files():
        for name, call in calls(file):
            fastest = min(machine.seconds(call) for _ in range(REPEATS))
            times.setdefault(name, []).append(fastest * 1000)
    for name, taken in times.items():
        machine.say(f"{name:<32} {statistics.median(taken):6.2f} ms")


def files() -> Iterator[bytes]:
    """Draw slices of 512×512 pixels as JPEG files."""
    for patient in list(phantom.patients(6 * SLICES, 0))[:SLICES]:
        file = io.BytesIO()
        Image.fromarray(phantom.render(patient, 0.0)).save(file, "JPEG", quality=95)
        yield file.getvalue()


def calls(file: bytes) -> Iterator[tuple[str, Callable[[], object]]]:
    """Name what is done to one file."""
    picture = read(file, "slice.jpg")
    found = chest.find(picture.grey)
    yield "read a JPEG of 512×512", lambda: read(file, "slice.jpg")
    yield "find the lungs", lambda: chest.find(picture.grey)
    yield f"crop and scale to {SIZE}×{SIZE}", lambda: prepare(picture.grey, SIZE, found)
    yield "preparation: both together", lambda: prepare(picture.grey, SIZE)
    yield "the guard's look", lambda: signs.look(picture, found)


if __name__ == "__main__":
    main()
