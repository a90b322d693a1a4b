"""Files that hold many slices, opened once: the frames of DICOM, and the axial slices of volumes."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lungcli.imaging import dicom, volumes
from lungcli.imaging.picture import Picture


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Container:
    """An open file: the numbers of its slices from feet to head, and how to read one, given what messages call it.

    Reading raises UnreadableInputError.
    """

    parts: tuple[int, ...]
    read: Callable[[int, str], Picture]


def opened(source: Path | bytes, name: str, shown: str) -> Container:
    """Open a file that messages call `shown`; `name` tells the kind of a volume, and is empty for DICOM.

    Raises UnreadableInputError.
    """
    if name:
        volume = volumes.opened(source, name, shown)
        return Container(parts=tuple(range(volume.slices)), read=functools.partial(volumes.read_slice, volume))
    dataset = dicom.opened(source, shown)
    places = dicom.places(dataset)
    parts = sorted(range(len(places)), key=places.__getitem__)
    return Container(parts=tuple(parts), read=functools.partial(dicom.read_frame, dataset))
