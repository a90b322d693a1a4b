"""Predicting uploads and making heat-maps in a process of its own, which may hang, die or fill memory on its own."""

import functools
import os
import zlib
from pathlib import Path

import msgspec
import numpy as np
from PIL import Image

from lungcli.core import worker_process
from lungcli.core.errors import ModelFileError
from lungcli.imaging import dicom
from lungcli.imaging.lung_segmentation import Box, Outline
from lungcli.imaging.picture import encoded
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


class HeatInput(msgspec.Struct, frozen=True, kw_only=True):
    """What a heat-map of the class `label` is made from, without the upload.

    `prepared` is what the net saw, uint8 [S, S], compressed; `box` and `outline` are those of the lungs in the picture,
    whose `shape` is (H, W).
    """

    label: str
    prepared: bytes
    box: Box
    outline: Outline
    shape: tuple[int, int]


class HeatMap(msgspec.Struct, frozen=True, kw_only=True):
    """A heat-map: a PNG to lay over the slice, empty where no region supports the class, and what it shows."""

    layer: bytes
    caption: str


class SliceResult(msgspec.Struct, frozen=True, kw_only=True):
    """What the page shows of one upload: one of the three outcomes, and pictures as JPEG.

    `heat_input` is what a heat-map of a prediction is made from. `series` and `place` are those of a DICOM header. What
    there is not is empty. `gave_up`: it took too long, or ended its reader. `number` is its place among the uploads.
    """

    prediction: Prediction | None = None
    refusal: Refusal | None = None
    failure: Failure | None = None
    picture: bytes = b""
    thumbnail: bytes = b""
    heat_input: HeatInput | None = None
    series: str = ""
    place: tuple[float, float] = (0.0, 0.0)
    gave_up: bool = False
    number: int = 0

    @property
    def outcome(self) -> Outcome:
        """The prediction, the refusal, or else the failure."""
        outcome = self.prediction or self.refusal or self.failure
        if outcome is None:
            raise ValueError("a result without an outcome")
        return outcome


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """An upload to predict, or a slice to explain, with the model file at `model`; with neither it is only loaded."""

    model: bytes
    threads: int
    upload: Upload | None = None
    heat_input: HeatInput | None = None


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """The result of an upload, or the heat-map of a slice; or else what is wrong with the model file."""

    result: SliceResult | None = None
    heat_map: HeatMap | None = None
    problem: str = ""
    hint: str = ""


def predict(upload: Upload, model: Model) -> SliceResult:
    """Predict one upload. Raises ModelFileError."""
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
    return msgspec.structs.replace(shown, prediction=outcome, heat_input=_heat_input(capture.image, outcome.label))


def _heat_input(image: SliceImage, label: str) -> HeatInput:
    return HeatInput(
        label=label,
        prepared=zlib.compress(image.prepared.tobytes(), 1),
        box=image.chest.box,
        outline=image.chest.outline,
        shape=(image.grey.shape[0], image.grey.shape[1]),
    )


def heat_map(slice_: HeatInput, model: Model) -> HeatMap:
    """Explain a slice that `model` has predicted. Raises ModelFileError."""
    pixels = np.frombuffer(zlib.decompress(slice_.prepared), np.uint8)
    heat = explain.explain(
        model, pixels.reshape(model.card.size, model.card.size), model.card.classes.index(slice_.label)
    )
    laid = explain.in_picture(heat, slice_.box, slice_.outline, slice_.shape)
    peak = explain.peak(laid)
    layer = explain.layer(laid)
    layer.thumbnail((_HEAT_SIDE, _HEAT_SIDE), Image.Resampling.BILINEAR)
    caption = prediction.heat_map(slice_.label, peak=peak, coloured=True)
    return HeatMap(layer=encoded(layer) if peak else b"", caption=caption)


def _jpeg(picture: Image.Image, side: int) -> bytes:
    smaller = picture.copy()
    smaller.thumbnail((side, side), Image.Resampling.BILINEAR)
    return encoded(smaller, "JPEG", quality=90)


_load = functools.lru_cache(maxsize=4)(model_file.load)


def answer(content: bytes) -> bytes:
    """Answer one request, both encoded."""
    request = msgspec.msgpack.decode(content, type=Request)
    try:
        model = _load(Path(os.fsdecode(request.model)), request.threads)
        reply = Reply(
            result=predict(request.upload, model) if request.upload else None,
            heat_map=heat_map(request.heat_input, model) if request.heat_input else None,
        )
    except ModelFileError as error:
        reply = Reply(problem=error.message, hint=error.hint)
    return msgspec.msgpack.encode(reply)


if __name__ == "__main__":
    worker_process.serve(answer, _MOST_BYTES)
