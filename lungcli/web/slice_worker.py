"""Predicting uploads in a process of its own, which may hang, die or fill memory without stopping the page."""

import functools
import io
import os
from pathlib import Path

import msgspec
from PIL import Image

from lungcli.core import worker_process
from lungcli.core.errors import ModelFileError
from lungcli.imaging import dicom
from lungcli.modelfile import model_file
from lungcli.modelfile.model_file import Model
from lungcli.predict import explain
from lungcli.predict.inputs import Item
from lungcli.predict.predict import Failure, Outcome, Prediction, Refusal, SliceImage, capture_and_predict
from lungcli.views import prediction

_MOST_BYTES = 4 << 30
# Sides in pixels: of a slice as shown, of its heat, which is smooth, and of its thumbnail on a sharp screen.
_SIDE, _HEAT_SIDE, _THUMBNAIL_SIDE = 448, 224, 96


class Upload(msgspec.Struct, frozen=True, kw_only=True):
    """An uploaded picture: its name and its bytes."""

    name: str
    content: bytes


class SliceResult(msgspec.Struct, frozen=True, kw_only=True):
    """What the page shows of one upload: one of the three outcomes, and pictures as JPEG, the heat as PNG.

    `heat` is laid over `picture`, and `caption` says what it shows. `series` and `place` are those of a DICOM header.
    What there is not is empty. `gave_up`: it took too long, or ended its reader.
    """

    prediction: Prediction | None = None
    refusal: Refusal | None = None
    failure: Failure | None = None
    picture: bytes = b""
    thumbnail: bytes = b""
    heat: bytes = b""
    caption: str = ""
    series: str = ""
    place: tuple[float, float] = (0.0, 0.0)
    gave_up: bool = False

    @property
    def outcome(self) -> Outcome:
        """The prediction, the refusal, or else the failure."""
        outcome = self.prediction or self.refusal or self.failure
        if outcome is None:
            raise ValueError("a result without an outcome")
        return outcome


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """An upload to predict with the model file at `model`; without an upload the model is only loaded."""

    model: bytes
    threads: int
    upload: Upload | None = None


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a request, if there was an upload; or else what is wrong with the model file."""

    result: SliceResult | None = None
    problem: str = ""
    hint: str = ""


def predict(upload: Upload, model: Model) -> SliceResult:
    """Predict and explain one upload. Raises ModelFileError."""
    content = upload.content
    header = dicom.header(content) if dicom.is_dicom(content[:132], upload.name) else dicom.Header()
    item = Item(shown=upload.name, source=content, series=header.series)
    outcome, capture = capture_and_predict(item, model, capture=True)
    if isinstance(outcome, Failure) or capture.image is None:
        return SliceResult(failure=outcome) if isinstance(outcome, Failure) else SliceResult()
    grey = Image.fromarray(explain.levels(capture.image.grey))
    shown = SliceResult(
        picture=_jpeg(grey, _SIDE),
        thumbnail=_jpeg(grey, _THUMBNAIL_SIDE),
        series=header.series,
        place=header.place,
    )
    if isinstance(outcome, Refusal):
        return msgspec.structs.replace(shown, refusal=outcome)
    heat, caption = _heat(model, capture.image, outcome.label)
    return msgspec.structs.replace(shown, prediction=outcome, heat=heat, caption=caption)


def _heat(model: Model, image: SliceImage, label: str) -> tuple[bytes, str]:
    """The heat of a class as a picture to lay over the slice, and what it shows."""
    heat = explain.explain(model, image.prepared, model.card.classes.index(label))
    laid = explain.in_picture(heat, image.chest, (image.grey.shape[0], image.grey.shape[1]))
    peak = explain.peak(laid)
    layer = explain.layer(laid)
    layer.thumbnail((_HEAT_SIDE, _HEAT_SIDE), Image.Resampling.BILINEAR)
    file = io.BytesIO()
    layer.save(file, "PNG")
    return file.getvalue() if peak else b"", prediction.heat_map(label, peak=peak, coloured=True)


def _jpeg(picture: Image.Image, side: int) -> bytes:
    smaller = picture.copy()
    smaller.thumbnail((side, side), Image.Resampling.BILINEAR)
    file = io.BytesIO()
    smaller.save(file, "JPEG", quality=90)
    return file.getvalue()


_load = functools.lru_cache(maxsize=4)(model_file.load)


def answer(content: bytes) -> bytes:
    """Answer one request, both encoded."""
    request = msgspec.msgpack.decode(content, type=Request)
    try:
        model = _load(Path(os.fsdecode(request.model)), request.threads)
        result = predict(request.upload, model) if request.upload else None
    except ModelFileError as error:
        return msgspec.msgpack.encode(Reply(problem=error.message, hint=error.hint))
    return msgspec.msgpack.encode(Reply(result=result))


if __name__ == "__main__":
    worker_process.serve(answer, _MOST_BYTES)
