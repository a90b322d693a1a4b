"""Volumes among incoming files: a picture for each axial slice, and one patient for each volume."""

import dataclasses
import functools
import hashlib
import io
import threading
from collections.abc import Iterable, Iterator

from PIL import Image

from lungcli.core.errors import UnreadableInputError
from lungcli.datasets import pseudonyms
from lungcli.datasets.ingest import source_files
from lungcli.datasets.ingest.ingest import IncomingFile
from lungcli.imaging import volumes
from lungcli.imaging.volumes import Volume

# As many digits of a pseudonym tell the volumes of one name apart.
_DIGITS = 8


def sliced(files: Iterable[IncomingFile]) -> Iterator[IncomingFile]:
    """Yield each file that is no volume, and of a volume a PNG for each axial slice: what `predict` reads of it.

    Where no patient is known, a volume is one. What cannot be read says why when its content is asked for.
    """
    # Slices of a volume are asked for one after another: of many volumes, one is in memory.
    opened = functools.lru_cache(maxsize=1)(_opened)
    lock = threading.Lock()

    def png(file: IncomingFile, number: int, shown: str) -> bytes:
        with lock:
            volume, _ = opened(file)
        buffer = io.BytesIO()
        Image.fromarray(volumes.read_slice(volume, number, shown).pixels).save(buffer, "PNG")
        return buffer.getvalue()

    for file in files:
        if not volumes.is_volume(file.filename):
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
        for number in range(volume.slices):
            shown = f"{file.origin}, slice {number + 1}"
            yield dataclasses.replace(
                file,
                filename=f"{name}-{number + 1}.png",
                content=functools.partial(png, file, number, shown),
                patient=patient,
                origin=shown,
                sha256="",
            )


def _opened(file: IncomingFile) -> tuple[Volume, str]:
    """Open a volume; return it with the sha256 of its content. Raises UnreadableInputError."""
    content = source_files.read_content(file.content, file.origin)
    # A header may name the file beside it that holds the values.
    source = content if callable(file.content) else file.content
    return volumes.opened(source, file.filename, file.origin), hashlib.sha256(content).hexdigest()


def _refuse(error: UnreadableInputError) -> bytes:
    raise error
