"""Judging pictures: one session, one picture at a time, whatever cannot be judged reported and passed over.

Before every verdict stands the guard: a picture that is no axial lung slice is refused; one that was acquired unlike
the training slices, or that the model is not sure of, is referred to a radiologist.
"""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lungcli import DISCLAIMER
from lungcli.core.errors import UnreadableInputError
from lungcli.core.modelcard import ModelCard
from lungcli.core.names import natural
from lungcli.data import chest, guard, signs
from lungcli.data.prepare import prepare
from lungcli.data.read import read
from lungcli.data.signs import Signs
from lungcli.inference.modelfile import Model


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """The verdict on one picture.

    `probabilities` are calibrated, in the order of the model's classes; `seconds` runs from the file to the verdict;
    a model trained on `synthetic` slices knows nothing about people. `referred` to a radiologist for a `reason`, or
    not, and then the reason is empty. `guard` is how far the acquisition is from the training slices: 1 is the limit,
    0 stands for a model file that knows nothing of theirs. `forced`: the guard would have refused the picture.
    """

    source: str
    label: str
    probabilities: dict[str, float]
    model: str
    seconds: float
    synthetic: bool
    referred: bool
    reason: str
    guard: float
    forced: bool
    disclaimer: str = DISCLAIMER


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A picture that the guard takes for no axial lung slice: the reason, and the score, whose limit is 1."""

    source: str
    reason: str
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A picture that could not be read: why, and what to do about it."""

    source: str
    reason: str
    hint: str


Outcome = Prediction | Refusal | Failure


def predict(sources: Iterable[Path], model: Model, *, force: bool = False) -> Iterator[Outcome]:
    """Judge every picture of `sources` in order; a folder stands for the files in it, however deep, by name.

    One picture is in memory at a time. Hidden files of a folder are passed over; an empty folder is a failure.
    With `force` what the guard refuses is judged all the same, and marked.
    """
    for source in sources:
        if source.is_dir():
            found = False
            for path in files_in(source):
                found = True
                yield predict_one(path, model, force=force)
            if not found:
                yield Failure(source=str(source), reason=f"there are no files in {source}", hint="check the path")
        else:
            yield predict_one(source, model, force=force)


def predict_one(source: Path | bytes, model: Model, name: str = "", *, force: bool = False) -> Outcome:
    """Judge one picture, from its path or its bytes; `name` stands for the source and defaults to the path."""
    shown = name or ("the picture" if isinstance(source, bytes) else str(source))
    start = time.perf_counter()
    try:
        picture = read(source, name)
    except UnreadableInputError as error:
        return Failure(source=shown, reason=error.message, hint=error.hint)
    found = chest.find(picture.grey)
    seen = signs.look(picture, found)
    refused = guard.refuse(seen)
    if refused and not force:
        return Refusal(source=shown, reason=refused.reason, score=refused.score)
    probabilities = model.probabilities(prepare(picture.grey, model.card.size, found)[None])[0]
    reason = refused.reason if refused else why_referred(seen, float(probabilities.max()), model.card)
    return Prediction(
        source=shown,
        label=model.card.classes[int(probabilities.argmax())],
        probabilities=dict(zip(model.card.classes, probabilities.tolist(), strict=True)),
        model=model.card.model,
        seconds=time.perf_counter() - start,
        synthetic=model.card.data.synthetic,
        referred=bool(reason),
        reason=reason,
        guard=guard.distance(seen, model.card.guard) if model.card.guard else 0.0,
        forced=refused is not None,
    )


def why_referred(seen: Signs, probability: float, card: ModelCard) -> str:
    """Say why a verdict of this calibrated probability is left to a radiologist; empty when it is not."""
    if card.guard and (stranger := guard.unfamiliar(seen, card.guard)):
        return stranger.reason
    if card.referral and probability < card.referral.threshold:
        return f"not sure enough: {probability:.1%} is below {card.referral.threshold:.1%}"
    return ""


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
