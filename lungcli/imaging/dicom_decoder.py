"""Decoding one frame of a DICOM file. What only GDCM can decode is decoded in a process of its own.

GDCM ends the whole program on some damaged files. What it does wrong stays in a process that holds nothing but one
frame, and whose end is one damaged file.
"""

import atexit
import functools
import importlib.util
import sys
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from lungcli.core import worker_process
from lungcli.core.worker_process import WorkerProcess
from lungcli.imaging import dicom_tags, jpeg_header
from lungcli.imaging.picture import DAMAGED

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset

# No slice takes longer; a decoder that does hangs.
MOST_SECONDS = 60.0
# Enough for 64 million pixels of 16 bits, several times over.
MOST_BYTES = 4 << 30
_GDCM = "gdcm"
_JPEG, _JPEG_EXTENDED = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"
# JPEG lossless and JPEG-LS.
_ONLY_GDCM = tuple(f"1.2.840.10008.1.2.4.{number}" for number in (57, 70, 80, 81))
_TAGS = {
    "rows": "Rows",
    "columns": "Columns",
    "samples_per_pixel": "SamplesPerPixel",
    "bits_allocated": "BitsAllocated",
    "bits_stored": "BitsStored",
    "pixel_representation": "PixelRepresentation",
    "photometric_interpretation": "PhotometricInterpretation",
}


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What the process is asked: one encoded frame, and what its header says of it."""

    syntax: str
    tags: dict[str, int | str]
    encoded: bytes


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """What it answers: values of type `kind` (numpy's name), or nothing where it could not decode them."""

    kind: str = ""
    shape: tuple[int, ...] = ()
    values: bytes = b""


@functools.cache
def load_pydicom() -> None:
    """Import pydicom without GDCM, which it would load along with it, and which must not run in this process.

    To be called before pydicom is imported anywhere else. A program that imported GDCM itself keeps it.
    """
    absent = _GDCM not in sys.modules
    if absent:
        # What Python takes for a module that cannot be imported.
        sys.modules[_GDCM] = None  # type: ignore[assignment]
    try:
        import pydicom  # noqa: F401
    finally:
        if absent:
            del sys.modules[_GDCM]


def missing_codec(syntax: str, encoded: bytes) -> str:
    """Return the package that an encoded frame needs and that is missing, `unknown` where none is known, or ''."""
    if _own_plugin(syntax, encoded):
        return ""
    if syntax in (*_ONLY_GDCM, _JPEG, _JPEG_EXTENDED):
        return "" if importlib.util.find_spec(_GDCM) else "python-gdcm"
    return "unknown"


def decoded(dataset: "FileDataset", frame: int) -> NDArray[np.generic]:
    """Return one frame [H, W]: of uncompressed pixels and run lengths all bits, unsigned; of others stored values.

    `dataset` has every tag of `_TAGS`. Raises ValueError where GDCM's process could not, else what pydicom raises.
    """
    from pydicom import encaps, pixels
    from pydicom.pixels import get_decoder
    from pydicom.uid import RLELossless

    syntax = dataset.file_meta.TransferSyntaxUID
    if not syntax.is_encapsulated or syntax == RLELossless:
        every_bit = {"bits_stored": int(dataset.BitsAllocated), "pixel_representation": 0}
        container, _ = get_decoder(syntax).as_array(dataset, index=frame, raw=True, **every_bit)
        return np.asarray(container)
    encoded = encaps.get_frame(dataset.PixelData, frame, number_of_frames=dicom_tags.frame_count(dataset))
    if plugin := _own_plugin(str(syntax), encoded):
        return np.asarray(pixels.pixel_array(dataset, index=frame, decoding_plugin=plugin))
    tags = {name: getattr(dataset, tag) for name, tag in _TAGS.items()}
    request = Request(
        syntax=str(syntax),
        tags={name: str(value) if isinstance(value, str) else int(value) for name, value in tags.items()},
        encoded=encoded,
    )
    reply = _ask(_told_by_stream(request))
    return np.frombuffer(reply.values, dtype=reply.kind).reshape(reply.shape)


def _own_plugin(syntax: str, encoded: bytes) -> str:
    """Name the plugin of pydicom that decodes a frame in this process; empty where there is none."""
    from pydicom.pixels import get_decoder

    # Pillow reads JPEG of 8 bits alone, whatever the syntax says.
    if syntax in (_JPEG, _JPEG_EXTENDED) and jpeg_header.precision_of(encoded) not in (None, 8):
        return ""
    try:
        available: tuple[str, ...] = get_decoder(syntax).available_plugins
    except NotImplementedError:
        return ""
    return next((name for name in available if name != _GDCM), "")


def _told_by_stream(request: Request) -> Request:
    """A JPEG of more than 8 bits as GDCM takes it.

    pydicom keeps the extended syntax from GDCM, whose one decoder for it and for baseline reads 12 bits; the bits are
    those of the stream.
    """
    if request.syntax not in (_JPEG, _JPEG_EXTENDED):
        return request
    bits = jpeg_header.precision_of(request.encoded) or 8
    return Request(syntax=_JPEG, tags={**request.tags, "bits_stored": bits}, encoded=request.encoded)


@functools.cache
def _worker() -> WorkerProcess:
    worker = WorkerProcess("lungcli.imaging.dicom_decoder")
    atexit.register(worker.end)
    return worker


def _ask(request: Request) -> Reply:
    """Raises ValueError where the process dies, hangs, or can't decode."""
    try:
        answer = _worker().ask(msgspec.msgpack.encode(request), MOST_SECONDS)
    except (EOFError, TimeoutError) as error:
        raise ValueError("the decoder died of it") from error
    reply = msgspec.msgpack.decode(answer, type=Reply)
    if not reply.kind:
        raise ValueError("the decoder cannot decode it")
    return reply


def _answer(content: bytes) -> bytes:
    return msgspec.msgpack.encode(_reply(msgspec.msgpack.decode(content, type=Request)))


def _reply(request: Request) -> Reply:
    from pydicom import encaps
    from pydicom.pixels import get_decoder
    from pydicom.uid import UID

    tags: dict[str, Any] = dict(request.tags)
    try:
        values, _ = get_decoder(UID(request.syntax)).as_array(
            encaps.encapsulate([request.encoded]),
            index=0,
            decoding_plugin=_GDCM,
            number_of_frames=1,
            **tags,
        )
    except (OSError, *DAMAGED):
        return Reply()
    return Reply(kind=values.dtype.str, shape=values.shape, values=values.tobytes())


if __name__ == "__main__":
    worker_process.serve(_answer, MOST_BYTES)
