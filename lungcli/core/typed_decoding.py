"""Decoding into structs from any thread.

msgspec 0.22 reads a struct's fields when a type is decoded for the first time, and another thread that needs the same
type meanwhile crashes the process. So types are prepared one after the other here.
"""

import functools
import threading
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")

_PREPARING = threading.RLock()


def json(content: bytes | str, kind: type[T]) -> T:
    """Decode JSON as `msgspec.json.decode` does, and raise what it raises."""
    decoded: T = json_decoder(kind).decode(content)
    return decoded


def msgpack(content: bytes, kind: type[T]) -> T:
    """Decode MessagePack as `msgspec.msgpack.decode` does, and raise what it raises."""
    decoded: T = _decoder(msgspec.msgpack.Decoder, kind).decode(content)
    return decoded


def convert(value: object, kind: type[T]) -> T:
    """Convert plain values as `msgspec.convert` does, and raise what it raises."""
    json_decoder(kind)
    return msgspec.convert(value, kind)


def json_decoder(kind: Any) -> "msgspec.json.Decoder[Any]":
    """Return the decoder of a type from JSON."""
    decoder: msgspec.json.Decoder[Any] = _decoder(msgspec.json.Decoder, kind)
    return decoder


def _decoder(make: Any, kind: Any) -> Any:
    with _PREPARING:
        return _made(make, kind)


# Making one costs ten times what decoding a small file does.
@functools.cache
def _made(make: Any, kind: Any) -> Any:
    return make(kind)
