"""How import, grouping, splits and the cache grow with the data: seconds and peak memory at 1k, 5k and 20k slices.

Run: python -m tests.benchmarks.scaling [SLICES]…     (some minutes; makes and removes its own data)

1,000 phantoms are drawn at 256 pixels; the others are made of those by a shift of up to 6 pixels, another contrast
and noise of their own, each kept as a JPEG file. Every step runs in a process of its own, start-up included; grouping,
splitting and folds are timed within theirs, after the slices were read.
"""

import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lungcli.datasets import cache, group_thresholds, groups, manifest, splits
from lungcli.datasets.phantom import dataset
from tests.benchmarks import machine

DRAWN = 1000
SIDE = 256
NAME = "scaling"

PEAK = "import resource, sys; sys.stdout.write(f'\\n{resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e3}')"


def main() -> None:
    """Measure and print; with the name of a step, do that step alone."""
    if sys.argv[1:2] == ["step"]:
        step(sys.argv[2])
        return
    sizes = [int(size) for size in sys.argv[1:]] or [1000, 5000, 20_000]
    machine.state()
    with tempfile.TemporaryDirectory() as scratch:
        drawn = draw(min(DRAWN, *sizes))
        for count in sizes:
            source, home = Path(scratch, f"source-{count}"), Path(scratch, f"home-{count}")
            write(drawn, count, source)
            lungcli = [sys.executable, "-m", "lungcli"]
            report(count, "import", [*lungcli, "data", "import", str(source), "--name", NAME], home)
            report(count, "data groups", [*lungcli, "data", "groups", NAME], home)
            for name in ("group", "split", "5 folds", "cache at 224"):
                report(count, name, [sys.executable, "-m", __spec__.name, "step", name], home)


def report(count: int, name: str, command: list[str], home: Path) -> None:
    """Run a step in a process of its own and print its seconds and peak memory."""
    code = f"import subprocess; subprocess.run({command!r}, check=True); {PEAK}"
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"LUNGCLI_HOME": str(home)},
    )
    seconds = time.perf_counter() - start
    *lines, peak = done.stdout.splitlines()
    own = [line for line in lines if line.startswith("SECONDS")]
    if own:
        seconds = float(own[0].split()[1])
    machine.say(f"{count:>6} slices  {name:<12} {seconds:7.2f} s  {float(peak):6.0f} MB")


def step(name: str) -> None:
    """Do one step on the data set of this home and print its seconds."""
    found = manifest.load(NAME)
    thumbs = group_thresholds.read_thumbnails(found) if name == "group" else None
    start = time.perf_counter()
    if thumbs is not None:
        groups.near_duplicate_groups(thumbs, [item.sha256 for item in found.slices], [None] * len(found.slices))
    elif name == "split":
        splits.require_no_leak(found, splits.make_split(found))
    elif name == "5 folds":
        splits.cross_validation_folds(found, 5)
    else:
        cache.load(found, manifest.folder(NAME), 224)
    machine.say(f"SECONDS {time.perf_counter() - start}")


def draw(count: int) -> list[tuple[str, NDArray[np.uint8]]]:
    """Draw phantoms: class and pixels of each."""
    planned = [(patient, z) for patient in dataset.patients(count, 0) for z in patient.positions()]
    with ThreadPoolExecutor() as pool:
        return list(pool.map(lambda item: (item[0].label, dataset.render(item[0], item[1], SIDE)), planned))


def write(drawn: list[tuple[str, NDArray[np.uint8]]], count: int, source: Path) -> None:
    """Write `count` slices made of the drawn ones, one folder a class."""
    for label in {label for label, _ in drawn}:
        (source / label).mkdir(parents=True)

    def one(number: int) -> None:
        label, pixels = drawn[number % len(drawn)]
        rng = np.random.default_rng(number)
        moved = np.roll(pixels, rng.integers(-6, 7, 2), (0, 1)).astype(np.float32) * rng.uniform(0.9, 1.1)
        moved += rng.standard_normal(moved.shape, dtype=np.float32) * 4
        picture = Image.fromarray(np.clip(moved, 0, 255).astype(np.uint8))
        picture.save(source / label / f"{number}.jpg", quality=95)

    with ThreadPoolExecutor() as pool:
        list(pool.map(one, range(count)))


if __name__ == "__main__":
    main()
