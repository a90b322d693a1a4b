"""Decoding into structs from any thread.

msgspec 0.22 reads a struct's fields when a type is decoded for the first time, and another thread that needs the same
type meanwhile crashes the process. So types are prepared one after the other here.
"""

import threading
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")

_PREPARING = threading.RLock()
# Making one costs ten times what decoding a small file does.
_DECODERS: "dict[Any, msgspec.json.Decoder[Any]]" = {}


def json(content: bytes | str, kind: type[T]) -> T:
    """Decode JSON as `msgspec.json.decode` does, and raise what it raises."""
    decoded: T = json_decoder(kind).decode(content)
    return decoded


def msgpack(content: bytes, kind: type[T]) -> T:
    """Decode MessagePack as `msgspec.msgpack.decode` does, and raise what it raises."""
    decoded: T = _msgpack_decoder(kind).decode(content)
    return decoded


def convert(value: object, kind: type[T]) -> T:
    """Convert plain values as `msgspec.convert` does, and raise what it raises."""
    json_decoder(kind)
    return msgspec.convert(value, kind)


def json_decoder(kind: Any) -> "msgspec.json.Decoder[Any]":
    """Return the decoder of a type from JSON."""
    decoder = _DECODERS.get(kind)
    if decoder is None:
        with _PREPARING:
            decoder = _DECODERS[kind] = msgspec.json.Decoder(kind)
    return decoder


def _msgpack_decoder(kind: Any) -> "msgspec.msgpack.Decoder[Any]":
    with _PREPARING:
        return msgspec.msgpack.Decoder(kind)
