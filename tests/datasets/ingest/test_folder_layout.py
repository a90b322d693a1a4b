"""Layouts: which class a path means, and what is foreign."""

from pathlib import PurePosixPath

import pytest

from lungcli.core.errors import UnreadableInputError, UsageError
from lungcli.core.registry import DATA_SETS
from lungcli.datasets.ingest.folder_layout import class_name, recognize_layout

ROOT = "The IQ-OTHNCCD lung cancer dataset"


def placed(*files: str) -> list[str]:
    """The class of each file, or its reason in brackets."""
    found = recognize_layout([PurePosixPath(file) for file in files])
    return [place.label or f"({place.reason})" for place in found.roles]


def laid_out_like(*files: str) -> str:
    """The published set that files are laid out like, if any."""
    row = recognize_layout([PurePosixPath(file) for file in files]).data_set
    return row.name if row else ""


@pytest.mark.parametrize("above", ["", f"{ROOT}/", f"{ROOT}/{ROOT}/"])
def test_iqothnccd_at_any_depth(above: str) -> None:
    files = [
        f"{above}Bengin cases/Bengin case (1).jpg",
        f"{above}Malignant cases/Malignant case (1).jpg",
        f"{above}Normal cases/Normal case (1).jpg",
        f"{above}Test cases/000123_01.jpg",
        f"{above}IQ-OTH_NCCD lung cancer dataset.txt",
    ]

    assert laid_out_like(*files) == "iqothnccd"
    assert placed(*files) == ["benign", "malignant", "normal", "(not in a class folder)", "(not a picture)"]


def test_iqothnccd_by_its_misspelling_alone() -> None:
    assert laid_out_like("Bengin cases/1.jpg", "Normal cases/1.jpg") == "iqothnccd"


def test_two_well_spelled_classes_are_somebody_elses() -> None:
    assert laid_out_like("Benign cases/1.jpg", "Normal cases/1.jpg") == ""


def test_chest_ctscan_has_its_kinds_of_cancer_in_one_class() -> None:
    files = [
        "Data/train/adenocarcinoma_left.lower.lobe_T2_N0_M0_Ib/000000 (6).png",
        "Data/valid/large.cell.carcinoma_left.hilum_T2_N2_M0_IIIa/000009.png",
        "Data/test/squamous.cell.carcinoma/000111.png",
        "Data/test/normal/8 (2).png",
        "Data/normal.png",
    ]

    assert laid_out_like(*files) == "chest-ctscan"
    assert placed(*files) == ["malignant", "malignant", "malignant", "normal", "(not in a class folder)"]


def test_a_part_of_the_kinds_of_cancer_is_somebody_elses() -> None:
    assert laid_out_like("adenocarcinoma/1.png", "normal/1.png") == ""


def test_a_set_may_be_named_instead_of_recognised() -> None:
    row = DATA_SETS["chest-ctscan"]

    found = recognize_layout([PurePosixPath("adenocarcinoma/1.png"), PurePosixPath("normal/1.png")], row)

    assert found.data_set is row
    assert [place.label for place in found.roles] == ["malignant", "normal"]


@pytest.mark.parametrize(
    ("files", "labels"),
    [
        (["a/1.png", "B/1.png"], ["a", "b"]),
        (["set/x/a/1.png", "set/x/b/1.png"], ["a", "b"]),
        (["a/deep/er/1.png", "b/1.png"], ["a", "b"]),
        (["benign/1.png", "BENGIN/1.png", "Malignant_Cases/1.png"], ["benign", "benign", "malignant"]),
        (["Data/train/a/1.png", "Data/test/b/1.png", "Data/valid/a/1.png"], ["a", "b", "a"]),
        (["a/1.png", "b/1.png", "overview.png"], ["a", "b", "(not in a class folder)"]),
        (["a/1.png", "b/1.png", "docs/readme.md"], ["a", "b", "(not a picture)"]),
        (["a/IM0001", "b/1.2.840.113", "b/README"], ["a", "b", "(not a picture)"]),
    ],
)
def test_one_folder_a_class(files: list[str], labels: list[str]) -> None:
    assert placed(*files) == labels


@pytest.mark.parametrize("name", [".DS_Store", "__MACOSX/a/._1.png", "a/Thumbs.db", "a/desktop.ini", ".git/1.png"])
def test_files_of_the_system_are_listed_as_no_pictures(name: str) -> None:
    assert placed("a/1.png", "b/1.png", name)[-1] == "(not a picture)"


@pytest.mark.parametrize("files", [[], ["readme.txt"], [".DS_Store", "a/x.csv", "b/y.csv"]])
def test_no_pictures(files: list[str]) -> None:
    with pytest.raises(UnreadableInputError, match="no pictures") as caught:
        placed(*files)
    assert "one folder a class" in caught.value.hint


@pytest.mark.parametrize("files", [["1.png", "2.png"], ["train/1.png", "test/2.png"]])
def test_no_class_folders(files: list[str]) -> None:
    with pytest.raises(UnreadableInputError, match="not in class folders"):
        placed(*files)


def test_a_single_folder_is_a_class_only_by_its_name() -> None:
    with pytest.raises(UsageError, match="not named after a class"):
        placed("a/1.png")


@pytest.mark.parametrize(
    "files", [["x/benign/1.png"], ["benign/p1/1.png", "benign/p2/1.png"], ["benign/1.png", "Bengin cases/1.png"]]
)
def test_a_hospital_may_have_one_class(files: list[str]) -> None:
    assert placed(*files) == ["benign"] * len(files)


@pytest.mark.parametrize(
    ("folder", "label"),
    [
        ("Bengin cases", "benign"),
        ("benign", "benign"),
        ("Malignant case", "malignant"),
        (" NORMAL ", "normal"),
        ("Large Cell Carcinoma", "large cell carcinoma"),
        ("Covid cases", "covid cases"),
    ],
)
def test_class_names(folder: str, label: str) -> None:
    assert class_name(folder) == label
