"""Pseudonyms: one a person and home, and no way back."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lungcli.core import paths
from lungcli.core.errors import LungcliError
from lungcli.datasets import pseudonyms
from lungcli.datasets.pseudonyms import pseudonym


def test_one_person_has_one_pseudonym() -> None:
    assert pseudonym("Doe^Jane") == pseudonym("  Doe^Jane ")
    assert pseudonym("Doe^Jane") != pseudonym("Doe^John")
    assert "Jane" not in pseudonym("Doe^Jane")


@given(st.text())
def test_a_pseudonym_stays_as_it_is(identifier: str) -> None:
    assert pseudonym(pseudonym(identifier)) == pseudonym(identifier)


@pytest.mark.parametrize("identifier", ["", " ", "\t\n"])
def test_nobody_has_none(identifier: str) -> None:
    assert pseudonym(identifier) == ""


def test_a_hospital_and_a_patient_of_one_name_differ() -> None:
    hospital = pseudonym("St Mary", "institution")

    assert hospital.startswith("institution-")
    assert hospital.removeprefix("institution-") != pseudonym("St Mary").removeprefix("patient-")
    assert pseudonym(hospital) == hospital


def test_another_home_has_other_pseudonyms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = pseudonym("Doe^Jane")
    monkeypatch.setenv("LUNGCLI_HOME", str(tmp_path / "other"))

    assert pseudonym("Doe^Jane") != here


def test_the_key_is_for_its_owner_alone() -> None:
    pseudonym("Doe^Jane")

    assert (paths.home() / pseudonyms.KEY).stat().st_mode & 0o077 == 0


def test_a_damaged_key_is_named() -> None:
    (paths.home() / pseudonyms.KEY).write_bytes(b"short")

    with pytest.raises(LungcliError, match=r"patients\.key is damaged: it has 5 bytes, not 32"):
        pseudonym("Doe^Jane")
