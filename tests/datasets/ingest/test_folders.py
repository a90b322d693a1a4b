"""Names of files: which may be slices, and which are an operating system's."""

from pathlib import PurePosixPath

import pytest

from lungcli.datasets.ingest.folders import is_system_file, may_be_picture


@pytest.mark.parametrize("name", ["a/1.png", "a/B.JPEG", "scan.nii.gz", "a/I0001", "1.2.840.10008.7"])
def test_pictures_and_numbered_files_may_be_slices(name: str) -> None:
    assert may_be_picture(PurePosixPath(name))
    assert not is_system_file(PurePosixPath(name))


@pytest.mark.parametrize("name", [".DS_Store", "__MACOSX/a/._1.png", "a/Thumbs.db", "a/desktop.ini", ".git/1.png"])
def test_files_of_the_system_are_none(name: str) -> None:
    assert is_system_file(PurePosixPath(name))
    assert not may_be_picture(PurePosixPath(name))


@pytest.mark.parametrize("name", ["readme.txt", "a/labels.csv", "LICENSE", "a.png.txt"])
def test_other_files_may_not(name: str) -> None:
    assert not may_be_picture(PurePosixPath(name))
