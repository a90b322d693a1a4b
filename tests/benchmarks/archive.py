"""What an archive costs: the parts of a slice on one core, the start of Ray, and ten million slices in core-hours.

Run: python -m tests.benchmarks.archive [FOLDER] [--ray]     (drawn slices where no folder is named)
"""

import io
import os
import statistics
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from lungcli.archive import listing
from lungcli.archive.listing import File
from lungcli.core import bundled
from lungcli.data import chest, guard, phantom, signs
from lungcli.data.prepare import prepare
from lungcli.data.read import read
from lungcli.inference import modelfile
from lungcli.inference.predict import predict_one
from tests.benchmarks import machine

SLICES, REPEATS, MANY = 40, 7, 10_000_000
LISTED = 100_000


def main() -> None:
    """Measure and print."""
    machine.state()
    named = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
    with tempfile.TemporaryDirectory() as folder:
        source = Path(named[0]) if named else drawn(Path(folder, "drawn"))
        files = [path for path in sorted(source.rglob("*")) if path.is_file()]
        parts, size = per_slice(files[:: max(1, len(files) // SLICES)][:SLICES])
        show(parts, size)
        show_listing()
        if "--ray" in sys.argv:
            show_ray(source, len(files), Path(folder))


def drawn(folder: Path) -> Path:
    """Draw slices of 512×512 pixels as JPEG files."""
    folder.mkdir()
    for number, patient in enumerate(list(phantom.patients(6 * SLICES, 0))[:SLICES]):
        Image.fromarray(phantom.render(patient, 0.0)).save(folder / f"{number}.jpg", "JPEG", quality=95)
    return folder


def per_slice(files: Iterable[Path]) -> tuple[dict[str, float], float]:
    """Seconds of each part of a slice, processor time of one core; and megabytes of a file. Medians over files."""
    model = modelfile.load(bundled.MODEL, 1)
    times: dict[str, list[float]] = {}
    sizes: list[int] = []
    for file in files:
        sizes.append(file.stat().st_size)
        content = file.read_bytes()
        picture = read(content, file.name)
        found = chest.find(picture.grey)
        prepared = prepare(picture.grey, model.card.size, found)[None]
        calls: dict[str, Callable[[], object]] = {
            "reading": file.read_bytes,
            "decoding": lambda content=content, name=file.name: read(content, name),  # type: ignore[misc]
            "finding the lungs": lambda picture=picture: chest.find(picture.grey),  # type: ignore[misc]
            "guard": lambda picture=picture, found=found: guard.refuse(signs.look(picture, found)),  # type: ignore[misc]
            "preparing": lambda picture=picture, found=found: prepare(picture.grey, model.card.size, found),  # type: ignore[misc]
            "net": lambda prepared=prepared: model.probabilities(prepared),  # type: ignore[misc]
            "all of it": lambda file=file: predict_one(file, model),  # type: ignore[misc]
        }
        for name, call in calls.items():
            times.setdefault(name, []).append(min(processor_seconds(call) for _ in range(REPEATS)))
    return {name: statistics.median(taken) for name, taken in times.items()}, statistics.median(sizes) / 1e6


def processor_seconds(call: Callable[[], object]) -> float:
    """Time that the processor spent on a call: other work on the machine hardly counts."""
    before = time.process_time()
    call()
    return time.process_time() - before


def show(parts: dict[str, float], size: float) -> None:
    """Print the parts of a slice, what ten million cost, and which part decides from how many cores on."""
    whole = parts["all of it"]
    for name, seconds in parts.items():
        share = "" if name == "all of it" else f"{seconds / whole:5.0%}"
        hours = seconds * MANY / 3600
        machine.say(
            f"{name:<18} {1000 * seconds:7.3f} ms  {share:>5}  {1 / seconds:9,.0f}/s a core  {hours:7.2f} core-h"
        )
    machine.say(
        f"{MANY:,} slices of {size:.3f} MB are {size * MANY / 1e6:.2f} TB: {whole * MANY / 3600:.1f} core-hours"
    )
    machine.say(f"a core wants {size / whole:.1f} MB/s")
    for rate in (100, 1000, 10_000):
        cores = rate / (size / whole)
        machine.say(
            f"a store that gives {rate:>6,} MB/s keeps {cores:6.0f} cores busy: "
            f"{MANY * size / rate / 3600:6.2f} h for all, however many there are"
        )


def show_listing() -> None:
    """Print what it costs to divide a listing, which the driver does alone: the part that no worker shortens."""
    tracemalloc.start()
    began = time.process_time()
    files = [File(name=f"{i // 300:06}/study/{i}.dcm", size=524_288, changed=i) for i in range(LISTED)]
    divided = tuple(listing.shards(files, 1000))
    seconds, peak = time.process_time() - began, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    machine.say(
        f"dividing {LISTED:,} names into {len(divided)} shards: {seconds:.2f} s (traced), {peak / 1e6:.0f} MB; "
        f"for {MANY:,} about {seconds * MANY / LISTED:.0f} s and {peak * MANY / LISTED / 1e9:.1f} GB on one machine"
    )


def show_ray(source: Path, files: int, folder: Path) -> None:
    """Print the wall time of the command in one process, with Ray, and with Ray when there is nothing left to do."""
    lungcli = [sys.executable, "-m", "lungcli", "predict"]
    here = wall([*lungcli, "--jsonl", str(source)])
    ray = [*lungcli, "--engine", "ray", str(source), "--output", str(folder / "out"), "--shard-size", "100"]
    first, again = wall(ray), wall(ray)
    one = folder / "one"
    one.mkdir()
    picture = io.BytesIO()
    Image.fromarray(np.zeros((64, 64), dtype=np.uint8)).save(picture, "PNG")
    (one / "a.png").write_bytes(picture.getvalue())
    start = wall([*lungcli, "--engine", "ray", str(one), "--output", str(folder / "out-one")])
    machine.say(
        f"{files} files in one process {here:.1f} s; with Ray {first:.1f} s; again, nothing missing, {again:.1f} s"
    )
    machine.say(f"one black picture with Ray: {start:.1f} s, which is its start, a worker's and its end")


def wall(command: list[str]) -> float:
    """Time a command; workers of Ray get the turns that others get."""
    environment = os.environ | {"RAY_worker_niceness": "0"}
    return machine.seconds(lambda: subprocess.run(command, check=False, capture_output=True, env=environment))


if __name__ == "__main__":
    main()
