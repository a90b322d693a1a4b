"""A model on a user's own folder of slices of one known class, predicted as `lungcli predict` does."""

import functools
import hashlib
from pathlib import Path, PurePosixPath

from lungcli.core.errors import UnreadableInputError
from lungcli.datasets import groups
from lungcli.datasets.files import Advance, files_in, map_in_order
from lungcli.datasets.ingest.folders import may_be_picture
from lungcli.evaluation import external_validation
from lungcli.evaluation.external_validation import ClassifiedFile, ExternalResult
from lungcli.imaging.picture import content_of
from lungcli.modelfile.model_file import Model
from lungcli.predict import predict
from lungcli.predict.inputs import Item


def evaluate_folder(model: Model, label: str, folder: Path, advance: Advance | None = None) -> ExternalResult:
    """Classify every picture in `folder`, however deep, as a slice of the class `label`.

    Files that are no pictures by name are left out, and so is, with its reason, what `predict` can't read or refuses.
    Raises UnreadableInputError when no slice is left.
    """
    files = [path for path in files_in(folder) if may_be_picture(PurePosixPath(path.name))]
    outcomes = list(map_in_order(functools.partial(_classify, model), list(enumerate(files)), advance, most=None))
    reasons = tuple(outcome for outcome in outcomes if isinstance(outcome, str))
    classified = [outcome for outcome in outcomes if not isinstance(outcome, str)]
    if not classified:
        why = f"; the first: {reasons[0]}" if reasons else ""
        raise UnreadableInputError(f"there is no slice in {folder} that can be read{why}", "check the folder")
    return external_validation.summarize(model.card, label, folder, classified, reasons)


def _classify(model: Model, item: tuple[int, Path]) -> ClassifiedFile | str:
    """Predict one file, given with its number; a text says why it is left out."""
    number, path = item
    try:
        content = content_of(path, str(path))
    except UnreadableInputError as error:
        return error.message
    outcome, capture = predict.capture_and_predict(Item(shown=str(path), source=content), model, capture=True)
    if not isinstance(outcome, predict.Prediction) or capture.image is None:
        reason = "" if isinstance(outcome, predict.Prediction) else outcome.reason
        return reason if reason.startswith(str(path)) else f"{path}: {reason}"
    return ClassifiedFile(
        place=(str(path.parent), number),
        sha256=hashlib.sha256(content).hexdigest(),
        thumb=groups.thumbnail(capture.image.grey),
        label=outcome.label,
        referred=outcome.referred,
    )
