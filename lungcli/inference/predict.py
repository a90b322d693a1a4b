"""Judging pictures: one session, one picture at a time, whatever cannot be read reported and passed over."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lungcli import DISCLAIMER
from lungcli.core.errors import UnreadableInputError
from lungcli.core.names import natural
from lungcli.data.prepare import prepare
from lungcli.data.read import read
from lungcli.inference.modelfile import Model


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """The verdict on one picture.

    `probabilities` are calibrated, in the order of the model's classes; `seconds` runs from the file to the verdict;
    a model trained on `synthetic` slices knows nothing about people.
    """

    source: str
    label: str
    probabilities: dict[str, float]
    model: str
    seconds: float
    synthetic: bool
    disclaimer: str = DISCLAIMER


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A picture that could not be read: why, and what to do about it."""

    source: str
    reason: str
    hint: str


def predict(sources: Iterable[Path], model: Model) -> Iterator[Prediction | Failure]:
    """Judge every picture of `sources` in order; a folder stands for the files in it, however deep, by name.

    One picture is in memory at a time. Hidden files of a folder are passed over; an empty folder is a failure.
    """
    for source in sources:
        if source.is_dir():
            found = False
            for path in files_in(source):
                found = True
                yield predict_one(path, model)
            if not found:
                yield Failure(source=str(source), reason=f"there are no files in {source}", hint="check the path")
        else:
            yield predict_one(source, model)


def predict_one(source: Path | bytes, model: Model, name: str = "") -> Prediction | Failure:
    """Judge one picture, from its path or its bytes; `name` stands for the source and defaults to the path."""
    shown = name or ("the picture" if isinstance(source, bytes) else str(source))
    start = time.perf_counter()
    try:
        grey = read(source, name).grey
    except UnreadableInputError as error:
        return Failure(source=shown, reason=error.message, hint=error.hint)
    probabilities = model.probabilities(prepare(grey, model.card.size)[None])[0]
    return Prediction(
        source=shown,
        label=model.card.classes[int(probabilities.argmax())],
        probabilities=dict(zip(model.card.classes, probabilities.tolist(), strict=True)),
        model=model.card.model,
        seconds=time.perf_counter() - start,
        synthetic=model.card.data.synthetic,
    )


def files_in(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder and its subfolders, `slice 2` before `slice 10`, hidden ones left out."""
    for item in sorted(folder.iterdir(), key=lambda path: natural(path.name)):
        if item.name.startswith("."):
            continue
        if item.is_dir():
            # A link to a folder may lead back to where it lies.
            if not item.is_symlink():
                yield from files_in(item)
        else:
            yield item
