"""Who and where, from DICOM headers: pseudonyms, and nothing for placeholders, pictures and damaged files."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lungcli.core import paths
from lungcli.datasets.ingest import dicom_identity
from lungcli.datasets.ingest.dicom_identity import Identity
from lungcli.datasets.pseudonyms import pseudonym
from tests.imaging.dicoms import dicom
from tests.imaging.pictures import png


def identity(**tags: Any) -> Identity:
    return dicom_identity.of_file(dicom(**tags), "a.dcm")


def test_patient_institution_and_scanner() -> None:
    told = identity(PatientID="WREN47", InstitutionName="St Mary", ManufacturerModelName="SOMATOM Scope")

    assert told == Identity(
        patient=pseudonym("WREN47"), institution=f"{pseudonym('St Mary', 'institution')} SOMATOM Scope"
    )
    assert "WREN47" not in told.patient
    assert "Mary" not in told.institution


@pytest.mark.parametrize("number", [None, "", " ", "ANONYMOUS", "Anonymized", "de-identified", "0"])
def test_a_study_stands_for_a_patient_without_a_number(number: str | None) -> None:
    assert identity(PatientID=number, StudyInstanceUID="1.2.3").patient == pseudonym("1.2.3")
    assert identity(PatientID=number).patient == ""


@pytest.mark.parametrize(
    ("tags", "institution"),
    [
        ({}, ""),
        ({"Manufacturer": "ACME"}, "ACME"),
        ({"Manufacturer": "ACME", "ManufacturerModelName": "One"}, "One"),
    ],
)
def test_a_scanner_alone_is_an_institution(tags: dict[str, str], institution: str) -> None:
    assert identity(**tags).institution == institution


def test_a_picture_says_nothing() -> None:
    assert dicom_identity.of_file(png(1), "a.png") == Identity()


@settings(deadline=None, max_examples=50)
@given(st.binary(max_size=200))
def test_damaged_headers_say_nothing_or_something(junk: bytes) -> None:
    whole = dicom(PatientID="WREN47")
    for content in (whole[:140] + junk, b"\0" * 128 + b"DICM" + junk, junk):
        assert "WREN47" not in dicom_identity.of_file(content, "a.dcm").patient


def test_the_home_holds_no_identifier() -> None:
    identity(PatientID="WREN47-0815", InstitutionName="St Mary")

    written = b"".join(path.read_bytes() for path in paths.home().rglob("*") if path.is_file())
    assert b"WREN47" not in written
    assert b"Mary" not in written
