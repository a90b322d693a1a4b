"""What the guard lets through: AUROC and false accepts at 95 % acceptance by kind of intruder, and what it costs.

Run: python -m tests.benchmarks.guard [DATA]     (default: phantom; `pip install scikit-image` adds its photographs)

Statistics are fitted on the training part of the data set's grouped split, the threshold for 95 % is set on its test
part. A refused picture counts as further away than any that was not. Windows are changed as if the slices were shown
at centre -600 HU and width 1500 HU, which is true of phantoms and nearly so of other sets.
"""

import importlib.resources
import importlib.util
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pydicom.data

from lungcli.core.errors import ModelFileError, UnreadableInputError
from lungcli.datasets import manifest, splits
from lungcli.datasets.manifest import Manifest
from lungcli.imaging import lung_segmentation, ood, ood_features
from lungcli.imaging.image_io import read
from lungcli.imaging.ood import OodStatistics
from lungcli.imaging.ood_features import Features
from lungcli.imaging.picture import Grey, Picture
from lungcli.imaging.preprocessing import prepare
from lungcli.modelfile import model_file, model_paths
from tests.benchmarks import machine
from tests.imaging import intruders

REFUSED = 1000.0
# One grey frame each, that pydicom decodes without a plug-in.
DICOM = ("MR_small.dcm", "rtdose_1frame.dcm", "liver_1frame.dcm", "examples_overlay.dcm", "examples_palette.dcm")
DRAWN = 60
ROUNDS = 100


def main() -> None:
    """Measure and print."""
    data = manifest.load(sys.argv[1] if len(sys.argv) > 1 else "phantom")
    split = splits.make_split(data, protocol="grouped", seed=0)
    seen = _looks(data)
    statistics = ood.fit(ood.feature_rows(seen[i] for i in split.train), ood.feature_rows(seen[i] for i in split.val))
    if statistics is None:
        raise SystemExit(f"{data.name} has no training slices")
    real = np.array([_score(seen[i], statistics) for i in split.test])
    refused = sum(ood.layout_rejection(item) is not None for item in seen)
    machine.state()
    machine.say(f"{data.name}: {refused} of all {len(seen)} slices refused, test part below")
    machine.say(f"{'kind':<28}{'n':>5}{'refused':>9}{'referred':>9}{'AUROC':>7}{'FA at 95 %':>11}")
    tests = [read(manifest.folder(data.name) / data.slices[i].path).grey for i in split.test]
    for name, change in intruders.CHANGES.items():
        _row(f"slice, {name}", (change(grey) for grey in tests), real, statistics)
    machine.say("intruders")
    for name, change in (("inverted grey", intruders.negative), ("turned on its side", intruders.turned)):
        _row(name, (change(grey) for grey in tests), real, statistics)
    for name, draw in intruders.DRAWN.items():
        _row(name, map(draw, range(DRAWN)), real, statistics)
    _row("pydicom's test files", _dicom(), real, statistics)
    if importlib.util.find_spec("skimage"):
        photos = list(_photos())
        _row("photographs, colour", photos, real, statistics)
        _row("photographs, grey", (photo.grey for photo in photos), real, statistics)
    _cost(manifest.folder(data.name) / data.slices[split.test[0]].path)


def _looks(data: Manifest) -> list[Features]:
    folder = manifest.folder(data.name)
    return [ood_features.measure(read(folder / item.path)) for item in data.slices]


def _score(seen: Features, statistics: OodStatistics) -> float:
    return REFUSED if ood.layout_rejection(seen) else ood.distance(seen, statistics)


def _row(
    name: str,
    pictures: Iterable[Grey | Picture],
    real: "np.ndarray[tuple[int], np.dtype[np.float64]]",
    statistics: OodStatistics,
) -> None:
    found = [ood_features.measure(item if isinstance(item, Picture) else intruders.picture(item)) for item in pictures]
    scores = np.array([_score(seen, statistics) for seen in found])
    # The area under the curve is the share of pairs in the right order, ties for one half (Mann and Whitney 1947).
    auroc = (scores[:, None] > real).mean() + 0.5 * (scores[:, None] == real).mean()
    accepted = (scores <= np.quantile(real, 0.95)).mean()
    refused, referred = (scores == REFUSED).mean(), ((scores > 1) & (scores < REFUSED)).mean()
    machine.say(f"{name:<28}{len(scores):>5}{refused:>9.1%}{referred:>9.1%}{auroc:>7.3f}{accepted:>11.1%}")


def _dicom() -> Iterator[Grey]:
    for name in DICOM:
        path = pydicom.data.get_testdata_file(name)
        values = np.asarray(pydicom.dcmread(str(path)).pixel_array, dtype=np.float32)
        yield (values - values.min()) / max(float(np.ptp(values)), 1.0)


def _photos() -> Iterator[Picture]:
    for item in sorted(importlib.resources.files("skimage").joinpath("data").iterdir(), key=lambda item: item.name):
        if item.name.endswith((".png", ".jpg")):
            try:
                yield read(item.read_bytes(), item.name)
            except UnreadableInputError as error:
                machine.say(error.message)


def _cost(path: Path) -> None:
    """Print what the guard takes of one prediction, file to verdict, with the newest model."""
    try:
        model = model_file.load(model_paths.bundled(), threads=1)
    except ModelFileError as error:
        machine.say(f"cost not measured: {error.message}")
        return
    picture = read(path)
    found = lung_segmentation.segment(picture.pixels)
    statistics = model.card.guard

    def guarded() -> object:
        seen = ood_features.measure(picture, found)
        return ood.layout_rejection(seen), ood.distance(seen, statistics) if statistics else 0.0

    def predicted() -> object:
        pixels = read(path).pixels
        return model.probabilities(prepare(pixels, model.card.size)[None])

    alone, rest = machine.taking_turns((guarded, predicted), ROUNDS)
    machine.say(
        f"guard {alone * 1000:.2f} ms, the rest {rest * 1000:.2f} ms "
        f"({model.card.model} {model.card.precision}, {model.card.size} px, 1 thread): "
        f"{alone / (alone + rest):.1%} of a prediction"
    )


if __name__ == "__main__":
    main()
