"""What a DICOM data set holds: a grey CT slice, or what else, in words that are never those of its tags."""

from typing import TYPE_CHECKING

from lungcli.imaging import dicom_tags

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

MAX_FRAMES = 4096
# Gantries tilt by up to 30°, and the cosine of that is .87.
_AXIAL = 0.8

_DIRECTORY = "1.2.840.10008.1.3.10"
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
# Modalities (PS3.3 C.7.3.1.1.1) of pictures and of what is none; a secondary capture may say it is another one.
_OTHER_PICTURES = frozenset({"MR", "US", "XA", "RF", "CR", "DX", "MG", "NM", "PT", "ES", "SM", "OP", "OPT", "IVUS"})
_UNSAID = frozenset({"OT", "SC"})
_NO_PICTURES = {
    "RTSTRUCT": "RT Structure Set",
    "RTPLAN": "RT Plan",
    "RTDOSE": "RT Dose",
    "RTRECORD": "RT Treatment Record",
    "SEG": "Segmentation",
    "SR": "Structured Report",
    "PR": "Presentation State",
    "KO": "Key Object Selection",
    "REG": "Spatial Registration",
    "FID": "Spatial Fiducials",
    "DOC": "Document",
    "PLAN": "Plan",
    "ECG": "ECG Waveform",
}


def no_picture(dataset: "Dataset") -> str:
    """Return what kind of object a data set is, such as `RT Structure Set`, where its kind holds no picture, else ''.

    The SOP class decides (PS3.4 B.5), and the modality where it is missing or unknown.
    """
    from pydicom.uid import UID

    meta = getattr(dataset, "file_meta", None)
    stored = getattr(meta, "MediaStorageSOPClassUID", None)
    sop_class = UID(str(dicom_tags.value(dataset, "SOPClassUID") or stored or ""))
    if _DIRECTORY in (sop_class, stored):
        return "DICOMDIR (contents of a disc)"
    # Of what the dictionary does not know, the name is the number.
    name = sop_class.name
    if name.endswith("Storage") or "Storage - " in name:
        return "" if "Image" in name else name.removesuffix(" Storage")
    return _NO_PICTURES.get(str(dicom_tags.value(dataset, "Modality") or ""), "")


def is_foreign(dataset: "Dataset") -> bool:
    """Say whether a data set has nothing that DICOM files have: it is something else under a DICOM name."""
    without_mark = not getattr(dataset, "preamble", None)
    return without_mark and not any(
        name in dataset for name in ("SOPClassUID", "SOPInstanceUID", "Modality", "Rows", "PatientID")
    )


def fill_in(dataset: "Dataset") -> str:
    """Set what a grey slice needs and lacks to what it must be; return the name of a tag that nobody can know, or ''.

    Samples, photometric interpretation and bits stored have one sensible value; values without a sign are usual
    (PS3.5, 8.1.1 has no default). Raises what pydicom raises on damage.
    """
    for name in ("Rows", "Columns"):
        if dicom_tags.number(dataset, name) is None:
            return name
    if dicom_tags.value(dataset, "SamplesPerPixel") is None:
        dataset.SamplesPerPixel = 3 if str(dicom_tags.value(dataset, "PhotometricInterpretation")) == "RGB" else 1
    if dicom_tags.value(dataset, "PhotometricInterpretation") is None:
        dataset.PhotometricInterpretation = "MONOCHROME2"
    if dicom_tags.number(dataset, "BitsAllocated") is None:
        bits = _bits_by_length(dataset)
        if not bits:
            return "BitsAllocated"
        dataset.BitsAllocated = bits
    allocated = int(dataset.BitsAllocated)
    dataset.BitsStored = min(dicom_tags.number(dataset, "BitsStored") or allocated, allocated)
    if dicom_tags.number(dataset, "HighBit") is None:
        dataset.HighBit = dataset.BitsStored - 1
    if dicom_tags.number(dataset, "PixelRepresentation") is None:
        dataset.PixelRepresentation = 0
    return ""


def _bits_by_length(dataset: "Dataset") -> int:
    """Bits of each value by the length of uncompressed pixels; 0 where that tells nothing."""
    pixels = int(dataset.Rows) * int(dataset.Columns) * dicom_tags.frame_count(dataset)
    if dataset.file_meta.TransferSyntaxUID.is_encapsulated or not pixels:
        return 0
    return {1: 8, 2: 16, 4: 32}.get(len(dataset.PixelData) // pixels, 0)


def unusable(dataset: "Dataset") -> str:
    """Say why a data set holds no grey CT slices; empty when it does. Raises what pydicom raises on damage."""
    if name := no_picture(dataset):
        article = "an" if name.startswith(("RT", "A", "E", "I", "O")) else "a"
        return f"it is {article} {name}, not a CT slice"
    if is_foreign(dataset):
        return "it is no DICOM file, whatever its name says"
    if "PixelData" not in dataset:
        return "it holds no pixels, or is cut off"
    if missing := fill_in(dataset):
        return f"its header lacks {missing}"
    if int(dataset.SamplesPerPixel) > 1:
        return "it is in colour"
    if dataset.PhotometricInterpretation not in ("MONOCHROME1", "MONOCHROME2"):
        return "it is not grey"
    if int(dataset.BitsAllocated) not in (8, 16, 32):
        return "its values take neither 8 nor 16 nor 32 bits (BitsAllocated)"
    if dicom_tags.frame_count(dataset) > MAX_FRAMES:
        return f"it claims more than {MAX_FRAMES:,} frames"
    return _other_modality(dataset)


def _other_modality(dataset: "Dataset") -> str:
    modality = str(dicom_tags.value(dataset, "Modality") or "CT")
    if modality == "CT":
        return ""
    if modality in _UNSAID and str(dicom_tags.value(dataset, "SOPClassUID") or "").startswith(_SECONDARY_CAPTURE):
        return ""
    return f"its modality is {modality}, not CT" if modality in _OTHER_PICTURES else "it is not a CT slice"


def not_axial(dataset: "Dataset", frame: int) -> str:
    """Say why a frame is no axial slice by what the header tells; empty when it may be one."""
    frame_type = dicom_tags.of_frame(dataset, frame, "CTImageFrameTypeSequence", "FrameType")
    kinds = [dicom_tags.value(dataset, "ImageType"), frame_type]
    words = [str(word) for kind in kinds if kind for word in ([kind] if isinstance(kind, str) else kind)]
    if "LOCALIZER" in words:
        return "it is a localizer, not an axial slice"
    normal = dicom_tags.normal(dataset, frame)
    if not normal or abs(normal[2]) >= _AXIAL:
        return ""
    steepest = max(range(3), key=lambda axis: abs(normal[axis]))
    plane = ("sagittal", "coronal", "oblique")[steepest] if abs(normal[steepest]) >= _AXIAL else "oblique"
    return f"it lies in {'an' if plane == 'oblique' else 'a'} {plane} plane, not an axial one"
