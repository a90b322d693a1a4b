"""Small files that would take long or much: refused, or read, within bounds that a process of its own measures."""

import io
import resource
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from tests.imaging import dicoms

# For any picture up to its limits of size; see the README.
MOST_SECONDS, MOST_BYTES = 10, 1536 << 20

CHILD = """
import resource, sys
from pathlib import Path
from lungcli.core.errors import LungcliError
from lungcli.modelfile import model_file
from lungcli.predict import inputs
resource.setrlimit(resource.RLIMIT_DATA, ({most}, {most}))
resource.setrlimit(resource.RLIMIT_CPU, ({seconds}, {seconds}))
for item in inputs.items(sys.argv[1:], inputs.Naming()):
    try:
        item.read()
        print("read")
    except LungcliError as error:
        print(error.message)
"""


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int) -> bytes:
    """Write a black picture row by row."""
    squeezer, row = zlib.compressobj(9), bytes(1 + width)
    content = b"".join(squeezer.compress(row) for _ in range(height)) + squeezer.flush()
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", content) + chunk(b"IEND", b"")


def scans(side: int, count: int) -> bytes:
    """Encode a progressive JPEG whose last scan comes again and again."""
    file = io.BytesIO()
    Image.new("L", (side, side)).save(file, "JPEG", progressive=True, quality=1)
    whole = file.getvalue()
    last = whole[whole.rindex(b"\xff\xda") : -2]
    return whole[:-2] + last * count + b"\xff\xd9"


def pages(count: int) -> bytes:
    """Write a TIFF of directories that all show the same pixels."""
    tags = [(256, 64), (257, 64), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, 64), (279, 64)]
    size = 2 + 12 * len(tags) + 4
    content = bytearray(b"II*\0" + struct.pack("<I", 8))
    for number in range(count):
        content += struct.pack("<H", len(tags)) + b"".join(
            struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags
        )
        content += struct.pack("<I", 8 + size * (number + 1) if number < count - 1 else 0)
    return bytes(content)


def items(count: int) -> bytes:
    """Write a DICOM file with a private sequence of empty items."""
    whole = dicoms.dicom()
    at = whole.index(b"\xe0\x7f\x10\x00")
    empty = b"\xfe\xff\x00\xe0\0\0\0\0" * count
    return whole[:at] + b"\x09\x20\x01\x10SQ\0\0" + struct.pack("<I", len(empty)) + empty + whole[at:]


def members(count: int) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for number in range(count):
            archive.writestr(f"{number}.png", b"")
    return file.getvalue()


FILES: dict[str, tuple[Callable[[], bytes], str]] = {
    "strip.png": (lambda: png(2_000_000, 32), "2000000×32 pixels are no slice"),
    "narrow.png": (lambda: png(40, 16_000), "40×16000 pixels are no slice"),
    "largest.png": (lambda: png(8_000, 7_999), "read"),
    "scans.jpg": (lambda: scans(7_900, 400), "scans, more than a slice needs"),
    "few-scans.jpg": (lambda: scans(64, 400), "read"),
    "pages.tif": (lambda: pages(400_000), "it holds more than 99 pages"),
    "items.dcm": (lambda: items(1_000_000), "it has more than 65,536 items in sequences, more"),
    "some-items.dcm": (lambda: items(10_000), "read"),
}


def _read(*paths: Path) -> list[str]:
    """Read pictures in a process with bounds; return what came of each."""
    source = CHILD.format(most=MOST_BYTES, seconds=MOST_SECONDS)
    done = subprocess.run([sys.executable, "-c", source, *map(str, paths)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done
    return done.stdout.splitlines()


@pytest.mark.parametrize("name", FILES)
def test_a_picture_takes_bounded_time_and_memory(name: str, tmp_path: Path) -> None:
    make, outcome = FILES[name]
    (tmp_path / name).write_bytes(make())
    (told,) = _read(tmp_path / name)
    assert outcome in told
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss > 0


def test_an_archive_of_very_many_empty_members_is_refused(tmp_path: Path) -> None:
    for name, count in (("few.zip", 10), ("many.zip", 20_000)):
        (tmp_path / name).write_bytes(members(count))
    few, many = _read(tmp_path / "few.zip"), _read(tmp_path / "many.zip")
    assert len(few) == 10
    assert all("empty" in line for line in few)
    assert len(many) == 1
    assert "20,000 of its members are empty, more than 1,000" in many[0]
