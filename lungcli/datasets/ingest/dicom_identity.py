"""Whose slice a DICOM file holds and where it was taken, as pseudonyms: what names a person stays in here."""

import io
import warnings
from dataclasses import dataclass

from lungcli.datasets.pseudonyms import pseudonym
from lungcli.imaging import dicom, dicom_tags
from lungcli.imaging.picture import DAMAGED, QUIET, printable

# What anonymisers write: to take it for a person would join all patients.
_NOBODY = {"anon", "anonymous", "anonymized", "anonymised", "deidentified", "removed", "unknown", "none", "na", "0"}
_TAGS = (
    "PatientID",
    "StudyInstanceUID",
    "InstitutionName",
    "Manufacturer",
    "ManufacturerModelName",
    "SpecificCharacterSet",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Pseudonyms of a slice's patient, and of its institution with the scanner's model; empty where nothing says so."""

    patient: str = ""
    institution: str = ""


def of_file(content: bytes, name: str) -> Identity:
    """Read who and where from the header of a file; nobody for what is no DICOM file or cannot be read.

    Without a patient's identifier, or with one as anonymisers write it, a study stands for its patient.
    """
    if not dicom.is_dicom(content[: dicom.HEAD], name):
        return Identity()
    from pydicom import dcmread
    from pydicom.errors import BytesLengthException, InvalidDicomError

    # pydicom warns of odd values and quotes them.
    with QUIET, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            header = dcmread(io.BytesIO(content), force=True, stop_before_pixels=True, specific_tags=list(_TAGS))
            tags = {tag: " ".join(dicom_tags.texts(header, [tag])).strip() for tag in _TAGS}
        except (OSError, BytesLengthException, InvalidDicomError, *DAMAGED):
            return Identity()
    plain = "".join(letter for letter in tags["PatientID"].casefold() if letter.isalnum())
    named = plain and plain not in _NOBODY
    scanner = tags["ManufacturerModelName"] or tags["Manufacturer"]
    places = (pseudonym(tags["InstitutionName"], "institution"), printable(scanner))
    return Identity(
        patient=pseudonym(tags["PatientID"] if named else tags["StudyInstanceUID"]),
        institution=" ".join(filter(None, places)),
    )
