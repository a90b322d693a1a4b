import io
import struct

import numpy as np
import pytest
from PIL import Image

from lungcli.imaging import jpeg_header


def encoded(kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.zeros((40, 70), np.uint8)).save(file, format=kind, **options)
    return file.getvalue()


JPEG_LS = b"\xff\xd8\xff\xf7\0\x0b\x08" + struct.pack(">HH", 40, 70) + b"\1\1\x11\0"


@pytest.mark.parametrize(
    "stream",
    [
        encoded("JPEG"),
        encoded("JPEG", progressive=True, comment=b"x" * 300),
        encoded("JPEG2000", no_jp2=True),
        encoded("JPEG2000"),
        JPEG_LS,
        b"\xff\xd8\xff" + JPEG_LS[2:],
    ],
)
def test_size_is_read_from_the_stream(stream: bytes) -> None:
    assert jpeg_header.size_of(stream) == (70, 40)
    jpeg_header.require(stream, (70, 40), 2800)
    with pytest.raises(ValueError, match="of another size"):
        jpeg_header.require(stream, (40, 70), 2800)


@pytest.mark.parametrize("stream", [b"", b"\0" * 64, b"\xff\xd8", b"\xff\xd8\xff\xe0\0\x10", b"\xff\xd8\0\0" * 9])
def test_what_says_no_size(stream: bytes) -> None:
    assert jpeg_header.size_of(stream) is None
    jpeg_header.require(stream, (70, 40), 2800)


def test_more_than_a_frame_can_need() -> None:
    with pytest.raises(ValueError, match="more data"):
        jpeg_header.require(b"\0" * 100_000, (70, 40), 2800)
