"""Data of several hospitals: seconds and peak memory to combine, group and cache 6,000 slices, and to group 20,000.

Run: python -m tests.benchmarks.institutions [COMBINED [GROUPED]]     (some minutes; makes and removes its own data)

Slices are those of `scaling`, in five data sets of a hospital each, whose label tables name ten slices a patient. Aims,
on two cores: 6,000 combined, grouped and cached within 30 s; 20,000 grouped within 60 s and 1.5 GB.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from lungcli.datasets import cache, combine, group_thresholds, groups, manifest
from lungcli.datasets.ingest import importer
from tests.benchmarks import machine, scaling

HOSPITALS = 5
SLICES_A_PATIENT = 10
SIZE = 224


def main() -> None:
    """Measure and print; with the name of a step, do that step alone."""
    if sys.argv[1:2] == ["step"]:
        step(sys.argv[2])
        return
    counts = [int(count) for count in sys.argv[1:]]
    combined, grouped = [*counts, *(6000, 20_000)[len(counts) :]]
    machine.state()
    with tempfile.TemporaryDirectory() as scratch:
        drawn = scaling.draw(min(scaling.DRAWN, combined))
        for count, steps in ((combined, ("import", "combine", "cache")), (grouped, ("import", "combine", "group"))):
            folder = Path(scratch, str(count))
            for number in range(HOSPITALS):
                source = folder / f"hospital-{number}"
                scaling.write(drawn, count // HOSPITALS, source)
                label(source, number)
            for name in steps:
                report(count, name, folder)


def label(source: Path, number: int) -> None:
    """Write the label table of a hospital."""
    files = sorted(path.relative_to(source) for path in source.rglob("*.jpg"))
    rows = [
        f"{path},{path.parts[0]},patient {number}-{place // SLICES_A_PATIENT},hospital {number}"
        for place, path in enumerate(files)
    ]
    (source / importer.TABLE).write_text("\n".join(["path,label,patient,institution", *rows]))


def report(count: int, name: str, folder: Path) -> None:
    """Do a step in a process of its own and print its seconds and peak memory."""
    code = (
        f"import resource, sys; from tests.benchmarks import institutions; institutions.step({name!r}); "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"LUNGCLI_HOME": str(folder / "home"), "BENCHMARK_SOURCE": str(folder)},
    )
    seconds, peak = map(float, done.stdout.split())
    machine.say(f"{count:>6} slices  {name:<8} {seconds:7.2f} s  {peak:6.0f} MB")


def step(name: str) -> None:
    """Do one step on the data sets of this home and print its seconds."""
    sources = [Path(os.environ["BENCHMARK_SOURCE"], f"hospital-{number}") for number in range(HOSPITALS)]
    start = time.perf_counter()
    if name == "import":
        for source in sources:
            importer.import_dataset(source)
    elif name == "combine":
        combine.combine([source.name for source in sources], "combined")
    else:
        data = manifest.load("combined")
        thumbs = group_thresholds.read_thumbnails(data) if name == "group" else None
        start = time.perf_counter()
        if thumbs is None:
            cache.load(data, manifest.folder(data.name), SIZE)
        else:
            patients = [item.patient for item in data.slices]
            hashes = [item.sha256 for item in data.slices]
            groups.near_duplicate_groups(thumbs, hashes, [None] * len(hashes), patients=patients)
    machine.say(str(time.perf_counter() - start))


if __name__ == "__main__":
    main()
