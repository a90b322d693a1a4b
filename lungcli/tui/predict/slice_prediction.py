"""A slice with its prediction and its heat-map, and the slices to leaf through, apart from any widget."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np

from lungcli.core import runs
from lungcli.core.errors import LungcliError, ModelFileError, UnreadableInputError
from lungcli.imaging import timed_reading
from lungcli.modelfile import model_file, model_paths
from lungcli.modelfile.model_file import Model
from lungcli.predict import explain, inputs, predict, series
from lungcli.predict.inputs import Item
from lungcli.predict.predict import Failure, Outcome, Prediction
from lungcli.predict.series import SeriesVerdict
from lungcli.tui.widgets import image_ops
from lungcli.views.terminal_image import Pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownSlice:
    """One slice as shown: its picture where it could be read, and its outcome where there is a model."""

    pixels: Pixels | None
    outcome: Outcome | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatMap:
    """The heat-map of `label`: over the whole picture in colours, and beside the slice in greys."""

    label: str
    pixels: Pixels
    grey: Pixels
    has_peak: bool


def default_model() -> Model:
    """Load the bundled model, else that of the newest finished run; one that cannot be used is passed over.

    Raises the first LungcliError where none can be used, ModelFileError where there is none.
    """
    problem: LungcliError = ModelFileError(
        "there is no model on this machine yet",
        "make one: lungcli data phantom && lungcli compress --student mobilenetv2 --data phantom",
    )
    for number, path in enumerate(_candidates()):
        try:
            return model_file.load(path)
        except LungcliError as error:
            problem = problem if number else error
    raise problem


def _candidates() -> Iterator[Path]:
    files = model_paths.files()
    if model_paths.BUNDLED in files:
        yield files[model_paths.BUNDLED]
    for run in sorted(runs.readable()[0], key=lambda run: run.info.changed, reverse=True):
        if run.info.state == "done" and (path := files.get(f"{run.name}/{model_paths.stages(run)[-1]}")):
            yield path


def read_slice(item: Item, model: Model | None) -> ShownSlice:
    """Read one slice and predict its class. What cannot be read becomes a Failure."""
    item = inputs.plain_here(item)
    if model is None:
        picture = predict.opened(item, timed_reading.SECONDS)
        if isinstance(picture, Failure):
            return ShownSlice(pixels=None, outcome=picture)
        return ShownSlice(pixels=image_ops.on_screen(picture.grey), outcome=None)
    outcome, capture = predict.capture_and_predict(item, model, capture=True, seconds=timed_reading.SECONDS)
    return ShownSlice(pixels=image_ops.on_screen(capture.image.grey) if capture.image else None, outcome=outcome)


def heat_map(item: Item, model: Model, label: str) -> HeatMap | None:
    """Explain a class, or the predicted one where `label` is empty; None where there is no prediction."""
    item = inputs.plain_here(item)
    outcome, capture = predict.capture_and_predict(item, model, capture=True, seconds=timed_reading.SECONDS)
    if not isinstance(outcome, Prediction) or not capture.image:
        return None
    explained = explain.explained(model, capture.image, label or outcome.label)
    return HeatMap(
        label=explained.label,
        pixels=image_ops.small(explained.picture),
        grey=np.concatenate([explained.slice, explained.strength], axis=1),
        has_peak=explained.peak is not None,
    )


def of_series(items: Sequence[Item], shown: Mapping[int, ShownSlice], at: int, model: Model) -> SeriesVerdict | None:
    """Return the prediction for the DICOM series of the slice at `at`; None for others, and while slices lack theirs.

    `shown` are by place in `items`.
    """
    name = items[at].series
    slices = [shown.get(place) for place, item in enumerate(items) if item.series == name]
    outcomes = [slice_.outcome for slice_ in slices if slice_ and slice_.outcome is not None]
    if not name or len(slices) < 2 or len(outcomes) < len(slices):
        return None
    return series.of_slices(name, outcomes, model.card)


def pasted_path(text: str) -> Path | None:
    """Return the path that a terminal pastes when a file is dropped on it: quoted, escaped or as a file URL."""
    line = text.strip().splitlines()[0].strip() if text.strip() else ""
    if not line:
        return None
    if line.startswith("file://"):
        return Path(unquote(urlsplit(line).path))
    if Path(line).expanduser().exists():
        return Path(line).expanduser()
    try:
        parts = shlex.split(line)
    except ValueError:
        parts = []
    return Path(parts[0] if len(parts) == 1 else line).expanduser()


def slices_from(path: Path) -> tuple[list[Item], int]:
    """Return the slices to leaf through from `path`, and where to begin: a folder's, or a file's and its neighbours'.

    DICOM series are in order from feet to head; names are without what names a patient. Raises UnreadableInputError
    when there is nothing to look at.
    """
    if not path.exists():
        raise UnreadableInputError(f"there is no file or folder {path}", "check the path")
    if path.suffix.lower() == ".zip":
        raise UnreadableInputError(f"{path} is not unpacked", f"lungcli predict {shlex.quote(str(path))}, or unpack it")
    naming = inputs.Naming(seconds=timed_reading.SECONDS)
    if path.is_file():
        items = list(inputs.beside(path, naming))
        at = next((place for place, item in enumerate(items) if item.source == path), None)
        if at is not None:
            return items, at
    # Frames of one file, a file named outright whatever it is called, or a folder.
    items = list(inputs.items([str(path)], naming))
    if path.is_dir() and len(items) == 1 and callable(items[0].source):
        items[0].source()
    return items, 0


def complete_path(typed: str) -> str | None:
    """Complete a path as it is typed: the first file or folder that begins so, folders with a slash."""
    if not typed:
        return None
    path = Path(typed).expanduser()
    folder, start = (path, "") if typed.endswith("/") else (path.parent, path.name)
    try:
        names = sorted(
            item.name + "/" * item.is_dir()
            for item in folder.iterdir()
            if item.name.startswith(start) and (start or not item.name.startswith("."))
        )
    except OSError:
        return None
    return typed + names[0][len(start) :] if names else None
