"""Judging pictures: one session, a few pictures at a time, whatever cannot be judged reported and passed over.

Before every verdict stands the guard: a picture that is no axial lung slice is refused; one that was acquired unlike
the training slices, or that the model is not sure of, or models disagree on, is referred to a radiologist.
"""

import dataclasses
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lungcli import DISCLAIMER
from lungcli.core.errors import UnreadableInputError, during
from lungcli.imaging import lung_segmentation, ood, ood_features
from lungcli.imaging.image_io import read
from lungcli.imaging.lung_segmentation import Chest
from lungcli.imaging.ood import Objection
from lungcli.imaging.ood_features import Signs
from lungcli.imaging.picture import Grey
from lungcli.imaging.preprocessing import prepare_in
from lungcli.metrics.classification import Floats
from lungcli.modelfile import tta
from lungcli.modelfile.model_file import Model
from lungcli.predict import ensemble
from lungcli.predict.ensemble import Judges, Opinion
from lungcli.predict.inputs import Item, Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """The verdict on one picture.

    `probabilities` are calibrated, in the order of the model's classes; `seconds` runs from the file to the verdict;
    a model trained on `synthetic` slices knows nothing about people. `referred` to a radiologist for a `reason`, or
    not, and then the reason is empty. `guard` is how far the acquisition is from the training slices: 1 is the limit,
    0 stands for a model file that knows nothing of theirs. `forced`: the guard would have refused the picture.
    `series` names the DICOM series that it is a slice of, empty for other pictures.

    Of several models, `probabilities` are the mean, and of several views of a slice too, of which there were `views`.
    `opinions` are the models' own verdicts, empty for one model, and `agreement` the share of them that say `label`.
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
    series: str = ""
    views: int = 1
    agreement: float = 1.0
    opinions: tuple[Opinion, ...] = ()
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

# Enough that no thread waits for another's slow picture.
_AHEAD = 3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Seen:
    """What a verdict rests on: the slice as read, the chest found in it, and the slice as the net saw it, [S, S].

    Of several nets, the first.
    """

    grey: Grey
    chest: Chest
    prepared: NDArray[np.uint8]


Look = Callable[[Seen], None]
"""Is shown what each verdict rests on before the verdict is given out."""


def predict(
    items: Iterable[Item], judges: Judges, *, force: bool = False, workers: int = 1, look: Look | None = None
) -> Iterator[tuple[Item, Outcome]]:
    """Judge every item, in order, `workers` of them at a time; each comes with its outcome.

    Items are asked for only a few ahead of what was judged, so memory doesn't grow with their number. With `force`
    what the guard refuses is judged all the same, and marked.
    """
    if workers < 2:
        for item in items:
            yield item, _judge(item, judges, force, look)
        return
    waiting: deque[tuple[Item, Future[Outcome]]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="judge") as pool:
        try:
            for item in items:
                waiting.append((item, pool.submit(_judge, item, judges, force, look)))
                if len(waiting) > _AHEAD * workers:
                    first, outcome = waiting.popleft()
                    yield first, outcome.result()
            while waiting:
                first, outcome = waiting.popleft()
                yield first, outcome.result()
        finally:
            # Who stops listening, or interrupts, waits for no more than what is being judged.
            for _, left in waiting:
                left.cancel()


def _judge(item: Item, judges: Judges, force: bool, look: Look | None) -> Outcome:
    with during(f"while judging {item.shown}"):
        found = predict_one(item.source, judges, item.shown, force=force, look=look)
    if item.series and isinstance(found, Prediction):
        return dataclasses.replace(found, series=item.series)
    return found


def predict_one(
    source: Source, judges: Judges, name: str = "", *, force: bool = False, look: Look | None = None
) -> Outcome:
    """Judge one picture, from its path, its bytes or what reads it; `name` stands for it and defaults to the path.

    Several models judge it each at its own size; their verdict is the mean of their probabilities.
    """
    shown = name or (str(source) if isinstance(source, Path) else "the picture")
    start = time.perf_counter()
    try:
        picture = source() if callable(source) else read(source, name)
    except UnreadableInputError as error:
        return Failure(source=shown, reason=error.message, hint=error.hint)
    image = lung_segmentation.picture_of(picture.grey)
    found = lung_segmentation.find_in(image)
    seen = ood_features.look(picture, found)
    refused = ood.refuse(seen)
    if refused and not force:
        return Refusal(source=shown, reason=refused.reason, score=refused.score)
    models = ensemble.members(judges)
    prepared = {size: prepare_in(image, size, found) for size in {model.card.size for model in models}}
    given = [model.probabilities(prepared[model.card.size][None])[0] for model in models]
    made = _prediction(shown, models, given, seen, refused)
    made = dataclasses.replace(made, seconds=time.perf_counter() - start)
    if look:
        look(Seen(grey=picture.grey, chest=found, prepared=prepared[models[0].card.size]))
    return made


def _prediction(
    shown: str, models: Sequence[Model], given: Sequence[Floats], seen: Signs, refused: Objection | None
) -> Prediction:
    """Combine the probabilities (K,) that each model has given."""
    card = ensemble.card(models)
    mean = np.mean(given, axis=0)
    label = card.classes[int(mean.argmax())]
    opinions = (
        tuple(ensemble.opinion(model, row) for model, row in zip(models, given, strict=True)) if len(models) > 1 else ()
    )
    strangeness = [ood.distance(seen, model.card.guard) for model in models if model.card.guard]
    reason = refused.reason if refused else _why_referred(seen, float(mean.max()), models, opinions)
    return Prediction(
        source=shown,
        label=label,
        probabilities=dict(zip(card.classes, mean.tolist(), strict=True)),
        model=card.model,
        seconds=0.0,
        synthetic=card.data.synthetic,
        referred=bool(reason),
        reason=reason,
        guard=max(strangeness, default=0.0),
        forced=refused is not None,
        views=max(tta.COUNT if model.averages else 1 for model in models),
        agreement=sum(each.label == label for each in opinions) / len(opinions) if opinions else 1.0,
        opinions=opinions,
    )


def _why_referred(seen: Signs, probability: float, models: Sequence[Model], opinions: Sequence[Opinion]) -> str:
    """Say why a verdict of this calibrated probability is left to a radiologist; empty when it is not."""
    for model in models:
        if model.card.guard and (stranger := ood.unfamiliar(seen, model.card.guard)):
            return stranger.reason
    if said := ensemble.dissent(opinions):
        return said
    referral = ensemble.card(models).referral
    if referral and probability < referral.threshold:
        return f"not sure enough: {probability:.1%} is below {referral.threshold:.1%}"
    return ""
