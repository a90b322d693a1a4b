"""Training throughput: the loop of lungcli against a plain torchvision loop on the same slices.

The plain loop is what tutorials show: a DataLoader that decodes and resizes each JPEG every epoch, three channels,
float32, Adam, random rotation and flip. Each runs in a process of its own, since lungcli's keeps freed memory for the
next batch (`devices`): the kernel's share of processor time, most of it for new pages, shows what that saves.
Run: python -m tests.benchmarks.training [NET] [DATA] [SIZE]     (default: mobilenetv2, a drawn phantom set, 224)
"""

import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from multiprocessing.connection import Connection
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


def ours(net_name: str, data: str, size: int) -> Iterator[float]:
    """Images a second of each batch of lungcli's loop."""
    settings = recipe.make(data=data, model=net_name, epochs=100, size=size)
    with tempfile.TemporaryDirectory() as scratch:
        before = time.perf_counter()
        for _ in steps(settings, Path(scratch)):
            yield settings.batch / (time.perf_counter() - before)
            before = time.perf_counter()


def plain(net_name: str, data: str, size: int) -> Iterator[float]:
    """Images a second of each batch of the plain loop."""
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


def answer(
    loop_of: Callable[[str, str, int], Iterator[float]], arguments: tuple[str, str, int], link: Connection
) -> None:
    """Do a batch for each message that comes, and send back its speed and the kernel's share of processor time."""
    batches = loop_of(*arguments)
    while link.recv():
        before = os.times()
        speed = next(batches)
        after = os.times()
        kernel, user = after.system - before.system, after.user - before.user
        link.send((speed, kernel / (kernel + user)))


def main() -> None:
    """Measure and print."""
    net_name, data, size = (*sys.argv[1:], *("mobilenetv2", "phantom", "224")[len(sys.argv) - 1 :])
    if data not in manifest.existing():
        dataset.make_dataset(name=data)
    context = multiprocessing.get_context("spawn")
    links = []
    for loop_of in (ours, plain):
        link, far_end = context.Pipe()
        context.Process(target=answer, args=(loop_of, (net_name, data, int(size)), far_end)).start()
        links.append(link)
    measured: tuple[list[tuple[float, float]], ...] = ([], [])
    for _ in range(BATCHES):
        for link, values in zip(links, measured, strict=True):
            link.send(True)
            values.append(link.recv())
    for link in links:
        link.send(False)
    machine.state()
    names, medians = ("lungcli", "plain loop"), []
    for name, values in zip(names, measured, strict=True):
        speed, kernel = (statistics.median(column) for column in zip(*values[WARM_UP:], strict=True))
        medians.append(speed)
        machine.say(
            f"{net_name} at {size} px, {name}: {speed:.1f} images/s, {kernel:.0%} of processor time in the kernel"
        )
    machine.say(f"lungcli ÷ plain: {medians[0] / medians[1]:.2f}×")


if __name__ == "__main__":
    main()
