"""Values of DICOM tags as scanners write them: missing, empty, with decimal commas, or per frame."""

import math
from collections.abc import Iterable, MutableSequence
from typing import TYPE_CHECKING, Any

from lungcli.imaging.picture import TooMuchError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

UNKNOWN_PLACE = math.inf
# Each of 4,096 frames has a dozen, and a fragment of its own.
MAX_ITEMS = 65_536
# The tag of an item (PS3.5, section 7.5), in either order of bytes.
ITEMS = (b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00")
# In bytes. What 4,096 frames say of themselves is 8 MiB; to make sense of each 10 bytes takes up to 8 µs.
_LONGEST_VALUE, _LONGEST_SEQUENCE = 1 << 16, 1 << 24


def value(dataset: "Dataset", name: str) -> Any:
    """Return the value of a tag, None where it is missing or empty; `1,5` in a decimal string is 1.5.

    Raises what pydicom raises on other damage, TooMuchError for a value of more than 64 KiB.
    """
    content = _bounded(dataset, name, _LONGEST_VALUE)
    if content is None or (isinstance(content, str) and not content.strip()):
        return None
    # pydicom leaves a decimal string that is no number a string.
    parts = [content] if isinstance(content, str) else content if isinstance(content, MutableSequence) else []
    if any(isinstance(part, str) and "," in part for part in parts) and dataset[name].VR == "DS":
        numbers = [float(str(part).replace(",", ".")) for part in parts]
        return numbers if len(numbers) > 1 else numbers[0]
    return content


def number(dataset: "Dataset", name: str) -> int | None:
    """Return a tag as an integer, None where it is missing or empty."""
    content = value(dataset, name)
    return None if content is None else int(content)


def texts(dataset: "Dataset", names: Iterable[str]) -> list[str]:
    """Return every value of some tags as text."""
    values = [entry for name in names if (entry := value(dataset, name)) is not None]
    # Names are iterable as well, letter by letter; several values are a sequence of pydicom's own.
    return [str(item) for entry in values for item in (entry if isinstance(entry, MutableSequence) else [entry])]


def items(dataset: "Dataset", sequence: str) -> list["Dataset"]:
    """Return the items of a sequence, none where it is missing. Raises TooMuchError for one of more than 16 MiB."""
    return list(_bounded(dataset, sequence, _LONGEST_SEQUENCE) or [])


def require_few_items(encoded: bytes) -> None:
    """Raise TooMuchError for more items of sequences, or fragments of pixels, than many frames need."""
    if sum(map(encoded.count, ITEMS)) > MAX_ITEMS:
        raise too_many_items()


def too_many_items() -> TooMuchError:
    """The error of what has more items in sequences than many frames need."""
    return TooMuchError(f"it has more than {MAX_ITEMS:,} items in sequences")


def _bounded(dataset: "Dataset", name: str, most: int) -> Any:
    """Return what a tag holds, None where it is missing. Raises TooMuchError for more than `most` bytes, or items."""
    encoded = getattr(dataset.get_item(name), "value", None)
    # Not yet made sense of.
    if isinstance(encoded, bytes):
        if len(encoded) > most:
            raise TooMuchError(f"its {name} has more than {most >> 10:,} KiB")
        require_few_items(encoded)
    return getattr(dataset, name, None)


def frame_count(dataset: "Dataset") -> int:
    """Return how many frames a data set claims to hold."""
    return number(dataset, "NumberOfFrames") or 1


def of_frame(dataset: "Dataset", frame: int, sequence: str, name: str) -> Any:
    """Return a tag of one frame: its own, or that all frames share (PS3.3 C.7.6.16), or that of the file; or None."""
    own = items(dataset, "PerFrameFunctionalGroupsSequence")[frame : frame + 1]
    shared = items(dataset, "SharedFunctionalGroupsSequence")[:1]
    for group in (*own, *shared):
        for item in items(group, sequence)[:1]:
            if (content := value(item, name)) is not None:
                return content
    return value(dataset, name)


def place(dataset: "Dataset", frame: int) -> tuple[float, float]:
    """Sort key of a slice: its distance along the normal of its plane in mm (PS3.3 C.7.6.2.1.1), then its number."""
    position = finite(of_frame(dataset, frame, "PlanePositionSequence", "ImagePositionPatient"), 3)
    plane_normal = normal(dataset, frame)
    location = finite([value(dataset, "SliceLocation")], 1)
    instance = finite([value(dataset, "InstanceNumber")], 1)
    distance = UNKNOWN_PLACE
    if position and plane_normal:
        distance = sum(a * b for a, b in zip(position, plane_normal, strict=True))
    elif position or location:
        distance = (position or location)[-1]
    return distance, instance[0] + frame if instance else float(frame)


def normal(dataset: "Dataset", frame: int) -> tuple[float, ...]:
    """Unit normal of the plane of a slice, towards the head where it is axial; empty where the file doesn't say."""
    plane = finite(of_frame(dataset, frame, "PlaneOrientationSequence", "ImageOrientationPatient"), 6)
    if not plane:
        return ()
    (a, b, c), (d, e, f) = plane[:3], plane[3:]
    product = (b * f - c * e, c * d - a * f, a * e - b * d)
    length = math.hypot(*product)
    if not length:
        return ()
    turned = -length if product[2] < 0 else length
    return tuple(component / turned for component in product)


def finite(sequence: Any, count: int) -> tuple[float, ...]:
    """Return `sequence` as so many finite numbers; empty where it is anything else."""
    try:
        numbers = tuple(float(item) for item in sequence)
    except (TypeError, ValueError):
        return ()
    return numbers if len(numbers) == count and all(map(math.isfinite, numbers)) else ()
