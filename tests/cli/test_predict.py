"""`lungcli predict` as typed."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.conftest import RUN, call


def predicted(home: Path, *arguments: object, check: int = 0) -> dict[str, object]:
    found = json.loads(call(home, "predict", *arguments, "--json", check=check).stdout)
    assert isinstance(found, dict)
    return found


def test_one_picture_gets_a_verdict(workshop: Path, slices: list[Path]) -> None:
    done = call(workshop, "predict", slices[0])
    lines = done.stdout.splitlines()
    assert lines[0].split()[0] in {"benign", "malignant", "normal"}
    assert lines[-1].endswith(" ms")
    assert "Research software, not a medical device" in done.stderr
    assert "learned from drawn phantoms" in done.stderr


def test_probabilities_are_those_of_the_evaluation(workshop: Path) -> None:
    """The verdict on a file is the one that its figures were computed from."""
    evaluation = json.loads((workshop / "runs" / RUN / "int8" / "evaluation.json").read_text())
    paths = [workshop / "data" / "phantom" / name for name in evaluation["slices"]]
    found = predicted(workshop, "--model", RUN, *paths)["predictions"]
    assert isinstance(found, list)
    ours = [[item["probabilities"][name] for name in evaluation["classes"]] for item in found]
    np.testing.assert_allclose(ours, evaluation["probabilities"], atol=1e-5)
    assert [item["source"] for item in found] == [str(path) for path in paths]


def test_a_bad_picture_is_told_and_the_others_are_judged(workshop: Path, slices: list[Path], tmp_path: Path) -> None:
    bad = {
        "empty.png": b"",
        "text.png": b"this is text",
        "cut.png": slices[0].read_bytes()[:2000],
    }
    for name, content in bad.items():
        (tmp_path / name).write_bytes(content)
    Image.new("L", (1, 1)).save(tmp_path / "dot.png")
    asked = [tmp_path / "none.png", *(tmp_path / name for name in bad), slices[0], tmp_path / "dot.png", slices[1]]
    done = call(workshop, "predict", *asked, check=4)
    assert len(done.stdout.splitlines()) == 2
    assert done.stderr.count("error: ") == 5
    found = predicted(workshop, *asked, check=4)
    assert len(found["failures"]) == 5  # type: ignore[arg-type]
    assert len(found["predictions"]) == 2  # type: ignore[arg-type]


def test_formats_of_one_slice_agree(workshop: Path, slices: list[Path], tmp_path: Path) -> None:
    grey = np.asarray(Image.open(slices[4]).convert("L"))
    picture = Image.fromarray(grey)
    picture.save(tmp_path / "a ä [1].png")
    picture.save(tmp_path / "b.tiff")
    picture.save(tmp_path / "c.bmp")
    picture.convert("RGB").save(tmp_path / "d.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "e.png")
    picture.save(tmp_path / "f.jpg", quality=100, subsampling=0)
    _save_dicom(grey, tmp_path / "g.dcm")
    found = predicted(workshop, tmp_path)["predictions"]
    assert isinstance(found, list)
    assert [Path(item["source"]).name for item in found] == [
        *("a ä [1].png", "b.tiff", "c.bmp", "d.png", "e.png", "f.jpg", "g.dcm")
    ]
    first, *others = [list(item["probabilities"].values()) for item in found]
    for other in others:
        np.testing.assert_allclose(other, first, atol=0.02)
    assert len({item["label"] for item in found}) == 1


def _save_dicom(grey: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], path: Path) -> None:
    """The slice as a scanner would store it: HU = value − 1350 at 1500/255 HU a grey level, 16 bits."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    item = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    item.SOPClassUID, item.SOPInstanceUID, item.Modality = CTImageStorage, meta.MediaStorageSOPInstanceUID, "CT"
    item.Rows, item.Columns = grey.shape
    item.SamplesPerPixel, item.PhotometricInterpretation = 1, "MONOCHROME2"
    item.BitsAllocated, item.BitsStored, item.HighBit, item.PixelRepresentation = 16, 16, 15, 0
    item.RescaleSlope, item.RescaleIntercept = "1", "-1350"
    item.PixelData = np.round(grey.astype(np.float64) * 1500 / 255).astype("<u2").tobytes()
    item.save_as(path, enforce_file_format=True)


def test_no_model_yet_names_the_two_commands(home: Path, slices: list[Path]) -> None:
    done = call(home, "predict", slices[0], check=3)
    assert "there is no model on this machine yet" in done.stderr
    assert "lungcli data phantom" in done.stderr
    assert "lungcli compress --student mobilenetv2" in done.stderr


@pytest.mark.parametrize("content", [b"", b"not an onnx file", b"\x08\x07" * 100])
def test_a_file_that_is_no_model_is_refused(workshop: Path, slices: list[Path], tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    done = call(workshop, "predict", "--model", path, slices[0], check=3)
    assert done.stderr.count("error: ") == 1


def test_an_onnx_file_without_card_is_refused(workshop: Path, slices: list[Path], tmp_path: Path) -> None:
    import onnx

    model = onnx.load(workshop / "runs" / RUN / "student" / "model.onnx")
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "bare.onnx")
    done = call(workshop, "predict", "--model", tmp_path / "bare.onnx", slices[0], check=3)
    assert "has no lungcli model card" in done.stderr


def test_models_by_run_and_stage(workshop: Path, slices: list[Path]) -> None:
    assert predicted(workshop, "--model", f"{RUN}/teacher", slices[0])["model"] == f"{RUN}/teacher"
    assert predicted(workshop, "--model", RUN.upper(), slices[0])["model"] == f"{RUN}/int8"
    done = call(workshop, "predict", "--model", "compres-ownmodel-phantom", slices[0], check=2)
    assert f"did you mean '{RUN}'?" in done.stderr
