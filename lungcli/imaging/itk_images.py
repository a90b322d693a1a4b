"""MetaImage (.mha, .mhd) and NRRD (.nrrd, .nhdr) volumes, read by SimpleITK, which is an extra.

It ends the whole program on some damaged files, and prints what is wrong: it runs in a process of its own.
"""

import atexit
import functools
import importlib.util
import os
import re
import tempfile
from pathlib import Path, PurePath
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from lungcli.core import worker_process
from lungcli.core.errors import UnreadableInputError
from lungcli.core.worker_process import WorkerProcess
from lungcli.imaging.dicom_decoder import MOST_BYTES, MOST_SECONDS
from lungcli.imaging.picture import DAMAGED, MAX_BYTES, content_of, damaged

_META_IMAGE = (".mha", ".mhd")
SUFFIXES = (*_META_IMAGE, ".nrrd", ".nhdr")
MAX_SLICES = 4096
# Bytes; a header is shorter.
_HEADER = 1 << 16
# Whatever a header holds, these take time in proportion to its length: no two parts of one match the same spaces.
_META_IMAGE_PATIENT = re.compile(rb"^[ \t]*(TransformMatrix|Orientation|Rotation)[ \t]*[=:]", re.MULTILINE)
_META_IMAGE_DATA = re.compile(rb"^[ \t]*ElementDataFile[ \t]*[=:](.*)$", re.MULTILINE)
_NRRD_PATIENT = re.compile(rb"^space directions:", re.MULTILINE | re.IGNORECASE)
_NRRD_DATA = re.compile(rb"^data ?file:(.*)$", re.MULTILINE | re.IGNORECASE)


class _Request(msgspec.Struct, frozen=True, kw_only=True):
    path: bytes
    suffix: str


class _Reply(msgspec.Struct, frozen=True, kw_only=True):
    """Values of type `kind` (numpy's name), and where each axis of `shape` runs; or why there are none.

    Neither where the file is damaged.
    """

    kind: str = ""
    shape: tuple[int, ...] = ()
    towards: str = ""
    # Not copied out of the reply, of which it is nearly all.
    values: memoryview = memoryview(b"")
    problem: str = ""


def read(source: Path | bytes, name: str, shown: str) -> tuple[NDArray[Any], str]:
    """Return the values of a volume, those of more than 16 bits as float32, and where each of the three axes runs.

    That is to the patient's R(ight) or L(eft), A(nterior) or P(osterior), S(uperior) or I(nferior), as in `SPL`; of an
    oblique one the nearest. `name` tells its kind, and messages call it `shown`. Raises UnreadableInputError, also
    where SimpleITK is not installed.
    """
    header = source[:_HEADER] if isinstance(source, bytes) else content_of(source, shown, _HEADER)
    if importlib.util.find_spec("SimpleITK") is None:
        raise UnreadableInputError(
            f"cannot read {shown}: MetaImage and NRRD need the extra `volumes`, which is not installed",
            "install it: pip install 'lungcli[volumes]'; or export the volume as NIfTI",
        )
    suffix = PurePath(name).suffix.lower()
    problem = _header_problem(header, suffix, source)
    reply = _Reply(problem=problem) if problem else _asked(source, suffix, shown)
    if reply.problem:
        raise UnreadableInputError(
            f"cannot read {shown}: {reply.problem}", "name one CT volume, or its slices as DICOM"
        )
    return np.frombuffer(reply.values, dtype=reply.kind).reshape(reply.shape), reply.towards


def _header_problem(header: bytes, suffix: str, source: Path | bytes) -> str:
    """Say why a header is not one to read by; empty when it may be. Values may lie in a file beside it."""
    if suffix in _META_IMAGE:
        data = _META_IMAGE_DATA.search(header)
        oriented = _META_IMAGE_PATIENT.search(header[: data.start()] if data else header)
    else:
        header = re.split(rb"\r?\n\r?\n", header, maxsplit=1)[0]
        data, oriented = _NRRD_DATA.search(header), _NRRD_PATIENT.search(header)
    if not oriented:
        return "nothing in it says how the patient lies (no direction matrix)"
    named = data[1].strip() if data else b"LOCAL"
    if named.upper() == b"LOCAL":
        return ""
    beside = PurePath(os.fsdecode(named))
    if beside.name != str(beside) or re.search(rb"%|\s|^LIST", named):
        return "its values lie in several files, or in another folder"
    if isinstance(source, bytes):
        return "its values lie in another file; unpack both into one folder"
    file = source.parent / beside
    return "" if file.is_file() and file.stat().st_size <= MAX_BYTES else "the file with its values is missing"


@functools.cache
def _worker() -> WorkerProcess:
    worker = WorkerProcess("lungcli.imaging.itk_images")
    atexit.register(worker.end)
    return worker


def _asked(source: Path | bytes, suffix: str, shown: str) -> _Reply:
    with tempfile.TemporaryDirectory(prefix="lungcli-") as folder:
        path = source if isinstance(source, Path) else Path(folder, f"volume{suffix}")
        if isinstance(source, bytes):
            path.write_bytes(source)
        request = msgspec.msgpack.encode(_Request(path=os.fsencode(path), suffix=suffix))
        try:
            reply = msgspec.msgpack.decode(_worker().ask(request, MOST_SECONDS), type=_Reply)
        except (EOFError, TimeoutError) as error:
            raise damaged(shown) from error
    if not reply.kind and not reply.problem:
        raise damaged(shown)
    return reply


def _answer(content: bytes) -> bytes:
    request = msgspec.msgpack.decode(content, type=_Request)
    try:
        return msgspec.msgpack.encode(_read(os.fsdecode(request.path), request.suffix))
    except (OSError, *DAMAGED):
        return msgspec.msgpack.encode(_Reply())


def _read(path: str, suffix: str) -> _Reply:
    import SimpleITK

    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(path)
    reader.SetImageIO("MetaImageIO" if suffix in _META_IMAGE else "NrrdImageIO")
    reader.ReadImageInformation()
    size = reader.GetSize()
    if len(size) != 3:
        return _Reply(problem="it is no volume of three dimensions")
    if reader.GetNumberOfComponents() != 1:
        return _Reply(problem="its values are not grey")
    if max(size) > MAX_SLICES:
        return _Reply(problem=f"it claims more than {MAX_SLICES:,} slices")
    # Of 8 bytes at most.
    if int(np.prod(size, dtype=np.int64)) * 8 > MAX_BYTES:
        return _Reply(problem="it is larger than 1 GiB")
    if reader.GetPixelID() not in (SimpleITK.sitkInt8, SimpleITK.sitkUInt8, SimpleITK.sitkInt16, SimpleITK.sitkUInt16):
        # As slices are looked at, and half as much of 64 bits.
        reader.SetOutputPixelType(SimpleITK.sitkFloat32)
    towards = SimpleITK.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(reader.GetDirection())
    values = SimpleITK.GetArrayFromImage(reader.Execute())
    # SimpleITK names the axis first that numpy has last.
    return _Reply(kind=values.dtype.str, shape=values.shape, towards=towards[::-1], values=values.data)


if __name__ == "__main__":
    worker_process.serve(_answer, MOST_BYTES)
