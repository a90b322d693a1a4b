"""Volumes among incoming files: a picture for each axial slice, and one patient for each volume."""

import dataclasses
import functools
import hashlib
import threading
from collections.abc import Iterable, Iterator

from PIL import Image

from lungcli.core.errors import UnreadableInputError
from lungcli.datasets import pseudonyms
from lungcli.datasets.ingest import source_files
from lungcli.datasets.ingest.ingest import IncomingFile
from lungcli.imaging import timed_reading
from lungcli.imaging.containers import Container
from lungcli.imaging.picture import encoded
from lungcli.imaging.volumes import is_volume

# As many digits of a pseudonym tell the volumes of one name apart.
_DIGITS = 8


def sliced(files: Iterable[IncomingFile]) -> Iterator[IncomingFile]:
    """Yield each file that is no volume, and of a volume a PNG for each axial slice: what `predict` reads of it.

    Where no patient is known, a volume is one. What cannot be read in time says why when its content is asked for.
    """
    # Slices of a volume are asked for one after another: of many volumes, one is in memory.
    opened = functools.lru_cache(maxsize=1)(_opened)
    lock = threading.Lock()

    def png(file: IncomingFile, part: int, shown: str) -> bytes:
        # One slice at a time: each that is read meanwhile would take another process with the whole volume.
        with lock:
            volume, _ = opened(file)
            pixels = volume.read(part, shown).pixels
        return encoded(Image.fromarray(pixels))

    for file in files:
        if not is_volume(file.filename):
            yield file
            continue
        try:
            with lock:
                volume, sha256 = opened(file)
        except UnreadableInputError as error:
            yield dataclasses.replace(file, content=functools.partial(_refuse, error))
            continue
        patient = file.patient or pseudonyms.pseudonym(sha256)
        name = f"{file.filename.partition('.')[0]}-{pseudonyms.pseudonym(sha256)[-_DIGITS:]}"
        for part in volume.parts:
            shown = f"{file.origin}, slice {part + 1}"
            yield dataclasses.replace(
                file,
                filename=f"{name}-{part + 1}.png",
                content=functools.partial(png, file, part, shown),
                patient=patient,
                origin=shown,
                sha256="",
            )


def _opened(file: IncomingFile) -> tuple[Container, str]:
    """Open a volume; return it with the sha256 of its content. Raises UnreadableInputError."""
    content = source_files.read_content(file.content, file.origin)
    # A header may name the file beside it that holds the values.
    source = content if callable(file.content) else file.content
    volume = timed_reading.opened(source, file.filename, file.origin, timed_reading.SECONDS)
    return volume, hashlib.sha256(content).hexdigest()


def _refuse(error: UnreadableInputError) -> bytes:
    raise error
