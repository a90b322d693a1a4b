"""Predicting pictures: one session, a few pictures at a time, whatever cannot be predicted reported and passed over.

Before every prediction stands the guard: a picture that is no axial lung slice is refused; one that was acquired unlike
the training slices, or that the model is not sure of, or models disagree on, is referred to a radiologist.
"""

import contextlib
import functools
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from lungcli import DISCLAIMER
from lungcli.core.errors import UnreadableInputError, during
from lungcli.imaging import lung_segmentation, ood, timed_reading
from lungcli.imaging.lung_segmentation import LungSegmentation
from lungcli.imaging.net_inputs import InputKind, NetInputs, net_inputs
from lungcli.imaging.ood import Rejection
from lungcli.imaging.ood_features import Features
from lungcli.imaging.picture import Grey, Picture
from lungcli.imaging.preprocessing import part_seen
from lungcli.metrics.classification import Floats
from lungcli.metrics.intervals import Estimate
from lungcli.metrics.operating_point import ChosenOn, Finding
from lungcli.metrics.predictions import MALIGNANT
from lungcli.modelfile import tta
from lungcli.modelfile.model_card import ModelCard
from lungcli.modelfile.model_file import Model
from lungcli.predict import ensemble
from lungcli.predict.ensemble import MemberPrediction, ModelOrEnsemble
from lungcli.predict.inputs import Item

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """The prediction for one picture.

    `finding` is `suspicious` (for the `positive_class`), `clear` or `refer`; empty for a model without such a class.
    `label` is the most probable class that the operating point allows, `confidence` how sure that is, at most 1, and
    `reliability` how often findings of such a confidence were right, on the slices `reliability_on`. `indistinct` are
    pairs of classes that the model cannot tell apart. `probabilities` are calibrated, in the order of the classes;
    `seconds` runs from the file to the prediction; a model trained on `synthetic` slices knows nothing about people.
    `referred` to a radiologist for a `reason`, or not, and then the reason is empty. `guard` is how far the acquisition
    is from the training slices: 1 is the limit, 0 stands for a model file that knows nothing of theirs. `forced`: the
    guard would have refused the picture. `series` names the DICOM series that it is a slice of, empty for other
    pictures. `scale` says what the file's values are: Hounsfield units, as `HU + 1024`, or grey, with the window that
    it was probably exported in.

    Of several models, `probabilities` are the mean, and of several views of a slice too, of which there were `views`.
    `opinions` are the models' own predictions, empty for one model, and `agreement` the share of them that say `label`.
    """

    source: str
    finding: Finding = ""
    label: str
    probabilities: dict[str, float]
    confidence: float = 1.0
    reliability: Estimate | None = None
    reliability_on: ChosenOn = "validation slices"
    indistinct: tuple[tuple[str, str], ...] = ()
    model: str
    seconds: float
    synthetic: bool
    referred: bool
    reason: str
    guard: float
    forced: bool
    series: str = ""
    scale: str = ""
    views: int = 1
    agreement: float = 1.0
    opinions: tuple[MemberPrediction, ...] = ()
    positive_class: str = MALIGNANT
    disclaimer: str = DISCLAIMER


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A picture that the guard takes for no axial lung slice: the reason, and the score, whose limit is 1."""

    source: str
    finding: Literal["refused"] = "refused"
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
class SliceImage:
    """What a prediction rests on: the slice as read [H, W], the part of it that the net saw, and its input, [S, S].

    Of several nets, what the first saw.
    """

    grey: Grey
    chest: LungSegmentation
    prepared: NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Capture:
    """What belongs to one picture beside its outcome, from its file to whatever shows it.

    `image` is None where nobody asked for it, or where the picture could not be read.
    """

    item: Item
    image: SliceImage | None = None


def predict(
    items: Iterable[Item],
    models: ModelOrEnsemble,
    *,
    force: bool = False,
    workers: int = 1,
    capture: bool = False,
    seconds: float = 0.0,
) -> Iterator[tuple[Outcome, Capture]]:
    """Predict every item, in order, `workers` of them at a time; each outcome comes with what belongs to its picture.

    Items are asked for only a few ahead of what was predicted, and images kept only to `capture` them, so memory
    doesn't grow with their number. With `force` what the guard refuses is predicted all the same, and marked. Reading
    a picture ends after so many `seconds`; with 0 it is read in this process, and takes what it takes.
    """
    one = functools.partial(capture_and_predict, models=models, force=force, capture=capture, seconds=seconds)
    if workers < 2:
        yield from map(one, items)
        return
    ahead = workers if capture else _AHEAD * workers
    threads = at_once(workers) if seconds else workers
    with (
        ThreadPoolExecutor(threads, thread_name_prefix="predict") as pool,
        contextlib.closing(in_order(pool, one, items, ahead)) as predicted,
    ):
        for _, future in predicted:
            yield future.result()


def at_once(workers: int) -> int:
    """How many pictures are read at once for so many workers, where that is done in processes of their own.

    Handing a picture from one process to another takes time, in which a core would have nothing to do.
    """
    return workers + 1 if workers > 1 else 1


def in_order(
    pool: ThreadPoolExecutor, work: Callable[[T], R], given: Iterable[T], ahead: int
) -> Generator[tuple[T, Future[R]], None, None]:
    """Yield everything `given` with the `work` on it, in order, begun for at most `ahead` more than were asked for.

    Who stops listening, or interrupts, waits for no more than what is being worked on.
    """
    waiting: deque[tuple[T, Future[R]]] = deque()
    try:
        for item in given:
            waiting.append((item, pool.submit(work, item)))
            if len(waiting) > ahead:
                yield waiting.popleft()
        while waiting:
            yield waiting.popleft()
    finally:
        for _, future in waiting:
            future.cancel()


def opened(item: Item, seconds: float = 0.0) -> Picture | Failure:
    """Read a picture, for `seconds` at most if that is not 0; what cannot be read becomes a Failure."""
    try:
        return _read(item, seconds)
    except UnreadableInputError as error:
        return _failure(item, error)


def _read(item: Item, seconds: float) -> Picture:
    if seconds and not callable(item.source):
        return timed_reading.read_timed(item.source, item.shown, item.scale, seconds)
    return item.read()


def _failure(item: Item, error: UnreadableInputError) -> Failure:
    return Failure(source=item.shown, reason=error.message, hint=error.hint)


def capture_and_predict(
    item: Item, models: ModelOrEnsemble, *, force: bool = False, capture: bool = False, seconds: float = 0.0
) -> tuple[Outcome, Capture]:
    """Predict one picture; see `predict`.

    Several models predict it each at its own size; the outcome is the mean of their probabilities.
    """
    start = time.perf_counter()
    with during(f"while predicting {item.shown}"):
        members = ensemble.members(models)
        kinds = [(model.card.size, model.card.recipe.resize) for model in members]
        image: SliceImage | None = None
        try:
            if seconds and not capture and not callable(item.source):
                inputs = timed_reading.read_inputs(item.source, item.shown, item.scale, kinds, seconds)
            else:
                picture = _read(item, seconds)
                chest = lung_segmentation.segment(picture.pixels)
                inputs = net_inputs(picture, chest, kinds)
                image = _image(picture, chest, inputs, kinds[0]) if capture else None
        except UnreadableInputError as error:
            return _failure(item, error), Capture(item=item)
        guarded = not all(model.card.data.any_picture for model in members)
        objection = ood.rejection(inputs.region, inputs.features) if guarded else None
        if objection and not force:
            refusal = Refusal(source=item.shown, reason=objection.reason, score=objection.score)
            return refusal, Capture(item=item, image=image)
        rows = [model.probabilities(slice_[None])[0] for model, slice_ in zip(members, inputs.slices, strict=True)]
        outcome = _prediction(item, members, rows, inputs, objection, start)
        return outcome, Capture(item=item, image=image)


def _image(picture: Picture, chest: LungSegmentation, inputs: NetInputs, kind: InputKind) -> SliceImage:
    seen = part_seen(picture.size, chest, kind[1])
    return SliceImage(grey=picture.grey, chest=seen, prepared=inputs.slices[0])


def _prediction(
    item: Item,
    models: Sequence[Model],
    rows: Sequence[Floats],
    inputs: NetInputs,
    refused: Rejection | None,
    start: float,
) -> Prediction:
    """Combine the probabilities (K,) of each model; the work began at `start` on the clock for performance."""
    card = ensemble.card(models)
    mean = np.mean(rows, axis=0)
    label = card.classes[int(card.rule.predicted(mean[None])[0])]
    confidence = float(card.rule.confidence(mean[None])[0])
    opinions = (
        tuple(ensemble.member_prediction(model, row) for model, row in zip(models, rows, strict=True))
        if len(models) > 1
        else ()
    )
    strangeness = [ood.distance(inputs.features, model.card.guard) for model in models if model.card.guard]
    reason = refused.reason if refused else _why_referred(inputs.features, confidence, models, opinions, card)
    return Prediction(
        source=item.shown,
        finding=finding(card, mean, referred=bool(reason)),
        label=label,
        confidence=confidence,
        reliability=next((band.right for band in reversed(card.reliability) if band.low <= confidence), None),
        reliability_on=card.chosen_on,
        indistinct=tuple(pair.classes for pair in card.separability if not pair.is_shown),
        probabilities=dict(zip(card.classes, mean.tolist(), strict=True)),
        model=card.model,
        seconds=time.perf_counter() - start,
        synthetic=card.data.synthetic,
        referred=bool(reason),
        reason=reason,
        guard=max(strangeness, default=0.0),
        forced=refused is not None,
        series=item.series,
        scale=inputs.scale,
        views=max(tta.COUNT if model.averages else 1 for model in models),
        agreement=sum(opinion.label == label for opinion in opinions) / len(opinions) if opinions else 1.0,
        opinions=opinions,
        positive_class=card.positive_class,
    )


def _why_referred(
    features: Features,
    confidence: float,
    models: Sequence[Model],
    opinions: Sequence[MemberPrediction],
    card: ModelCard,
) -> str:
    """Say why a prediction of this confidence is left to a radiologist, by the `card` of all models; else empty."""
    for model in models:
        if model.card.guard and (stranger := ood.ood_reason(features, model.card.guard)):
            return stranger.reason
    return ensemble.disagreement_reason(opinions, card.positive_class) or not_sure(card, confidence)


def not_sure(card: ModelCard, confidence: float) -> str:
    """Say that a model does not decide at this confidence; empty where it does."""
    if card.referral and confidence < card.referral.threshold:
        return f"not sure enough: a confidence of {confidence:.1%} is below {card.referral.threshold:.1%}"
    return ""


def finding(card: ModelCard, probabilities: Floats, *, referred: bool) -> Finding:
    """Say what probabilities (K,) mean; see `Prediction`."""
    if not card.positive_class:
        return ""
    if referred:
        return "refer"
    return "suspicious" if card.rule.suspicious(probabilities[None])[0] else "clear"
