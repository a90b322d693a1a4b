"""How verdicts stand up to another acquisition: the same slices under every change of `imaging.perturbations`."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lungcli.datasets.files import Advance
from lungcli.imaging.image_io import read
from lungcli.imaging.perturbations import CHANGES
from lungcli.imaging.picture import Grey
from lungcli.imaging.preprocessing import prepare
from lungcli.metrics import classification, intervals
from lungcli.metrics.classification import Floats
from lungcli.metrics.intervals import Estimate
from lungcli.metrics.predictions import MALIGNANT, Evaluation
from lungcli.modelfile.model_card import StressFigures
from lungcli.modelfile.model_file import Model

UNCHANGED = "none"
# The unchanged slice, then every change at its three strengths.
CONDITIONS = (
    (UNCHANGED, 0, "as it is"),
    *((change.name, number, setting) for change in CHANGES for number, setting in enumerate(change.settings(), 1)),
)


def evaluate_robustness(
    model: Model, judged: Evaluation, folder: Path, advance: Advance | None = None
) -> tuple[StressFigures, ...]:
    """Judge the slices of `judged`, which lie in the data set's `folder`, under every condition, in their order.

    Each is decoded once; `advance(done, total)` hears of each slice. Several are worked on at a time, so `model` had
    better run on one thread. Raises UnreadableInputError for a slice that is gone or damaged.
    """
    files = [folder / path for path in judged.slices]
    found = np.empty((len(files), len(CONDITIONS), len(judged.classes)))
    for done, probabilities in enumerate(_judged(model, files), start=1):
        found[done - 1] = probabilities
        if advance:
            advance(done, len(files))
    return tuple(
        _figures(condition, judged, found[:, number], found[:, 0]) for number, condition in enumerate(CONDITIONS)
    )


def changed(grey: Grey, size: int) -> NDArray[np.uint8]:
    """Prepare one slice under every condition: uint8 [25, size, size]."""
    changes = [change.apply(grey, amount) for change in CHANGES for amount in change.amounts]
    return np.stack([prepare(item, size) for item in (grey, *changes)])


def _judged(model: Model, files: Sequence[Path]) -> Iterator[Floats]:
    """Yield the probabilities (25, K) of every slice, in order."""
    pool = ThreadPoolExecutor(max_workers=os.cpu_count() or 1)
    try:
        yield from pool.map(
            lambda path: model.probabilities(changed(read(path, colour=False).grey, model.card.size)), files
        )
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _figures(
    condition: tuple[str, int, str], judged: Evaluation, probabilities: Floats, unchanged: Floats
) -> StressFigures:
    labels, _, groups = judged.arrays()
    matrices = intervals.matrices_of(labels, probabilities, groups)
    flipped = probabilities.argmax(axis=1) != unchanged.argmax(axis=1)
    sensitivity = specificity = Estimate(value=None, low=None, high=None)
    malignant = np.zeros(len(labels), dtype=bool)
    if MALIGNANT in judged.classes:
        index = judged.classes.index(MALIGNANT)
        sensitivity = intervals.estimate(classification.recall_of(index), matrices)
        specificity = intervals.estimate(classification.specificity_of(index), matrices)
        malignant = labels == index
    name, strength, setting = condition
    return StressFigures(
        change=name,
        strength=strength,
        setting=setting,
        balanced_accuracy=intervals.estimate(classification.balanced_accuracy, matrices),
        malignant_sensitivity=sensitivity,
        malignant_specificity=specificity,
        flips=float(flipped.mean()),
        malignant_flips=float(flipped[malignant].mean()) if malignant.any() else None,
    )
