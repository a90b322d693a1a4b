"""Reading pictures in processes of their own, so that none takes longer than it may.

A decoder cannot be stopped from within, and one that hangs would stop all that waits for it.
"""

import atexit
import os
from collections import deque
from pathlib import Path

import msgspec
import numpy as np

from lungcli.core import worker_process
from lungcli.core.errors import UnreadableInputError
from lungcli.core.worker_process import WorkerProcess
from lungcli.imaging.hounsfield import GreyScale
from lungcli.imaging.image_io import read
from lungcli.imaging.picture import Picture, printable
from lungcli.predict.inputs import Item

SECONDS = 10.0
"""What a picture may take; the largest there may be takes 2 to 4 s."""

# Enough for 64 million pixels as they are decoded, several times over.
_MOST_BYTES = 4 << 30
_idle: deque[WorkerProcess] = deque()


class _Request(msgspec.Struct, frozen=True, kw_only=True):
    shown: bytes
    path: bytes = b""
    content: bytes = b""
    scale: GreyScale | None = None


class _Reply(msgspec.Struct, frozen=True, kw_only=True):
    """A picture with its pixels as bytes; or else why there is none."""

    width: int = 0
    height: int = 0
    pixels: bytes = b""
    kind: str = ""
    colour: float = 0.0
    region: str = ""
    scale: str = ""
    problem: str = ""
    hint: str = ""


def read_timed(item: Item, seconds: float) -> Picture:
    """Read a picture as `item.read` does, but within so many seconds. Raises UnreadableInputError.

    A frame of a file that is open already is read here: its size is known and bounded.
    """
    if callable(item.source):
        return item.read()
    if isinstance(item.source, bytes):
        request = _Request(shown=os.fsencode(item.shown), content=item.source, scale=item.scale)
    else:
        request = _Request(shown=os.fsencode(item.shown), path=os.fsencode(item.source), scale=item.scale)
    shown = printable(item.shown)
    try:
        answer = _ask(msgspec.msgpack.encode(request), seconds)
    except TimeoutError as error:
        raise UnreadableInputError(
            f"cannot read {shown}: it takes more than {seconds:g} s", "allow it more: --timeout SECONDS"
        ) from error
    except EOFError as error:
        raise UnreadableInputError(
            f"cannot read {shown}: its decoder ends or needs too much memory", "copy or download it again"
        ) from error
    reply = msgspec.msgpack.decode(answer, type=_Reply)
    if reply.problem:
        raise UnreadableInputError(reply.problem, reply.hint)
    return Picture(
        pixels=np.frombuffer(reply.pixels, dtype=np.uint8).reshape(reply.height, reply.width).copy(),
        size=(reply.width, reply.height),
        kind=reply.kind,
        colour=reply.colour,
        region=reply.region,
        scale=reply.scale,
    )


def _ask(request: bytes, seconds: float) -> bytes:
    """Have a process that is idle, or a new one, answer; there are as many as have ever read at once."""
    try:
        worker = _idle.pop()
    except IndexError:
        worker = WorkerProcess("lungcli.predict.timed_reading")
        atexit.register(worker.end)
    try:
        return worker.ask(request, seconds)
    finally:
        _idle.append(worker)


def _reply(content: bytes) -> bytes:
    request = msgspec.msgpack.decode(content, type=_Request)
    source: Path | bytes = Path(os.fsdecode(request.path)) if request.path else request.content
    try:
        picture = read(source, os.fsdecode(request.shown), scale=request.scale)
    except UnreadableInputError as error:
        return msgspec.msgpack.encode(_Reply(problem=error.message, hint=error.hint))
    height, width = picture.pixels.shape
    return msgspec.msgpack.encode(
        _Reply(
            width=width,
            height=height,
            pixels=picture.pixels.tobytes(),
            kind=picture.kind,
            colour=picture.colour,
            region=picture.region,
            scale=picture.scale,
        )
    )


if __name__ == "__main__":
    worker_process.serve(_reply, _MOST_BYTES)
