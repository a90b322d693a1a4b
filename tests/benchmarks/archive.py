"""What 10 million slices cost: the parts of a slice on one core, what Ray adds, and what decides with how many cores.

Run: python -m tests.benchmarks.archive [FOLDER] [--s3] [--ray] [--rounds N]     (drawn slices where none are named)

Prints tables in Markdown. Parts are processor time, which other work on the machine hardly changes. With `--ray` the
command is timed by the clock, as it is typed, which wants a machine with nothing else to do: a job of n slices in s
shards by w workers is taken to last `start + n * slice / w + s * shard`. Workers share what is linear in slices; all
that a shard costs beyond its slices is taken for the driver's, which is the worst case. With `--s3` slices are
fetched from a store on loopback (`pip install '.[s3]'`), which costs a core more than reading a disk does.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from lungcli.batch import filesystem, shards
from lungcli.batch.shards import File
from lungcli.core import cpu as hardware
from lungcli.core import package_data
from lungcli.datasets.phantom import dataset
from lungcli.imaging import lung_segmentation, ood, ood_features
from lungcli.imaging.image_io import read
from lungcli.imaging.preprocessing import prepare_in
from lungcli.modelfile import model_file
from lungcli.modelfile.model_file import Model
from lungcli.predict.inputs import Item
from lungcli.predict.predict import capture_and_predict
from tests.batch import archives
from tests.benchmarks import machine
from tests.imaging import dicoms

MANY = 10_000_000
SHARD_SIZE = 1000
SLICES, REPEATS, PASSES, LISTED = 40, 7, 3, 100_000
FETCHING = "fetching from S3, on top"
# Of timed jobs: slices, enough that their start is the smaller part; files in a shard; and shards of a file each, as
# many as a worker is given at once.
ENOUGH, A_SHARD, SHARDS = 1500, 100, 64
CORES = (1, 16, 64, 256, 1024, 4096)
STORES = {"100 MB/s": 1e8, "1 GB/s": 1e9, "10 GB/s": 1e10}
# By the clock, so many times the processor time and its start: other work on the machine.
BUSY = 1.5
# Done; done, but for files that were refused or not readable.
_DONE = (0, 4)

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Seconds: `start` once; `slice` of a core for each file of `size` bytes; `shard` of the driver for each shard."""

    start: float
    slice: float
    shard: float
    size: float

    def rates(self, cores: int, store: float) -> dict[str, float]:
        """Slices a second that each could do, were the others free."""
        rates = {"cores": cores / self.slice, "store": store / self.size}
        return rates | ({"driver": SHARD_SIZE / self.shard} if self.shard > 0 else {})


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--s3", action="store_true")
    parser.add_argument("--ray", action="store_true")
    parser.add_argument("--rounds", type=int, default=2)
    asked = parser.parse_args()
    wanted = {"ray": asked.ray, "pyarrow": asked.ray or asked.s3, "moto": asked.s3}
    if missing := [name for name, needed in wanted.items() if needed and find_spec(name) is None]:
        parser.error(f"not installed: {', '.join(missing)}; pip install '.[ray,s3]'")
    if asked.rounds < 1:
        parser.error("--rounds takes 1 or more")
    machine.state()
    with tempfile.TemporaryDirectory() as scratch:
        folder = asked.folder or drawn(Path(scratch, "drawn"))
        files = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith(".")]
        if not files:
            parser.error(f"there are no files in {folder}")
        chosen = files[:: max(1, len(files) // SLICES)][:SLICES]
        model = model_file.load(package_data.MODEL, 1)
        stored, size = per_slice(chosen, model)
        as_dicom = dicom_files(chosen, Path(scratch, "dicom"))
        dicom, dicom_size = per_slice(as_dicom, model)
        if asked.s3:
            stored[FETCHING], dicom[FETCHING] = fetching(chosen), fetching(as_dicom)
        show_parts(stored, size, dicom, dicom_size)
        cost = Cost(start=show_dividing(), slice=stored["all of it"], shard=0.0, size=size)
        if asked.ray:
            cost = show_ray(files, cost, Path(scratch), asked.rounds)
        where = " in S3" if asked.s3 else ""
        more = stored.get(FETCHING, 0.0)
        show_many(replace(cost, slice=cost.slice + more), f"As they are stored{where}")
        more = dicom["all of it"] - stored["all of it"] + dicom.get(FETCHING, 0.0)
        show_many(replace(cost, slice=cost.slice + more, size=dicom_size), f"As uncompressed DICOM{where}")


def drawn(folder: Path) -> Path:
    """Draw slices of 512×512 pixels as JPEG files."""
    folder.mkdir()
    for number, patient in enumerate(list(dataset.patients(6 * SLICES, 0))[:SLICES]):
        Image.fromarray(dataset.render(patient, 0.0)).save(folder / f"{number}.jpg", "JPEG", quality=95)
    return folder


def dicom_files(files: Sequence[Path], folder: Path) -> list[Path]:
    """Write the same slices as scanners do: uncompressed, 16 bits a pixel."""
    folder.mkdir()
    made = [folder / f"{number}.dcm" for number in range(len(files))]
    for file, path in zip(files, made, strict=True):
        path.write_bytes(dicoms.dicom(np.rint(read(file).grey * 1500 - 326).astype(np.int16)))
    return made


def per_slice(files: Sequence[Path], model: Model) -> tuple[dict[str, float], float]:
    """Seconds of each part of a slice, processor time of one core; and bytes of a file. Means over files."""
    rows = [parts(file, model) for file in files]
    means = {name: statistics.mean(row[name] for row in rows) for name in rows[0]}
    return means, statistics.mean(file.stat().st_size for file in files)


def parts(file: Path, model: Model) -> dict[str, float]:
    """Seconds of each part of one slice: the best of some, as other work on the machine only adds."""
    rows = [in_turn(file, model) for _ in range(REPEATS)]
    return {name: min(row[name] for row in rows) for name in rows[0]}


def in_turn(file: Path, model: Model) -> dict[str, float]:
    """Judge a slice part by part, each in the state the one before left the processor's caches in."""
    content, reading = timed(file.read_bytes)
    picture, decoding = timed(lambda: read(content, file.name))
    found, finding = timed(lambda: lung_segmentation.segment(picture.pixels))
    seen, looking = timed(lambda: ood_features.measure(picture, found))
    _, guarding = timed(
        lambda: ood.layout_rejection(seen) or (model.card.guard and ood.distance(seen, model.card.guard))
    )
    prepared, preparing = timed(
        lambda: prepare_in(lung_segmentation.as_image(picture.pixels), model.card.size, found)[None]
    )
    _, net = timed(lambda: model.probabilities(prepared))
    _, whole = timed(lambda: capture_and_predict(Item(shown=file.name, source=file), model))
    return {
        "reading": reading,
        "decoding": decoding,
        "finding the lungs": finding,
        "guard": looking + guarding,
        "cropping and scaling": preparing,
        "net": net,
        "all of it": whole,
    }


def timed(call: Callable[[], T]) -> tuple[T, float]:
    """Call, and take the time that the processor spent on it."""
    before = time.process_time()
    found = call()
    return found, time.process_time() - before


def fetching(files: Sequence[Path]) -> float:
    """Processor seconds of one process to get a file from a store on loopback, by HTTP without encryption."""
    contents = {f"{number}{file.suffix}": file.read_bytes() for number, file in enumerate(files)}
    with archives.store() as settings:
        os.environ |= settings
        archives.put("slices", contents)
        place = filesystem.open_location("s3://slices")
        passes = [timed(lambda: [filesystem.content(place, name) for name in contents])[1] for _ in range(PASSES)]
    return min(passes) / len(contents)


def show_parts(stored: dict[str, float], size: float, dicom: dict[str, float], dicom_size: float) -> None:
    """Print what each part of a slice takes of one core, for the same slices in two formats."""
    machine.say(
        f"\nOne core, the bundled model, means over {SLICES} slices, read from memory: as they are stored "
        f"({size / 1e6:.3f} MB each) and the same as uncompressed DICOM ({dicom_size / 1e6:.3f} MB).\n"
    )
    machine.say("| part | ms a slice | share | slices/s a core | core-hours for 10 million | as DICOM, ms |")
    machine.say("|---|--:|--:|--:|--:|--:|")
    shares = {name: seconds / stored["all of it"] for name, seconds in stored.items()}
    for name, seconds in stored.items():
        machine.say(
            f"| {name} | {1000 * seconds:.2f} | {shares[name]:.0%} | {1 / seconds:,.0f} | "
            f"{seconds * MANY / 3600:.1f} | {1000 * dicom[name]:.2f} |"
        )
    machine.say(
        f"\nOn any number of cores: a net that took no time would save {shares['net']:.0%} of their work, a decoder "
        f"{shares['decoding']:.0%} (of DICOM {dicom['decoding'] / dicom['all of it']:.0%}).\n"
    )


def show_dividing() -> float:
    """Print and return the seconds that dividing all names takes, which the driver does alone before anything else."""
    files = [File(name=f"{i // 300:06}/study/{i}.dcm", size=524_288, changed=i) for i in range(LISTED)]
    seconds = timed(lambda: tuple(shards.divide(files, SHARD_SIZE)))[1] * MANY / LISTED
    few = LISTED // 10
    tracemalloc.start()
    kept = [File(name=f"{i // 300:06}/study/{i}.dcm", size=524_288, changed=i) for i in range(few)]
    divided = tuple(shards.divide(kept, SHARD_SIZE))
    gigabytes = tracemalloc.get_traced_memory()[1] * MANY / few / 1e9
    tracemalloc.stop()
    machine.say(
        f"Before all else one machine divides {MANY:,} names into {len(divided) * MANY // few:,} shards: "
        f"{seconds:.0f} s, {gigabytes:.1f} GB. Listing them comes on top and is up to the store."
    )
    return seconds


def show_ray(files: Sequence[Path], cost: Cost, scratch: Path, rounds: int) -> Cost:
    """Print and return what a job costs by the clock: its start, a slice, a shard. Jobs take turns; the best counts."""
    cores = hardware.physical_cores()
    slices = [*files] * max(1, round(ENOUGH / len(files)))
    many, one = linked(slices, scratch / "many"), linked(files[:1], scratch / "one")
    single = linked([files[0]] * SHARDS, scratch / "single")
    jobs: dict[str, Callable[[int], float]] = {
        "here": lambda _: seconds(many, "--jsonl", "--threads", 1),
        "start": lambda turn: with_ray(one, scratch / f"start-{turn}", 1, 1),
        "first": lambda turn: with_ray(many, scratch / f"first-{turn}", 1, A_SHARD),
        "again": lambda turn: with_ray(many, scratch / f"first-{turn}", 1, A_SHARD),
        "all": lambda turn: with_ray(many, scratch / f"all-{turn}", cores, A_SHARD),
        "single": lambda turn: with_ray(single, scratch / f"single-{turn}", 1, 1),
    }
    rows = [{name: job(turn) for name, job in jobs.items()} for turn in range(rounds)]
    best = {name: min(row[name] for row in rows) for name in jobs}
    shard = max(0.0, (best["single"] - best["start"]) / (SHARDS - 1) - cost.slice)
    others = best["start"] + shard * (len(slices) / A_SHARD - 1)
    # A machine with other work to do may have taken as long for one file as for all.
    rate = {name: (len(slices) - 1) / max(best[name] - others, best[name] / 10) for name in ("first", "all")}
    count = f"{len(slices):,} files"
    machine.say(f"\nBy the clock, the best of {rounds} rounds, in shards of {A_SHARD} files:\n")
    machine.say("| command | s | files/s | files/s once it runs |\n|---|--:|--:|--:|")
    machine.say(f"| one process, one thread: {count} | {best['here']:.1f} | {len(slices) / best['here']:.1f} | |")
    for name, workers in (("first", "1 worker"), ("all", f"{cores} workers")):
        took = best[name]
        machine.say(f"| Ray, {workers}: {count} | {took:.1f} | {len(slices) / took:.1f} | {rate[name]:.1f} |")
    machine.say(f"| Ray, 1 worker: {SHARDS} files, each a shard | {best['single']:.1f} | | |")
    machine.say(f"| Ray, 1 worker: one file | {best['start']:.1f} | | |")
    machine.say(f"| Ray: {count}, no verdict missing | {best['again']:.1f} | | |")
    machine.say(
        f"\nOnce: {best['start']:.1f} s to start and end. A shard: {1000 * shard:.0f} ms beyond its slices. A slice: "
        f"{1000 / rate['first']:.2f} ms of a worker ({1000 * cost.slice:.2f} ms without Ray and Parquet). "
        f"{cores} workers do {rate['all'] / rate['first']:.2f} times what one does, with the driver beside them."
    )
    held_up = best["here"] / (len(slices) * cost.slice)
    if held_up > BUSY:
        machine.say(
            f"\n**Not to be used:** one process took {held_up:.1f} times its processor time, so this machine had other "
            "work; times by the clock, and all that follows, want a quiet one."
        )
    return replace(cost, start=cost.start + best["start"], slice=1 / rate["first"], shard=shard)


def linked(files: Sequence[Path], folder: Path) -> Path:
    """Make a folder of links to files, each as often as it is there."""
    folder.mkdir()
    for number, file in enumerate(files):
        (folder / f"{number:06}{file.suffix}").symlink_to(file.resolve())
    return folder


def with_ray(folder: Path, output: Path, workers: int, shard: int) -> float:
    """Time a job on this machine."""
    return seconds(folder, "--engine", "ray", "--output", output, "--threads", workers, "--shard-size", shard)


def seconds(*arguments: object) -> float:
    """Time `lungcli predict` as it is typed; workers of Ray get the turns that others get."""
    command = [sys.executable, "-m", "lungcli", "predict", *map(str, arguments)]
    environment = os.environ | {"RAY_worker_niceness": "0"}
    before = time.perf_counter()
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    if done.returncode not in _DONE:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
    return time.perf_counter() - before


def show_many(cost: Cost, title: str) -> None:
    """Print how long ten million slices take, and what decides it, by the number of cores and the store's rate."""
    taken = cost.size / cost.slice
    machine.say(
        f"\n{title}, {cost.size * MANY / 1e12:.1f} TB: {cost.slice * MANY / 3600:.1f} core-hours, and "
        f"{cost.start:.0f} s before and after, however many cores. Hours by the clock, and what decides them:\n"
    )
    machine.say(f"| cores | {' | '.join(f'store of {name}' for name in STORES)} |")
    machine.say("|--:|" + "--:|" * len(STORES))
    for cores in CORES:
        cells = [hours(cost, cores, store) for store in STORES.values()]
        machine.say(f"| {cores:,} | {' | '.join(cells)} |")
    turns = ", ".join(f"{max(1.0, store / taken):,.0f} at {name}" for name, store in STORES.items())
    driver = f"; from {SHARD_SIZE * cost.slice / cost.shard:,.0f} on the driver would" if cost.shard else ""
    machine.say(f"\nA core takes {taken / 1e6:.1f} MB/s. The store decides from so many cores on: {turns}{driver}.")


def hours(cost: Cost, cores: int, store: float) -> str:
    """Return the hours of ten million slices, and what they wait for."""
    rates = cost.rates(cores, store)
    slowest = min(rates, key=rates.__getitem__)
    return f"{(cost.start + MANY / rates[slowest]) / 3600:.2f} ({slowest})"


if __name__ == "__main__":
    main()
