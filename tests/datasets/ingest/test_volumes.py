"""Volumes in a data set: what `predict` reads of them, a slice a picture, and a volume a patient."""

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lungcli.core.worker_process import WorkerProcess
from lungcli.datasets import manifest
from lungcli.datasets.ingest.importer import import_dataset
from lungcli.datasets.manifest import Manifest
from lungcli.imaging import image_io, timed_reading
from lungcli.imaging.containers import Container
from lungcli.predict import inputs
from lungcli.predict.inputs import Naming
from tests.imaging.dicoms import dicom
from tests.imaging.pictures import png, write, zipped
from tests.imaging.test_volumes import RAS, encoded

# The usual layout: each patient's volume has the same name.
FILES = {
    "benign/p1/ct.nii": encoded(),
    "benign/p2/ct.nii.gz": gzip.compress(encoded(RAS[:, ::-1])),
    "normal/a.png": png(1),
    "normal/cut.nii": encoded()[:-9],
}


@pytest.fixture(params=["folder", "zip"])
def packed(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[dict[str, bytes]], Path]:
    if request.param == "zip":
        return lambda files: zipped(tmp_path / "volumes.zip", files)
    return lambda files: write(tmp_path / "volumes", files)


def pixels(dataset: Manifest, label: str) -> list[bytes]:
    folder = manifest.folder(dataset.name)
    return [image_io.read(folder / item.path).pixels.tobytes() for item in dataset.slices if item.label == label]


def test_each_slice_is_what_predict_reads_and_each_volume_a_patient(
    packed: Callable[[dict[str, bytes]], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []

    def counting(*arguments: Any, real: Callable[..., Container] = timed_reading.opened) -> Container:
        opened.append(arguments[1])
        return real(*arguments)

    monkeypatch.setattr(timed_reading, "opened", counting)
    source = packed(FILES)
    dataset = import_dataset(source)
    # Each is opened to count its slices, and to read them: not for each of them anew.
    assert len(opened) <= 6
    ours = [item for item in dataset.slices if item.label == "benign"]
    assert len(ours) == 6
    assert len({item.patient for item in ours}) == 2
    assert all(item.patient.startswith("patient-") for item in ours)
    for patient in {item.patient for item in ours}:
        assert len({item.group for item in ours if item.patient == patient}) == 1
    predicted = [
        item.read().pixels.tobytes() for item in inputs.items([str(source)], Naming()) if "ct.nii" in item.shown
    ]
    assert sorted(pixels(dataset, "benign")) == sorted(predicted)
    assert [(item.path, item.reason) for item in dataset.rejected] == [("normal/cut.nii", "it is damaged or cut off")]
    assert dataset.slices[-1].patient == ""


def test_a_slice_that_cannot_be_read_is_named_and_the_others_kept(tmp_path: Path) -> None:
    values = RAS.copy()
    values[..., 1] = np.linspace(0, 4000, values[..., 1].size).reshape(values[..., 1].shape)
    dataset = import_dataset(write(tmp_path / "in", {"normal/x.nii": encoded(values), "benign/1.png": png(1)}))
    assert len([item for item in dataset.slices if item.label == "normal"]) == 2
    (rejected,) = dataset.rejected
    assert rejected.path == "normal/x.nii, slice 2"
    assert rejected.reason.startswith("its grey scale is unknown")


@pytest.mark.parametrize("name", ["slow.nii", "slow.nii.gz", "slow.mha", "slow.nrrd"])
def test_a_volume_that_takes_too_long_is_given_up_and_the_others_kept(
    name: str, packed: Callable[[dict[str, bytes]], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(worker: WorkerProcess, request: bytes, seconds: float, real: Any = WorkerProcess.ask) -> bytes:
        assert seconds == timed_reading.SECONDS
        if name.encode() in request:
            raise TimeoutError
        return bytes(real(worker, request, 60.0))

    monkeypatch.setattr(WorkerProcess, "ask", ask)
    dataset = import_dataset(packed({f"normal/{name}": encoded(), "normal/1.png": png(1), "benign/2.png": png(2)}))
    assert [(item.path, item.reason) for item in dataset.rejected] == [(f"normal/{name}", "it takes more than 10 s")]
    assert len(dataset.slices) == 2


def test_a_slice_of_a_volume_that_takes_too_long_is_given_up_and_the_others_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(worker: WorkerProcess, request: bytes, seconds: float, real: Any = WorkerProcess.ask) -> bytes:
        assert seconds == timed_reading.SECONDS
        if b"slice 2" in request:
            raise TimeoutError
        return bytes(real(worker, request, 60.0))

    monkeypatch.setattr(WorkerProcess, "ask", ask)
    dataset = import_dataset(write(tmp_path / "in", {"normal/slow.nii": encoded(), "benign/1.png": png(1)}))
    assert [(item.path, item.reason) for item in dataset.rejected] == [
        ("normal/slow.nii, slice 2", "it takes more than 10 s")
    ]
    assert len([item for item in dataset.slices if item.label == "normal"]) == 2


def test_a_table_knows_the_patient_of_volumes_better(tmp_path: Path) -> None:
    table = "path,label,patient,mask\np1/ct.nii,benign,one,\np2/ct.nii.gz,normal,one,p2/lesion.nii\n"
    files = {name.partition("/")[2]: content for name, content in FILES.items()} | {"p2/lesion.nii": encoded()}
    folder = write(tmp_path / "in", files)
    (tmp_path / "table.csv").write_text(table)
    dataset = import_dataset(folder, table=tmp_path / "table.csv")
    assert len({item.patient for item in dataset.slices}) == 1
    reasons = {item.path: item.reason for item in dataset.rejected}
    assert reasons == {
        "p2/lesion.nii": "a mask of a volume is not read",
        "a.png": "not in the table",
        "cut.nii": "not in the table",
    }


def test_a_slice_of_another_part_of_the_body_is_rejected_unless_any_picture_is_welcome(tmp_path: Path) -> None:
    files = {
        "normal/head.dcm": dicom(BodyPartExamined="HEAD"),
        "normal/abdomen.dcm": dicom(StudyDescription="Abdomen ven."),
        "normal/chest.dcm": dicom(BodyPartExamined="CHEST"),
        "normal/silent.dcm": dicom(),
    }
    folder = write(tmp_path / "in", files)
    dataset = import_dataset(folder, name="chests")
    assert sorted(item.path for item in dataset.slices) == ["slices/normal/chest.dcm", "slices/normal/silent.dcm"]
    assert {item.path: item.reason for item in dataset.rejected} == {
        "normal/head.dcm": "the header says it shows the HEAD",
        "normal/abdomen.dcm": "the header says it shows the ABDOMEN",
    }
    assert len(import_dataset(folder, name="any", any_picture=True).slices) == 4
