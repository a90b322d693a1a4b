"""Decoding one frame of a DICOM file. What only GDCM can decode is decoded in a process of its own.

GDCM, which the extra `dicom-codecs` brings, ends the whole program on some damaged files. What it does wrong stays in
a process that holds nothing but one frame, and whose end is one damaged file.
"""

import atexit
import functools
import subprocess
import sys
import threading
from typing import IO, TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from lungcli.imaging.picture import DAMAGED

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset
    from pydicom.pixels.decoders.base import Decoder

# No slice takes longer; a decoder that does hangs.
MOST_SECONDS = 60.0
# Enough for 64 million pixels of 16 bits, several times over.
MOST_BYTES = 4 << 30
_FOREIGN = "gdcm"
_TAGS = {
    "rows": "Rows",
    "columns": "Columns",
    "samples_per_pixel": "SamplesPerPixel",
    "bits_allocated": "BitsAllocated",
    "bits_stored": "BitsStored",
    "pixel_representation": "PixelRepresentation",
    "photometric_interpretation": "PhotometricInterpretation",
}
_LENGTH = 8


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


def decoded(dataset: "FileDataset", frame: int) -> NDArray[np.generic]:
    """Return the stored values of one frame [H, W].

    Raises ValueError where GDCM's process could not, else what pydicom raises.
    """
    from pydicom import encaps, pixels
    from pydicom.pixels import get_decoder

    syntax = dataset.file_meta.TransferSyntaxUID
    if not syntax.is_encapsulated:
        return np.asarray(pixels.pixel_array(dataset, index=frame))
    plugin = _plugin(get_decoder(syntax), int(getattr(dataset, "BitsStored", None) or dataset.BitsAllocated))
    if plugin != _FOREIGN:
        return np.asarray(pixels.pixel_array(dataset, index=frame, decoding_plugin=plugin))
    tags = {name: getattr(dataset, tag, None) for name, tag in _TAGS.items()}
    tags["bits_stored"] = tags["bits_stored"] or tags["bits_allocated"]
    count = int(getattr(dataset, "NumberOfFrames", None) or 1)
    request = Request(
        syntax=str(syntax),
        tags={name: str(value) if isinstance(value, str) else int(value) for name, value in tags.items()},  # type: ignore[arg-type]
        encoded=encaps.get_frame(dataset.PixelData, frame, number_of_frames=count),
    )
    reply = _asked(request)
    return np.frombuffer(reply.values, dtype=reply.kind).reshape(reply.shape)


def _plugin(decoder: "Decoder", bits: int) -> str:
    """Name the plugin that decodes: GDCM only where nothing else can."""
    own: list[str] = [name for name in decoder.available_plugins if name != _FOREIGN]
    # Pillow reads no JPEG of 12 bits.
    twelve = str(decoder.UID).endswith(".4.51") and bits > 8
    if own and not (twelve and _FOREIGN in decoder.available_plugins):
        return own[0]
    return _FOREIGN


class _Worker:
    """The process that decodes, started when it is first needed and again after it has died."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, request: Request) -> Reply:
        """Raises ValueError where it dies, hangs, or can't decode."""
        with self._lock:
            process = self._running()
            hangs = threading.Timer(MOST_SECONDS, process.kill)
            hangs.start()
            try:
                _send(process.stdin, msgspec.msgpack.encode(request))
                answer = _receive(process.stdout)
            except (OSError, EOFError) as error:
                self.end()
                raise ValueError("the decoder died of it") from error
            finally:
                hangs.cancel()
        reply = msgspec.msgpack.decode(answer, type=Reply)
        if not reply.kind:
            raise ValueError("the decoder cannot decode it")
        return reply

    def _running(self) -> "subprocess.Popen[bytes]":
        if self._process is None or self._process.poll() is not None:
            self.end()
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "lungcli.imaging.dicom_decoder"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        return self._process

    def end(self) -> None:
        """End the process, if there is one."""
        process, self._process = self._process, None
        if process:
            process.kill()
            for pipe in (process.stdin, process.stdout):
                if pipe:
                    # What it could not be sent any more does not matter.
                    _close(pipe)
            process.wait()


@functools.cache
def _worker() -> _Worker:
    made = _Worker()
    atexit.register(made.end)
    return made


def _asked(request: Request) -> Reply:
    return _worker().ask(request)


def _close(pipe: IO[bytes]) -> None:
    try:
        pipe.close()
    except OSError:
        return


def _send(pipe: IO[bytes] | None, content: bytes) -> None:
    if pipe is None:
        raise EOFError
    pipe.write(len(content).to_bytes(_LENGTH, "little") + content)
    pipe.flush()


def _receive(pipe: IO[bytes] | None) -> bytes:
    head = pipe.read(_LENGTH) if pipe else b""
    length = int.from_bytes(head, "little")
    content = pipe.read(length) if pipe and len(head) == _LENGTH else b""
    if len(head) < _LENGTH or len(content) < length:
        raise EOFError
    return content


def serve(asked: IO[bytes], told: IO[bytes]) -> None:
    """Answer requests until there are no more."""
    while True:
        try:
            request = msgspec.msgpack.decode(_receive(asked), type=Request)
        except EOFError:
            return
        _send(told, msgspec.msgpack.encode(_reply(request)))


def _reply(request: Request) -> Reply:
    from pydicom import encaps
    from pydicom.pixels import get_decoder
    from pydicom.uid import UID

    tags: dict[str, Any] = dict(request.tags)
    try:
        values, _ = get_decoder(UID(request.syntax)).as_array(
            encaps.encapsulate([request.encoded]),
            index=0,
            decoding_plugin=_FOREIGN,
            number_of_frames=1,
            **tags,
        )
    except (OSError, *DAMAGED):
        return Reply()
    return Reply(kind=values.dtype.str, shape=values.shape, values=values.tobytes())


def _bounded() -> None:
    """Let this process have no more memory than decoding needs, where the system can see to it."""
    try:
        import resource
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))


if __name__ == "__main__":
    _bounded()
    serve(sys.stdin.buffer, sys.stdout.buffer)
