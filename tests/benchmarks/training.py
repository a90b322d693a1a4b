"""Training throughput: the loop of lungcli against a plain torchvision loop on the same slices.

The plain loop is what tutorials show: a DataLoader that decodes and resizes each JPEG every epoch, three channels,
float32, Adam, random rotation and flip.
Run: python -m tests.benchmarks.training [NET] [DATA]     (default: mobilenetv2, a drawn phantom set)
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Generator, Iterator
from pathlib import Path

import numpy as np
import torch
import torchvision
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from lungcli.core import recipe, registry
from lungcli.core.events import BatchDone
from lungcli.core.recipe import Recipe
from lungcli.datasets import manifest
from lungcli.datasets.phantom import dataset
from lungcli.pipeline import stages
from lungcli.training import devices, loop, nets
from lungcli.training.losses import criteria
from tests.benchmarks import machine

BATCHES = 12
WARM_UP = 2


def steps(settings: Recipe, scratch: Path) -> Generator[BatchDone, None, None]:
    """Train by `settings`, on all slices of the set: the loop's own events, one a batch."""
    settings = devices.resolve(settings)
    found = stages.load_run_data(settings)
    labels = np.array(found.manifest.labels(), dtype=np.int64)
    everything = np.arange(len(labels))
    net = nets.build(settings.model, len(found.manifest.classes), settings.size)
    criterion = criteria.label_loss(settings, torch.from_numpy(labels), len(found.manifest.classes))
    material = loop.TrainingData(
        pixels=found.pixels,
        labels=labels,
        classes=found.manifest.classes,
        train=everything,
        validation=everything[:32],
        digest="benchmark",
    )
    for event in loop.train("benchmark", net, criterion, settings, material, scratch):
        if isinstance(event, BatchDone):
            yield event


def ours(net_name: str, data: str) -> Iterator[float]:
    """Images a second of each batch of lungcli's loop."""
    settings = recipe.make(data=data, model=net_name, epochs=100)
    with tempfile.TemporaryDirectory() as scratch:
        before = time.perf_counter()
        for _ in steps(settings, Path(scratch)):
            yield settings.batch / (time.perf_counter() - before)
            before = time.perf_counter()


def plain(net_name: str, data: str) -> Iterator[float]:
    """Images a second of each batch of the plain loop."""
    size = recipe.make(data=data, model=net_name).size
    steps = [transforms.Resize((size, size)), transforms.RandomRotation(10), transforms.RandomHorizontalFlip()]
    pictures = ImageFolder(str(manifest.folder(data) / "slices"), transforms.Compose([*steps, transforms.ToTensor()]))
    loader = DataLoader(pictures, batch_size=32, shuffle=True, num_workers=2, persistent_workers=True)
    function = registry.net(net_name).build.partition(":")[2]
    net = torchvision.models.get_model(function, weights=None, num_classes=len(pictures.classes)).train()
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    before = time.perf_counter()
    while True:
        for slices, labels in loader:
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(net(slices), labels)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            yield len(labels) / (time.perf_counter() - before)
            before = time.perf_counter()


def main() -> None:
    """Measure and print."""
    net_name = sys.argv[1] if len(sys.argv) > 1 else "mobilenetv2"
    data = sys.argv[2] if len(sys.argv) > 2 else "phantom"
    if data not in manifest.existing():
        dataset.make_dataset(name=data)
    running = (ours(net_name, data), plain(net_name, data))
    speeds: tuple[list[float], list[float]] = ([], [])
    for _ in range(BATCHES):
        for speed, batches in zip(speeds, running, strict=True):
            speed.append(next(batches))
    machine.state()
    medians = [statistics.median(speed[WARM_UP:]) for speed in speeds]
    machine.say(f"{net_name}: lungcli {medians[0]:.1f} images/s, plain loop {medians[1]:.1f} images/s")
    machine.say(f"lungcli ÷ plain: {medians[0] / medians[1]:.2f}×")


if __name__ == "__main__":
    main()
