"""External validation: a model on a user's own folder of slices of one known class, from another scanner."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lungcli.core import names
from lungcli.core.errors import UsageError
from lungcli.datasets import groups, training_slices
from lungcli.metrics import intervals
from lungcli.modelfile.model_card import ExternalFigures, ModelCard


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
class ClassifiedFile:
    """One picture: its content's hash, its thumbnail, the class predicted, and whether a radiologist is to decide.

    `place` is its folder and its number there, by natural order.
    """

    place: tuple[str, int]
    sha256: str
    thumb: NDArray[np.float32]
    label: str
    referred: bool


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


def with_folder(earlier: tuple[ExternalFigures, ...], new: ExternalFigures) -> tuple[ExternalFigures, ...]:
    """Add figures to those of a card, in place of earlier ones of the same slices under the same label."""
    others = (item for item in earlier if (item.label, item.digest) != (new.label, new.digest))
    return (*others, new)


def summarize(
    card: ModelCard, label: str, folder: Path, classified: Sequence[ClassifiedFile], reasons: tuple[str, ...]
) -> ExternalResult:
    """Compute the figures of at least one picture of the class `label`; `reasons` say why others were left out.

    Near-duplicate groups are found as in an import, so that a hundred slices of one body don't count as a hundred.
    """
    hashes = [item.sha256 for item in classified]
    thumbs = np.stack([item.thumb for item in classified])
    group_numbers = groups.near_duplicate_groups(thumbs, hashes, [item.place for item in classified])
    signatures = [training_slices.signature(thumb) for thumb in thumbs]
    recognized = training_slices.recognized(card.training_slices, hashes, signatures)
    unseen = ~np.isin(group_numbers, group_numbers[recognized])
    if not unseen.any():
        raise UsageError(
            f"the model was trained on the slices in {folder}, or on slices of their groups",
            "evaluate on slices that it has not seen",
        )
    classified = [item for item, is_new in zip(classified, unseen.tolist(), strict=True) if is_new]
    hashes, group_numbers = [item.sha256 for item in classified], group_numbers[unseen]
    predicted = np.array([card.classes.index(item.label) for item in classified])
    specificity = referred = None
    if card.positive is not None and label != card.positive_class:
        specificity = intervals.share_estimate(predicted != card.positive, group_numbers)
    if card.referral or card.guard:
        referred = intervals.share_estimate(np.array([item.referred for item in classified]), group_numbers)
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
            threshold=card.referral.threshold if card.referral else None,
        ),
        predictions={name: int((predicted == index).sum()) for index, name in enumerate(card.classes)},
        unreadable=reasons,
        seen=int((~unseen).sum()),
    )
