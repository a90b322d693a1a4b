"""Pictures that nobody has labelled, to calibrate an adopted model on: their labels are what the model predicts."""

import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from lungcli.core.errors import UnreadableInputError, UsageError
from lungcli.core.recipe import Resize
from lungcli.datasets import files, manifest
from lungcli.datasets.ingest.folders import may_be_picture
from lungcli.datasets.manifest import Manifest, Slice, Source
from lungcli.datasets.splits import Split
from lungcli.evaluation import evaluate
from lungcli.imaging.image_io import read
from lungcli.imaging.picture import content_of
from lungcli.imaging.preprocessing import prepare
from lungcli.modelfile.model_file import Model
from lungcli.pipeline.stages import RunData

_FEWEST, _MOST = 10, 2000
# Of the slices, in the order of their files; those after it are held out.
_FOR_CALIBRATION = 0.7


def load(model: Model, folder: Path, advance: files.Advance | None = None) -> RunData:
    """Prepare the pictures in `folder`: the first seven tenths are the training part, the others the validation part.

    Neighbouring slices stay on one side, and what cannot be read is left out. Raises UsageError for a model that was
    trained here, whose own data is known, and for a folder of fewer than ten slices.
    """
    card = model.card
    if not card.adopted:
        raise UsageError(f"the model has a data set of its own, {card.data.name!r}", "leave --calibrate-on out")
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder", "name a folder of pictures: --calibrate-on FOLDER")
    pictures = [path for path in files.files_in(folder) if may_be_picture(PurePosixPath(path.name))][:_MOST]
    one = functools.partial(_prepared, size=card.size, resize=card.recipe.resize)
    readable = [item for item in files.map_in_order(one, pictures, advance) if item]
    if len(readable) < _FEWEST:
        raise UsageError(
            f"{len(readable)} of {len(pictures)} pictures in {folder} can be read, and it takes {_FEWEST}",
            "choose another folder",
        )
    pixels = np.stack([slice_ for _, slice_ in readable])
    labels = evaluate.predict_logits(model, pixels, range(len(pixels))).argmax(axis=1).tolist()
    return _as_run_data(card.classes, [sha256 for sha256, _ in readable], labels, pixels)


def _as_run_data(
    classes: tuple[str, ...], hashes: Sequence[str], labels: Sequence[int], pixels: NDArray[np.uint8]
) -> RunData:
    side = pixels.shape[-1]
    slices = tuple(
        Slice(path=f"{number}", label=classes[label], sha256=sha256, size=(side, side), group=number)
        for number, (sha256, label) in enumerate(zip(hashes, labels, strict=True))
    )
    digest = manifest.digest(slices)
    last = round(_FOR_CALIBRATION * len(slices))
    train, held_out = tuple(range(last)), tuple(range(last, len(slices)))
    return RunData(
        manifest=Manifest(
            name="unlabelled", classes=classes, slices=slices, rejected=(), source=Source(about=""), digest=digest
        ),
        split=Split(train=train, val=held_out, test=(), protocol="given", seed=0, digest=digest),
        pixels=pixels,
        labelled=False,
    )


def _prepared(path: Path, *, size: int, resize: Resize) -> tuple[str, NDArray[np.uint8]] | None:
    try:
        content = content_of(path, str(path))
        return hashlib.sha256(content).hexdigest(), prepare(read(content, str(path), colour=False).pixels, size, resize)
    except UnreadableInputError:
        return None
