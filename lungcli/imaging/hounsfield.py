"""Stored values of a slice as Hounsfield units (HU) in the lung window, and scales that no header tells."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lungcli.core.errors import UnreadableInputError
from lungcli.imaging import dicom_tags
from lungcli.imaging.picture import Grey

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset

# Centre -600 HU and width 1500 HU, the usual lung window.
WINDOW_LOW = -1350.0
WINDOW_WIDTH = 1500.0
AIR = -1000.0

_RESCALE = "PixelValueTransformationSequence"
_RUN_LENGTHS = "1.2.840.10008.1.2.5"
# HU as they are, from 12-bit scanners (-1024 is 0), and as unsigned 16 bits keep signed ones (-32768 is 0).
_OFFSETS = (0.0, 1024.0, 32_768.0)
# Below the fat of the body only air and lungs lie: no scale but the Hounsfield one reaches there.
BELOW_TISSUE = -200.0
_EXPORT = "export it as DICOM with a rescale, or as PNG of 8 bits in a lung window (centre -600, width 1500)"
# What lungs and soft tissue have at the middle, in HU.
_LUNG, _SOFT_TISSUE = -850.0, 40.0
_AIR_BELOW, _TISSUE = -600.0, (BELOW_TISSUE, 200.0)
# Of a slice, most is air, lung, or tissue, and little lies between them.
_LEAST_PART, _LEAST_SUM = 0.08, 0.75


@dataclass(frozen=True, slots=True, kw_only=True)
class GreyScale:
    """What somebody says that the values of a picture are.

    Either the `window` (centre and width in HU) from black to white, or Hounsfield units plus an `offset`.
    """

    window: tuple[float, float] | None = None
    offset: float = 0.0

    def __str__(self) -> str:
        """`window 40,400` or `HU + 1024`."""
        return f"window {self.window[0]:g},{self.window[1]:g}" if self.window else scale_name(self.offset)

    def hounsfield(self, values: NDArray[Any], white: int) -> NDArray[np.float32]:
        """Hounsfield units of values, of which the brightest that there may be is `white`."""
        if not self.window:
            return values.astype(np.float32) - np.float32(self.offset)
        centre, width = self.window
        hu: NDArray[np.float32] = values.astype(np.float32) * np.float32(width / white) + np.float32(centre - width / 2)
        return hu


def windowed(hounsfield: NDArray[np.floating | np.integer]) -> Grey:
    """Hounsfield units in the lung window, 0..1."""
    grey: Grey = np.clip((hounsfield - np.float32(WINDOW_LOW)) / np.float32(WINDOW_WIDTH), 0, 1).astype(np.float32)
    return grey


def offset(values: NDArray[Any]) -> float | None:
    """Return what to subtract from grey values to get Hounsfield units, told by where air and tissue lie, or None."""
    for candidate in _OFFSETS:
        air = float(np.mean(values < candidate + _AIR_BELOW))
        low, high = (candidate + limit for limit in _TISSUE)
        tissue = float(np.mean((values >= low) & (values <= high)))
        if min(air, tissue) >= _LEAST_PART and air + tissue >= _LEAST_SUM:
            return candidate
    return None


def scale_name(offset: float) -> str:
    """`HU + 1024`: what stored values are from which `offset` is to be subtracted to get Hounsfield units."""
    return f"HU + {offset:.0f}" if offset else "HU"


def window_of(air: float, tissue: float) -> str:
    """Say in which window a slice was probably exported whose lungs and soft tissue have these greys, 0..1.

    Lungs have about -850 HU, soft tissue 40. Both ends are rounded, as the guess is no better.
    """
    if not 0 < air < tissue < 1:
        return "grey; the window cuts lungs or tissue off"
    width = (_SOFT_TISSUE - _LUNG) / (tissue - air)
    centre = _LUNG + width * (0.5 - air)
    return f"grey; window about {round(centre, -2):.0f},{round(width, -2):.0f}"


def unknown_scale(shown: str, hint: str = _EXPORT) -> UnreadableInputError:
    """The error of a picture whose grey values nobody can turn into Hounsfield units."""
    return UnreadableInputError(
        f"cannot read {shown}: its grey scale is unknown, since nothing says which values are air and tissue",
        hint,
    )


def stored_values(dataset: "FileDataset", container: NDArray[np.generic]) -> NDArray[np.integer]:
    """Values [H, W] as they are meant: of `BitsStored` bits that end at `HighBit`, whatever lies in the others.

    `container` is what `dicom_decoder.decoded` gives: every bit of uncompressed pixels and run lengths, else values.
    """
    values: NDArray[np.integer] = container.astype(np.int32 if container.itemsize < 4 else np.int64)
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax.is_encapsulated and syntax != _RUN_LENGTHS:
        return values
    bits = int(dataset.BitsStored)
    spare = int(dataset.HighBit) + 1 - bits
    values = (values >> max(0, spare)) & ((1 << bits) - 1)
    if int(dataset.PixelRepresentation) == 1:
        values -= (values >> (bits - 1)) << bits
    return values


def modality_values(dataset: "FileDataset", frame: int, stored: NDArray[np.integer]) -> NDArray[np.float32]:
    """Stored values after the Modality LUT, or slope and intercept (PS3.3 C.11.1): Hounsfield units of a CT slice."""
    if table := dicom_tags.items(dataset, "ModalityLUTSequence"):
        return _looked_up(dataset, table[0], stored)
    slope, intercept = _rescale(dataset, frame)
    return (stored * (slope or 1.0) + (intercept or 0.0)).astype(np.float32)


def read(dataset: "FileDataset", frame: int, stored: NDArray[np.integer], shown: str) -> tuple[Grey, str]:
    """Return the stored values of a frame in the lung window, 0..1, and their scale; padding becomes air.

    Values that no rescale explains are Hounsfield units where they look like them, and what is shown where they have
    8 bits. Raises UnreadableInputError for a grey scale that is unknown.
    """
    padding = _padding(dataset, stored)
    values = modality_values(dataset, frame, stored)
    has_table = bool(dicom_tags.items(dataset, "ModalityLUTSequence"))
    slope, intercept = _rescale(dataset, frame)
    if not has_table and (slope or 1.0, intercept or 0.0) == (1.0, 0.0):
        grey, scale = _without_rescale(dataset, values, padding, shown, identity=intercept is not None)
    else:
        grey, scale = windowed(values), scale_name(0)
    # MONOCHROME1 wants the smallest value shown white after windowing (PS3.3 C.7.6.3.1.2): a wish for the display,
    # which leaves Hounsfield units as they are. Without a rescale there are none, only what is shown.
    if dataset.PhotometricInterpretation == "MONOCHROME1" and intercept is None and not has_table:
        grey = 1 - grey
    grey[padding] = (AIR - WINDOW_LOW) / WINDOW_WIDTH
    return grey, scale


def _without_rescale(
    dataset: "FileDataset", values: NDArray[np.float32], padding: NDArray[np.bool_], shown: str, *, identity: bool
) -> tuple[Grey, str]:
    """Grey values of a slice without a rescale, or with an `identity` that says nothing of 8-bit values."""
    if int(dataset.BitsStored) <= 8:
        return _displayed(dataset, values), ""
    measured = values[~padding]
    if not measured.size or measured.min() < BELOW_TISSUE:
        return windowed(values), scale_name(0)
    shift = offset(measured)
    if shift is None and not identity:
        raise unknown_scale(shown)
    return windowed(values - np.float32(shift or 0.0)), scale_name(shift or 0.0)


def _displayed(dataset: "FileDataset", values: NDArray[np.float32]) -> Grey:
    """Values as a viewer shows them: in the first window of the file (PS3.3 C.11.2.1.2), else of all its bits."""
    bits = int(dataset.BitsStored)
    low = -float(1 << (bits - 1)) if int(dataset.PixelRepresentation) == 1 else 0.0
    width = float((1 << bits) - 1)
    centre = _first(dicom_tags.value(dataset, "WindowCenter"))
    window = _first(dicom_tags.value(dataset, "WindowWidth"))
    if centre is not None and window is not None and window > 1:
        low, width = centre - 0.5 - (window - 1) / 2, window - 1
    grey: Grey = np.clip((values - np.float32(low)) / np.float32(width), 0, 1).astype(np.float32)
    return grey


def _rescale(dataset: "FileDataset", frame: int) -> tuple[float | None, float | None]:
    slope = _first(dicom_tags.of_frame(dataset, frame, _RESCALE, "RescaleSlope"))
    return slope, _first(dicom_tags.of_frame(dataset, frame, _RESCALE, "RescaleIntercept"))


def _first(numbers: Any) -> float | None:
    """Return a number, or the first of several."""
    if numbers is None or isinstance(numbers, (int, float)):
        return numbers
    return float(numbers[0]) if len(numbers) else None


def _looked_up(dataset: "FileDataset", item: Any, stored: NDArray[np.integer]) -> NDArray[np.float32]:
    """Values of a lookup table (PS3.3 C.11.1.1.1), which ends are repeated; those of 16 bits for HU have a sign."""
    count, first, bits = (int(number) for number in item.LUTDescriptor)
    if int(dataset.PixelRepresentation) == 1 and first >= 1 << 15:
        first -= 1 << 16
    data = item.LUTData
    if isinstance(data, bytes):
        order = "<" if dataset.file_meta.TransferSyntaxUID.is_little_endian else ">"
        table = np.frombuffer(data, dtype=f"{order}u2" if len(data) >= 2 * (count or 1 << 16) else "u1")
    else:
        table = np.asarray(data)
    table = table.astype(np.int32)[: count or 1 << 16]
    if not table.size:
        raise ValueError("a lookup table without entries")
    if bits == 16 and str(dicom_tags.value(item, "ModalityLUTType")) == "HU":
        # The standard has no sign here, but air at -1000 HU has one.
        table = table.astype(np.uint16).view(np.int16).astype(np.int32)
    values: NDArray[np.float32] = table[np.clip(stored - first, 0, table.size - 1)].astype(np.float32)
    return values


def _padding(dataset: "FileDataset", stored: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Where stored values say that nothing was measured (PS3.3 C.7.5.1.1.2), limits included, in either order."""
    first = _signed(dataset, "PixelPaddingValue")
    if first is None:
        return np.zeros(stored.shape, dtype=np.bool_)
    last = _signed(dataset, "PixelPaddingRangeLimit")
    low, high = sorted((first, first if last is None else last))
    return (stored >= low) & (stored <= high)


def _signed(dataset: "FileDataset", name: str) -> int | None:
    """Return a tag that holds a stored value, None where it is missing; some scanners write signed ones unsigned."""
    stored = dicom_tags.number(dataset, name)
    bits = int(dataset.BitsAllocated)
    signed = int(dataset.PixelRepresentation) == 1
    return stored - (1 << bits) if stored is not None and signed and stored >= 1 << (bits - 1) else stored
