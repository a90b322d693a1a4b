"""`lungcli predict` as typed."""

import json
from pathlib import Path
from typing import Any

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


def test_a_picture_that_is_no_slice_is_refused_and_the_others_are_judged(
    workshop: Path, slices: list[Path], tmp_path: Path
) -> None:
    Image.new("L", (200, 200), 90).save(tmp_path / "wall.png")
    Image.fromarray(255 - np.asarray(Image.open(slices[0]).convert("L"))).save(tmp_path / "negative.png")
    asked = [tmp_path / "wall.png", slices[0], tmp_path / "negative.png"]
    done = call(workshop, "predict", *asked, check=4)
    assert len(done.stdout.splitlines()) == 1
    assert "not an axial lung CT slice (blank; score 100.00, limit 1)" in done.stderr
    assert "not an axial lung CT slice (inverted grey: air is brighter than tissue; score " in done.stderr
    assert "--force" in done.stderr
    found = predicted(workshop, *asked, check=4)
    assert found["refusals"] == [
        {"source": str(asked[0]), "reason": "blank", "score": 100.0},
        {
            "source": str(asked[2]),
            "reason": "inverted grey: air is brighter than tissue",
            "score": pytest.approx(1.6, abs=0.3),
        },
    ]
    assert not found["failures"]


def judged(home: Path, *arguments: object, check: int = 0) -> dict[str, Any]:
    """The one prediction made."""
    predictions = predicted(home, *arguments, check=check)["predictions"]
    assert isinstance(predictions, list)
    (found,) = predictions
    assert isinstance(found, dict)
    return found


def test_force_judges_it_marked(workshop: Path, tmp_path: Path) -> None:
    Image.new("L", (200, 200), 90).save(tmp_path / "wall.png")
    done = call(workshop, "predict", "--force", tmp_path / "wall.png")
    assert "forced, not an axial lung CT slice; referred to a radiologist: blank" in done.stdout
    found = judged(workshop, "--force", tmp_path / "wall.png")
    assert (found["forced"], found["referred"], found["reason"]) == (True, True, "blank")


def test_an_unfamiliar_slice_is_referred_and_strict_says_so(workshop: Path, slices: list[Path], tmp_path: Path) -> None:
    grey = np.asarray(Image.open(slices[0]).convert("L"))
    Image.fromarray((grey // 4).astype(np.uint8)).save(tmp_path / "dark.png")
    done = call(workshop, "predict", tmp_path / "dark.png")
    reason = "unfamiliar acquisition: of darker tissue than the slices it learned from"
    assert f"referred to a radiologist: {reason}" in done.stdout
    call(workshop, "predict", "--strict", tmp_path / "dark.png", slices[0], check=6)
    call(workshop, "predict", "--strict", tmp_path / "dark.png", tmp_path / "none.png", check=4)
    found = judged(workshop, "--strict", tmp_path / "dark.png", check=6)
    assert (found["referred"], found["reason"], found["forced"]) == (True, reason, False)
    assert found["guard"] > 1


def test_familiar_slices_are_not_referred(workshop: Path, slices: list[Path]) -> None:
    found = predicted(workshop, "--strict", *slices)["predictions"]
    assert isinstance(found, list)
    assert [item["referred"] for item in found] == [False] * len(slices)
    assert all(0 < item["guard"] <= 1 for item in found)
