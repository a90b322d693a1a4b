"""External validation: a model on a user's own folder of slices of one known class, from another scanner."""

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from lungcli.core import names
from lungcli.core.errors import UnreadableInputError, UsageError
from lungcli.datasets import groups, training_slices
from lungcli.datasets.files import Advance, files_in
from lungcli.datasets.ingest.folder_layout import may_be_picture
from lungcli.imaging.image_io import read
from lungcli.imaging.picture import content_of
from lungcli.imaging.preprocessing import prepare
from lungcli.metrics import intervals
from lungcli.metrics.predictions import MALIGNANT
from lungcli.modelfile.model_card import ExternalFigures
from lungcli.modelfile.model_file import Model


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalResult:
    """The result for one folder. `predictions` counts the slices by predicted class; `unreadable` has a reason for each
    file left out, and `seen` counts those that the model was trained on, or that are near-duplicates of one.
    """

    folder: Path
    figures: ExternalFigures
    predictions: dict[str, int]
    unreadable: tuple[str, ...]
    seen: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Classified:
    """One file: its content's hash, its thumbnail and probabilities (K,), or in `reason` why it cannot be read.

    `place` is its folder and its number there, by natural order.
    """

    place: tuple[str, int]
    sha256: str = ""
    thumb: NDArray[np.float32] | None = None
    probabilities: NDArray[np.float64] | None = None
    reason: str = ""


def parse_label_and_folder(spec: str, classes: Sequence[str]) -> tuple[str, Path]:
    """Read `LABEL=FOLDER`. Raises UsageError for an unknown class and for a folder that isn't there."""
    label, equals, folder = spec.partition("=")
    if not equals or not folder:
        raise UsageError(f"{spec!r} does not name a class and a folder", "write it as normal=FOLDER")
    chosen = names.find(label, {name: name for name in classes}, "class")
    path = Path(folder).expanduser()
    if not path.is_dir():
        raise UsageError(f"there is no folder {path}", "check the path; write it as normal=FOLDER")
    return chosen, path


def evaluate_folder(model: Model, label: str, folder: Path, advance: Advance | None = None) -> ExternalResult:
    """Classify every picture in `folder`, however deep, as a slice of the class `label`.

    Near-duplicate groups are found as in an import, so that a hundred slices of one body don't count as a hundred.
    Files that are no pictures by name are left out, and so are groups with slices that the model was trained or chosen
    on. Raises UnreadableInputError when none can be read, UsageError when none is left.
    """
    files = [path for path in files_in(folder) if may_be_picture(PurePosixPath(path.name))]
    classified: list[_Classified] = []
    pool = ThreadPoolExecutor(max_workers=os.cpu_count() or 1)
    try:
        for item in pool.map(lambda number, path: _classify(number, path, model), range(len(files)), files):
            classified.append(item)
            if advance:
                advance(len(classified), len(files))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    reasons = tuple(item.reason for item in classified if item.reason)
    if len(reasons) == len(files):
        why = f"; the first: {reasons[0]}" if reasons else ""
        raise UnreadableInputError(f"there is no slice in {folder} that can be read{why}", "check the folder")
    return _summarize(model, label, folder, [item for item in classified if not item.reason], reasons)


def with_folder(earlier: tuple[ExternalFigures, ...], new: ExternalFigures) -> tuple[ExternalFigures, ...]:
    """Add figures to those of a card, in place of earlier ones of the same slices under the same label."""
    others = (item for item in earlier if (item.label, item.digest) != (new.label, new.digest))
    return (*others, new)


def _classify(number: int, path: Path, model: Model) -> _Classified:
    place = (str(path.parent), number)
    try:
        content = content_of(path, str(path))
        grey = read(content, str(path)).grey
    except UnreadableInputError as error:
        return _Classified(place=place, reason=error.message)
    return _Classified(
        place=place,
        sha256=hashlib.sha256(content).hexdigest(),
        thumb=groups.thumbnail(grey),
        probabilities=model.probabilities(prepare(grey, model.card.size)[None])[0],
    )


def _summarize(
    model: Model, label: str, folder: Path, classified: Sequence[_Classified], reasons: tuple[str, ...]
) -> ExternalResult:
    card = model.card
    hashes = [item.sha256 for item in classified]
    thumbs = np.stack([item.thumb for item in classified if item.thumb is not None])
    probabilities = np.stack([item.probabilities for item in classified if item.probabilities is not None])
    group_numbers = groups.near_duplicate_groups(thumbs, hashes, [item.place for item in classified])
    signatures = [training_slices.signature(thumb) for thumb in thumbs]
    recognized = training_slices.recognized(card.training_slices, hashes, signatures)
    unseen = ~np.isin(group_numbers, group_numbers[recognized])
    if not unseen.any():
        raise UsageError(
            f"the model was trained on the slices in {folder}, or on slices of their groups",
            "evaluate on slices that it has not seen",
        )
    hashes = [sha256 for sha256, is_new in zip(hashes, unseen.tolist(), strict=True) if is_new]
    probabilities, group_numbers = probabilities[unseen], group_numbers[unseen]
    predicted = probabilities.argmax(axis=1)
    threshold = card.referral.threshold if card.referral else None
    specificity = referred = None
    if MALIGNANT in card.classes and label != MALIGNANT:
        specificity = intervals.share_estimate(predicted != card.classes.index(MALIGNANT), group_numbers)
    if threshold is not None:
        referred = intervals.share_estimate(probabilities.max(axis=1) < threshold, group_numbers)
    return ExternalResult(
        folder=folder,
        figures=ExternalFigures(
            label=label,
            digest=hashlib.sha256("".join(sorted(hashes)).encode()).hexdigest(),
            n=len(hashes),
            groups=len(set(group_numbers.tolist())),
            unreadable=len(reasons),
            right=intervals.share_estimate(predicted == card.classes.index(label), group_numbers),
            specificity=specificity,
            referred=referred,
            threshold=threshold,
        ),
        predictions={name: int((predicted == index).sum()) for index, name in enumerate(card.classes)},
        unreadable=reasons,
        seen=int((~unseen).sum()),
    )
