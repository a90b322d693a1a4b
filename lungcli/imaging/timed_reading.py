"""Reading and preparing pictures in processes of their own, so that none takes longer than it may.

A decoder cannot be stopped from within, and one that hangs would stop all that waits for it. Nor do threads of Python
wait for each other there.
"""

import atexit
import functools
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from lungcli.core import worker_process
from lungcli.core.errors import UnreadableInputError
from lungcli.core.worker_process import WorkerProcess
from lungcli.imaging import containers, lung_segmentation
from lungcli.imaging.containers import Container
from lungcli.imaging.hounsfield import GreyScale
from lungcli.imaging.image_io import is_plain, read
from lungcli.imaging.net_inputs import InputKind, NetInputs, net_inputs
from lungcli.imaging.ood_features import Features
from lungcli.imaging.picture import Picture, printable

SECONDS = 10.0
"""What a picture may take; the largest slice there may be takes 2 to 4 s, and as noise in JPEG 2000 more."""

# Enough for 64 million pixels as they are decoded, several times over.
_MOST_BYTES = 4 << 30
_NO_PART, _OPEN = -2, -1


class _Request(msgspec.Struct, frozen=True, kw_only=True):
    """A picture in a file or in bytes; or one `part` of a container, which is the one that is open if there is no file.

    `volume` is the name of a container that is a volume. `kinds`: what is asked for is the inputs of nets.
    """

    shown: bytes
    path: bytes = b""
    content: bytes = b""
    scale: GreyScale | None = None
    part: int = _NO_PART
    volume: str = ""
    kinds: tuple[InputKind, ...] = ()


class _Reply(msgspec.Struct, frozen=True, kw_only=True):
    """A picture with its pixels as bytes, the inputs of nets, or the parts of a container; or else why there is none.

    `is_open`: the container of a request, if it was one for a part, can be read from.
    """

    width: int = 0
    height: int = 0
    pixels: bytes = b""
    kind: str = ""
    colour: float = 0.0
    region: str = ""
    scale: str = ""
    slices: tuple[bytes, ...] = ()
    features: Features | None = None
    parts: tuple[int, ...] = ()
    is_open: bool = False
    problem: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Source:
    """A container in another process: what has to be sent to open it."""

    path: bytes
    content: bytes
    volume: str


@dataclass(slots=True, kw_only=True, eq=False)
class _Reader:
    """A process that reads, and the container that it has open."""

    process: WorkerProcess
    holds: _Source | None = None


_idle: list[_Reader] = []
_lock = threading.Lock()


def start(count: int) -> None:
    """Start so many processes to read in, since each takes a while, and the first picture comes later."""
    for reader in [_new_reader() for _ in range(count)]:
        reader.process.start()
        with _lock:
            _idle.append(reader)


def read_timed(source: Path | bytes, shown: str, scale: GreyScale | None, seconds: float) -> Picture:
    """Read a picture as `image_io.read` does, but within so many seconds. Raises UnreadableInputError."""
    path, content = _where(source)
    request = _Request(shown=os.fsencode(shown), path=path, content=content, scale=scale)
    return _picture(_ask(request, None, printable(shown), seconds))


def read_inputs(
    source: Path | bytes, shown: str, scale: GreyScale | None, kinds: Sequence[InputKind], seconds: float
) -> NetInputs:
    """Read a picture and prepare it for nets within so many seconds. Raises UnreadableInputError."""
    path, content = _where(source)
    request = _Request(shown=os.fsencode(shown), path=path, content=content, scale=scale, kinds=tuple(kinds))
    reply = _ask(request, None, printable(shown), seconds)
    if reply.features is None:
        raise AssertionError(reply)
    slices = (
        np.frombuffer(slice_, dtype=np.uint8).reshape(size, size)
        for slice_, (size, _) in zip(reply.slices, kinds, strict=True)
    )
    return NetInputs(slices=tuple(slices), features=reply.features, region=reply.region, scale=reply.scale)


def read_within(content: bytes, shown: str, seconds: float = SECONDS) -> Picture:
    """Read a picture in this process where that takes a second or two, see `is_plain`, or within so many seconds.

    Raises UnreadableInputError.
    """
    return read(content, shown) if is_plain(content, shown) else read_timed(content, shown, None, seconds)


def opened(source: Path | bytes, name: str, shown: str, seconds: float) -> Container:
    """Open a file of many slices as `containers.opened` does, where opening and each slice take so many seconds."""
    path, content = _where(source)
    container = _Source(path=path, content=content, volume=name)
    parts = _ask(_Request(shown=os.fsencode(shown), part=_OPEN), container, shown, seconds).parts

    def read_part(part: int, shown: str) -> Picture:
        return _picture(_ask(_Request(shown=os.fsencode(shown), part=part), container, shown, seconds))

    return Container(parts=parts, read=read_part)


def _where(source: Path | bytes) -> tuple[bytes, bytes]:
    return (b"", source) if isinstance(source, bytes) else (os.fsencode(source), b"")


def _picture(reply: _Reply) -> Picture:
    return Picture(
        pixels=np.frombuffer(reply.pixels, dtype=np.uint8).reshape(reply.height, reply.width).copy(),
        size=(reply.width, reply.height),
        kind=reply.kind,
        colour=reply.colour,
        region=reply.region,
        scale=reply.scale,
    )


def _ask(request: _Request, container: _Source | None, shown: str, seconds: float) -> _Reply:
    """Have a process that is idle, or a new one, answer; there are as many as have ever read at once.

    One that has the `container` open comes first; another is sent it along. Raises UnreadableInputError.
    """
    reader = _reader(container)
    if container and reader.holds is not container:
        request = msgspec.structs.replace(
            request, path=container.path, content=container.content, volume=container.volume
        )
    held, reader.holds = reader.holds, None
    try:
        reply = msgspec.msgpack.decode(reader.process.ask(msgspec.msgpack.encode(request), seconds), type=_Reply)
        reader.holds = (container if reply.is_open else None) if container else held
    except TimeoutError as error:
        raise UnreadableInputError(
            f"cannot read {shown}: it takes more than {seconds:g} s", "allow it more: lungcli predict --timeout SECONDS"
        ) from error
    except EOFError as error:
        raise UnreadableInputError(
            f"cannot read {shown}: its decoder ends or needs too much memory", "copy or download it again"
        ) from error
    finally:
        with _lock:
            _idle.append(reader)
    if reply.problem:
        raise UnreadableInputError(reply.problem, reply.hint)
    return reply


def _reader(container: _Source | None) -> _Reader:
    with _lock:
        if _idle:
            held = (at for at, reader in enumerate(_idle) if container and reader.holds is container)
            return _idle.pop(next(held, -1))
    return _new_reader()


def _new_reader() -> _Reader:
    reader = _Reader(process=WorkerProcess("lungcli.imaging.timed_reading"))
    atexit.register(reader.process.end)
    return reader


def _serve() -> None:
    """Answer requests; the last container stays open."""
    kept: list[Container] = []
    worker_process.serve(functools.partial(_answer, kept), _MOST_BYTES)


def _answer(kept: list[Container], content: bytes) -> bytes:
    request = msgspec.msgpack.decode(content, type=_Request)
    try:
        return msgspec.msgpack.encode(_reply(kept, request))
    except UnreadableInputError as error:
        return msgspec.msgpack.encode(_Reply(problem=error.message, hint=error.hint, is_open=bool(kept)))


def _reply(kept: list[Container], request: _Request) -> _Reply:
    shown = os.fsdecode(request.shown)
    source: Path | bytes = Path(os.fsdecode(request.path)) if request.path else request.content
    if request.part == _NO_PART:
        picture = read(source, shown, scale=request.scale)
        return _inputs(picture, request.kinds) if request.kinds else _encoded(picture)
    if source:
        kept.clear()
        kept.append(containers.opened(source, request.volume, shown))
    if request.part == _OPEN:
        return _Reply(parts=kept[0].parts, is_open=True)
    return msgspec.structs.replace(_encoded(kept[0].read(request.part, shown)), is_open=True)


def _encoded(picture: Picture) -> _Reply:
    height, width = picture.pixels.shape
    return _Reply(
        width=width,
        height=height,
        pixels=picture.pixels.tobytes(),
        kind=picture.kind,
        colour=picture.colour,
        region=picture.region,
        scale=picture.scale,
    )


def _inputs(picture: Picture, kinds: Sequence[InputKind]) -> _Reply:
    inputs = net_inputs(picture, lung_segmentation.segment(picture.pixels), kinds)
    slices = tuple(slice_.tobytes() for slice_ in inputs.slices)
    return _Reply(slices=slices, features=inputs.features, region=inputs.region, scale=inputs.scale)


if __name__ == "__main__":
    _serve()
