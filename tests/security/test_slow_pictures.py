"""Files that would take long or much: refused, or read, within bounds that a process of its own measures."""

import gzip
import io
import os
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset

from tests.imaging import dicoms

# For any picture up to its limits of size; see the README.
MOST_SECONDS, MOST_BYTES = 10, 1536 << 20

CHILD = """
import resource, sys
from pathlib import Path
from typing import Any
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

# As what reads files of many slices does, with the memory that it may have.
PARTS_BYTES = 4 << 30
PARTS_CHILD = f"""
import resource, sys, time
from lungcli.imaging import itk_images
from lungcli.predict import inputs
resource.setrlimit(resource.RLIMIT_AS, ({PARTS_BYTES}, {PARTS_BYTES}))
begun = time.process_time()
items = list(inputs.items(sys.argv[1:], inputs.Naming()))
seconds = [time.process_time() - begun]
for item in (items[0], items[len(items) // 2], items[-1]):
    begun = time.process_time()
    item.read()
    seconds.append(time.process_time() - begun)
itk_images._worker().end()
here, apart = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
opening = seconds[0] + apart.ru_utime + apart.ru_stime
print(len(items), opening, max(seconds[1:]), max(here.ru_maxrss, apart.ru_maxrss) >> 10)
"""


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int) -> bytes:
    """Write a black picture row by row."""
    squeezer, row = zlib.compressobj(9), bytes(1 + width)
    content = b"".join(squeezer.compress(row) for _ in range(height)) + squeezer.flush()
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", content) + chunk(b"IEND", b"")


def chunks(count: int) -> bytes:
    """Write a black picture with empty chunks of text before its pixels."""
    whole = png(64, 64)
    at = whole.index(b"IDAT") - 4
    return whole[:at] + chunk(b"tEXt", b"k\0v") * count + whole[at:]


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


def items(count: int, tag: bytes = b"\x09\x20\x01\x10", *, ends: bool = False) -> bytes:
    """Write a DICOM file with a sequence, private by default, of empty items, which says how long it is, or `ends`."""
    whole = dicoms.dicom()
    at = whole.index(b"\xe0\x7f\x10\x00")
    empty = b"\xfe\xff\x00\xe0\0\0\0\0" * count
    length, end = (0xFFFFFFFF, b"\xfe\xff\xdd\xe0\0\0\0\0") if ends else (len(empty), b"")
    return whole[:at] + tag + b"SQ\0\0" + struct.pack("<I", length) + empty + end + whole[at:]


def elements(count: int) -> bytes:
    """Write a DICOM file with private elements of a letter each, the same one again and again."""
    whole = dicoms.dicom()
    at = whole.index(b"\xe0\x7f\x10\x00")
    return whole[:at] + b"\x09\x20\x01\x10LO\x02\x00A " * count + whole[at:]


def patient(words: int) -> bytes:
    """Write a DICOM file of a patient with so many different numbers."""
    whole = dicoms.dicom()
    at = whole.index(b"\x10\x00\x20\x00LO")
    end = at + 8 + int.from_bytes(whole[at + 6 : at + 8], "little")
    numbers = b" ".join(b"%d" % number for number in range(words))
    numbers += b" " * (len(numbers) % 2)
    return whole[:at] + b"\x10\x00\x20\x00UT\0\0" + struct.pack("<I", len(numbers)) + numbers + whole[end:]


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
    "chunks.png": (lambda: chunks(1_000_000), "it has more than 65,536 chunks, more than a slice needs"),
    "some-chunks.png": (lambda: chunks(10_000), "read"),
    "scans.jpg": (lambda: scans(7_900, 400), "scans, more than a slice needs"),
    "few-scans.jpg": (lambda: scans(64, 400), "read"),
    "pages.tif": (lambda: pages(400_000), "it holds more than 99 pages"),
    "items.dcm": (lambda: items(1_000_000, ends=True), "it has more than 65,536 items in sequences, more"),
    "unread-items.dcm": (lambda: items(1_000_000), "read"),
    "groups.dcm": (lambda: items(1_000_000, b"\x00\x52\x30\x92"), "it has more than 65,536 items in sequences, more"),
    "some-items.dcm": (lambda: items(10_000), "read"),
    "elements.dcm": (lambda: elements(1_000_000), "it has hundreds of thousands of elements, more than a slice needs"),
    "some-elements.dcm": (lambda: elements(100_000), "read"),
    "patient.dcm": (lambda: patient(4_000_000), "read"),
}


def frames(path: Path, count: int, width: int, height: int, **tags: Any) -> int:
    """Write frames of zeros, without using the disk for them; return their number."""
    made = dicoms.dataset(Rows=height, Columns=width, NumberOfFrames=count, PixelData=b"", **tags)
    made.save_as(path, enforce_file_format=True)
    size = 2 * width * height * count
    content = path.read_bytes()[:-4] + struct.pack("<I", size)
    path.write_bytes(content)
    os.truncate(path, len(content) + size)
    return count


def placed_frames(path: Path) -> int:
    """Write as many frames as there may be, each with its own place and plane."""
    groups = []
    for number in range(4_096):
        position, plane, group = Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient, plane.ImageOrientationPatient = [0, 0, number], dicoms.AXIAL
        group.PlanePositionSequence, group.PlaneOrientationSequence = [position], [plane]
        groups.append(group)
    return frames(path, len(groups), 64, 64, PerFrameFunctionalGroupsSequence=groups)


def volume(path: Path, kind: str, *shape: int) -> int:
    """Write a NIfTI volume of air, without using the disk for it; return how many slices it has."""
    import nibabel

    header = nibabel.Nifti1Header()
    header.set_data_dtype(kind)
    header.set_data_shape(shape)
    header.set_sform(np.diag([1, 1, 1, 1]), code=1)
    header.set_slope_inter(1, -1_024)
    header["vox_offset"], header["magic"] = 352, b"n+1"
    plain = path.with_suffix("") if path.suffix == ".gz" else path
    plain.write_bytes(header.binaryblock + bytes(4))
    os.truncate(plain, 352 + int(np.prod(shape)) * np.dtype(kind).itemsize)
    if plain != path:
        path.write_bytes(gzip.compress(plain.read_bytes(), 1))
    return shape[2]


def itk_volume(path: Path, kind: str, *shape: int) -> int:
    """Write a MetaImage or NRRD volume of air, packed, whose axes run to the feet, the right and the front.

    Return how many slices it has.
    """
    name = {"<i2": ("MET_SHORT", "int16"), "<f8": ("MET_DOUBLE", "double")}[kind]
    is_nrrd = path.suffix == ".nrrd"
    squeezer = zlib.compressobj(1, zlib.DEFLATED, 31 if is_nrrd else 15)
    row = np.full(shape[0], -1_024, dtype=kind).tobytes()
    plane, planes = row * shape[1], shape[2]
    values = b"".join(squeezer.compress(plane) for _ in range(planes)) + squeezer.flush()
    sizes = " ".join(map(str, shape))
    if is_nrrd:
        header = (
            f"NRRD0004\ntype: {name[1]}\ndimension: 3\nspace: left-posterior-superior\nsizes: {sizes}\n"
            "space directions: (0,0,-1) (-1,0,0) (0,-1,0)\nendian: little\nencoding: gzip\n\n"
        )
    else:
        header = (
            "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n"
            f"CompressedData = True\nCompressedDataSize = {len(values)}\nTransformMatrix = 0 0 -1 -1 0 0 0 -1 0\n"
            f"DimSize = {sizes}\nElementType = {name[0]}\nElementDataFile = LOCAL\n"
        )
    path.write_bytes(header.encode() + values)
    return shape[0]


LARGEST: dict[str, Callable[[Path], int]] = {
    "many-frames.dcm": lambda path: frames(path, 4_096, 362, 362),
    "large-frames.dcm": lambda path: frames(path, 8, 8_000, 7_999),
    "placed-frames.dcm": placed_frames,
    "many.nii": lambda path: volume(path, "<i2", 512, 512, 2_047),
    "many.nii.gz": lambda path: volume(path, "<i2", 512, 512, 2_047),
    "large.nii": lambda path: volume(path, "<f8", 4_096, 4_096, 7),
    "many.mha": lambda path: itk_volume(path, "<i2", 512, 512, 512),
    "large.mha": lambda path: itk_volume(path, "<f8", 7, 4_096, 4_096),
    "many.nrrd": lambda path: itk_volume(path, "<f8", 512, 512, 512),
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


@pytest.mark.long
@pytest.mark.parametrize("name", LARGEST)
def test_the_largest_files_of_many_slices_take_bounded_time_and_memory(name: str, tmp_path: Path) -> None:
    """Opening one, and reading a slice, as much as a picture; figures for the table of worst costs with `-s`."""
    if name.endswith((".mha", ".nrrd")):
        pytest.importorskip("SimpleITK", reason="the extra `volumes` (SimpleITK) is not installed")
    slices = LARGEST[name](tmp_path / name)
    command = [sys.executable, "-c", PARTS_CHILD, str(tmp_path / name)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done
    count, opening, slowest, megabytes = map(float, done.stdout.split())
    print(f"{name}: opened in {opening:.1f} s, a slice in {slowest:.1f} s, {megabytes:.0f} MB")
    assert count == slices
    assert max(opening, slowest) <= MOST_SECONDS
    assert megabytes < PARTS_BYTES >> 20


def test_an_archive_of_very_many_empty_members_is_refused(tmp_path: Path) -> None:
    for name, count in (("few.zip", 10), ("many.zip", 20_000)):
        (tmp_path / name).write_bytes(members(count))
    few, many = _read(tmp_path / "few.zip"), _read(tmp_path / "many.zip")
    assert len(few) == 10
    assert all("empty" in line for line in few)
    assert len(many) == 1
    assert "20,000 of its members are empty, more than 1,000" in many[0]
