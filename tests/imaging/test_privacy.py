import pytest
from pydicom.dataset import Dataset

from lungcli.imaging import privacy


def words(**tags: object) -> frozenset[str]:
    dataset = Dataset()
    for name, value in tags.items():
        setattr(dataset, name, value)
    return privacy.words_of(dataset)


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("data/MUSTERFRAU_ERIKA/CT/1.dcm", "data/…/CT/1.dcm"),
        ("data/Musterfrau^Erika 1964-08-12/1.dcm", "data/…/1.dcm"),
        ("data/musterfrauerika/1.dcm", "data/…/1.dcm"),
        ("PID4711X/IM0001", "…/IM0001"),
        ("x/erika-0042.dcm", "x/…-0042.dcm"),
        ("x/MusterfrauE-0042.dcm", "x/…-0042.dcm"),
        ("x\\Müller\\1.dcm", "x\\…\\1.dcm"),
        ("x/Mueller/1.dcm", "x/…/1.dcm"),
        ("x/MULLER/1.dcm", "x/…/1.dcm"),
        ("19640812/1.dcm", "…/1.dcm"),
        ("x/li/1.dcm", "x/…/1.dcm"),
        ("slices/live/1.dcm", "slices/live/1.dcm"),
        ("other/person.dcm", "other/person.dcm"),
    ],
)
def test_what_names_the_patient_is_hidden(path: str, shown: str) -> None:
    found = words(
        PatientName="Musterfrau^Erika",
        OtherPatientNames=["Müller^E", "Li^Wu"],
        PatientID="PID-4711X",
        PatientBirthDate="19640812",
    )
    assert privacy.hidden(path, found) == shown


def test_nobody_known_hides_nothing() -> None:
    assert privacy.hidden("a/b.dcm", words()) == "a/b.dcm"
    assert privacy.hidden("a/b.dcm", words(PatientName="", PatientID=None)) == "a/b.dcm"


def test_without_folders() -> None:
    assert privacy.without_folders("a/b/c.dcm") == "…/c.dcm"
    assert privacy.without_folders("c.dcm") == "c.dcm"
