"""The size and the precision that a compressed picture gives itself, told before anything decodes it."""

import struct

from lungcli.imaging.picture import TooMuchError

# Start-of-frame markers: JPEG (ITU-T T.81, table B.1; not DHT, JPG and DAC, which lie among them) and JPEG-LS (T.87).
_FRAMES = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
_WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD9)}
# Values of noise may take a little more than uncompressed; headers come on top.
_MOST_OVER_RAW, _HEADERS = 2, 1 << 16
# A progressive picture has ten scans, and its thumbnail may have as many; then pixels of all scans, about 2 s of them.
_USUAL_SCANS, _MOST_SCANNED = 20, 100_000_000


def require(encoded: bytes, size: tuple[int, int], raw: int) -> None:
    """Raise ValueError unless an encoded frame is (width, height) `size`, and no longer than `raw` bytes allow.

    A frame of run lengths (RLE) gives itself no size.
    """
    if len(encoded) > _MOST_OVER_RAW * raw + _HEADERS:
        raise ValueError("more data than one frame can need")
    own = size_of(encoded)
    if own is not None and own != size:
        raise ValueError("of another size than the header says")
    require_few_scans(encoded, size[0] * size[1])


def require_few_scans(encoded: bytes, pixels: int) -> None:
    """Raise TooMuchError for a JPEG stream whose scans of `pixels` each would be decoded for many seconds.

    Of a start-of-scan marker and what follows it, decoded values hold none (T.81, B.1.1.5).
    """
    scans = encoded.count(b"\xff\xda")
    if encoded[:2] == b"\xff\xd8" and scans > _USUAL_SCANS and scans * pixels > _MOST_SCANNED:
        raise TooMuchError(f"it has {scans} scans")


def size_of(encoded: bytes) -> tuple[int, int] | None:
    """Width and height in a JPEG, JPEG-LS or JPEG 2000 stream; None where it is none of these, or doesn't say."""
    if encoded[:4] == b"\xff\x4f\xff\x51" and len(encoded) >= 24:
        right, bottom, left, top = struct.unpack(">IIII", encoded[8:24])
        return right - left, bottom - top
    # A JPEG 2000 file has boxes around its stream.
    if encoded[4:8] == b"jP  " and (at := encoded.find(b"\xff\x4f\xff\x51", 0, 4096)) > 0:
        return size_of(encoded[at:])
    frame = _frame_header(encoded)
    return None if frame is None else (frame[2], frame[1])


def precision_of(encoded: bytes) -> int | None:
    """Bits of each value in a JPEG or JPEG-LS stream; None where it is none of these, or doesn't say."""
    frame = _frame_header(encoded)
    return None if frame is None else frame[0]


def _frame_header(encoded: bytes) -> tuple[int, int, int] | None:
    """Precision, height and width in the start-of-frame segment of a JPEG stream (T.81, B.2.2)."""
    if encoded[:2] != b"\xff\xd8":
        return None
    at = 2
    while at + 9 <= len(encoded):
        if encoded[at] != 0xFF:
            return None
        marker = encoded[at + 1]
        if marker in _FRAMES:
            precision, height, width = struct.unpack(">BHH", encoded[at + 4 : at + 9])
            return precision, height, width
        alone = marker == 0xFF or marker in _WITHOUT_LENGTH
        at += (1 if marker == 0xFF else 2) if alone else 2 + int.from_bytes(encoded[at + 2 : at + 4], "big")
    return None
