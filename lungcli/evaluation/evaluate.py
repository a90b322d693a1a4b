"""Evaluating a model file on one part of a split, and storing its predictions."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from lungcli.core import paths, versioned
from lungcli.core.errors import ModelFileError, UnreadableInputError
from lungcli.datasets.manifest import Manifest
from lungcli.datasets.splits import Split
from lungcli.metrics import operating_point
from lungcli.metrics.classification import Floats
from lungcli.metrics.predictions import Evaluation
from lungcli.modelfile.model_card import ModelCard
from lungcli.modelfile.model_file import Model

_FORMAT = versioned.Format(
    kind="evaluation", version=1, content=Evaluation, error=UnreadableInputError, most_bytes=versioned.MOST_LARGE
)

Indices = Sequence[int] | NDArray[np.int64]


def predict_logits(model: Model, pixels: NDArray[np.uint8], indices: Indices, batch: int = 16) -> NDArray[np.float32]:
    """Return the logits (len(indices), K) of the slices `indices` of `pixels` (n, S, S), which may be a memory map."""
    rows = [model.logits(slices) for slices in _batches(pixels, indices, batch)]
    return np.concatenate(rows) if rows else np.empty((0, len(model.card.classes)), dtype=np.float32)


def predict_probabilities(model: Model, pixels: NDArray[np.uint8], indices: Indices, batch: int = 16) -> Floats:
    """Return calibrated probabilities (len(indices), K) of slices, given as for `predict_logits`."""
    rows = [model.probabilities(slices) for slices in _batches(pixels, indices, batch)]
    return np.concatenate(rows) if rows else np.empty((0, len(model.card.classes)), dtype=np.float64)


def evaluate(
    model: Model, pixels: NDArray[np.uint8], indices: Indices, manifest: Manifest, split: Split, part: str
) -> Evaluation:
    """Predict the slices `indices` of a data set, those of `part`, with calibrated probabilities.

    `pixels` holds all its slices as prepared, uint8 (n, S, S), in the order of the manifest. Raises ModelFileError
    when the model has other classes than the data set.
    """
    if model.card.classes != manifest.classes:
        raise ModelFileError(
            f"{model.path} has the classes {', '.join(model.card.classes)}, "
            f"but the data set {manifest.name} has {', '.join(manifest.classes)}",
            "choose a model trained on these classes: lungcli models list",
        )
    labels = manifest.labels()
    where = manifest.institutions()
    probabilities = predict_probabilities(model, pixels, indices)
    return Evaluation(
        classes=manifest.classes,
        part=part,
        protocol=split.protocol,
        split_digest=split.digest,
        slices=tuple(manifest.slices[i].path for i in indices),
        labels=tuple(labels[i] for i in indices),
        groups=tuple(manifest.slices[i].group for i in indices),
        probabilities=tuple(tuple(row) for row in probabilities.tolist()),
        institutions=tuple(where[i] for i in indices) if len(set(where)) > 1 else (),
        suspicious=tuple(model.card.rule.suspicious(probabilities).tolist()) if model.card.operating_point else (),
        positive_class=model.card.positive_class,
    )


def with_figures(card: ModelCard, evaluation: Evaluation) -> ModelCard:
    """Return the card of the model with the figures of its test part."""
    return msgspec.structs.replace(
        card, figures=evaluation.figures(), separability=operating_point.separability(evaluation)
    )


def save(evaluation: Evaluation, path: Path) -> None:
    """Write an evaluation as JSON, atomically."""
    paths.atomic_write(path, msgspec.json.encode(evaluation))


def load(path: Path) -> Evaluation:
    """Read an evaluation. Raises UnreadableInputError when it is missing or damaged."""
    return _FORMAT.read(path, "run `lungcli evaluate` again")


def _batches(pixels: NDArray[np.uint8], indices: Indices, batch: int) -> Iterator[NDArray[np.uint8]]:
    for start in range(0, len(indices), batch):
        yield np.asarray(pixels[np.asarray(indices[start : start + batch])])
