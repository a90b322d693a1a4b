"""The order in which slices are leafed through."""

from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from lungcli.data import series


def dicom(path: Path, uid: str, number: int | None) -> Path:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    made = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    made.SeriesInstanceUID = uid
    if number is not None:
        made.InstanceNumber = number
    made.Rows = made.Columns = 2
    made.PixelData = np.zeros((2, 2), dtype=np.int16).tobytes()
    made.save_as(path, enforce_file_format=True)
    return path


def test_pictures_by_name_and_others_left_out(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("s10.png", "s9.png", "notes.txt", ".hidden.png")]
    assert series.in_order(files) == [tmp_path / "s9.png", tmp_path / "s10.png"]


@pytest.mark.parametrize("suffix", [".dcm", "", ".1"])
def test_dicom_by_series_and_instance_whatever_the_files_are_called(tmp_path: Path, suffix: str) -> None:
    c = dicom(tmp_path / f"a1{suffix}", "1.2.2", 3)
    b = dicom(tmp_path / f"b1{suffix}", "1.2.2", 2)
    a = dicom(tmp_path / f"c1{suffix}", "1.2.1", 9)
    assert series.in_order([a, b, c]) == [a, b, c]
    assert series.in_order([c, b, a]) == [a, b, c]


def test_a_file_that_is_no_dicom_keeps_its_place_by_name(tmp_path: Path) -> None:
    (tmp_path / "x2.dcm").write_bytes(b"nothing")
    (tmp_path / "x10.dcm").write_bytes(b"")
    found = series.in_order([tmp_path / "x10.dcm", tmp_path / "x2.dcm", tmp_path / "gone7"])
    assert found == [tmp_path / "gone7", tmp_path / "x2.dcm", tmp_path / "x10.dcm"]
