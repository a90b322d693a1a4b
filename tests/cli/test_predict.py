"""`lungcli predict` as typed."""

import csv
import io
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom.uid import DeflatedExplicitVRLittleEndian, RLELossless, generate_uid

from lungcli.imaging.preprocessing import prepare_file
from tests.cli.conftest import LUNGCLI, RUN, Done, call, environment
from tests.imaging import dicoms
from tests.imaging.pictures import write, zipped
from tests.modelfile import graphs


def predicted(home: Path, *arguments: object, check: int = 0) -> dict[str, object]:
    model = () if "--model" in arguments else ("--model", RUN)
    document = json.loads(call(home, "predict", *model, *arguments, "--json", check=check).stdout)
    assert isinstance(document, dict)
    return document


def test_one_picture_gets_a_prediction(workshop: Path, slices: list[Path]) -> None:
    done = call(workshop, "predict", "--model", RUN, slices[0])
    lines = done.stdout.splitlines()
    assert lines[0].split()[0] in {"suspicious", "no"}
    assert lines[-1].endswith(" ms")
    assert "Research software, not a medical device" in done.stderr
    assert "trained on drawn phantoms" in done.stderr


def test_probabilities_are_those_of_the_evaluation(workshop: Path) -> None:
    """The verdict on a file is the one that its figures were computed from."""
    evaluation = json.loads((workshop / "runs" / RUN / "int8" / "evaluation.json").read_text())
    paths = [workshop / "data" / "phantom" / name for name in evaluation["slices"]]
    predictions = predicted(workshop, "--model", RUN, *paths)["predictions"]
    assert isinstance(predictions, list)
    ours = [[item["probabilities"][name] for name in evaluation["classes"]] for item in predictions]
    np.testing.assert_allclose(ours, evaluation["probabilities"], atol=1e-5)
    assert [item["source"] for item in predictions] == [str(path) for path in paths]


def test_an_unreadable_picture_is_reported_and_the_others_predicted(
    workshop: Path, slices: list[Path], tmp_path: Path
) -> None:
    bad = {
        "empty.png": b"",
        "text.png": b"this is text",
        "cut.png": slices[0].read_bytes()[:2000],
    }
    for name, content in bad.items():
        (tmp_path / name).write_bytes(content)
    Image.new("L", (1, 1)).save(tmp_path / "dot.png")
    arguments = [tmp_path / "none.png", *(tmp_path / name for name in bad), slices[0], tmp_path / "dot.png", slices[1]]
    done = call(workshop, "predict", "--model", RUN, *arguments, check=4)
    assert len(done.stdout.splitlines()) == 2
    assert done.stderr.count("error: ") == 5
    report = predicted(workshop, *arguments, check=4)
    assert len(report["failures"]) == 5  # type: ignore[arg-type]
    assert len(report["predictions"]) == 2  # type: ignore[arg-type]


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
    predictions = predicted(workshop, tmp_path)["predictions"]
    assert isinstance(predictions, list)
    assert [Path(item["source"]).name for item in predictions] == [
        *("a ä [1].png", "b.tiff", "c.bmp", "d.png", "e.png", "f.jpg", "g.dcm")
    ]
    first, *others = [list(item["probabilities"].values()) for item in predictions]
    for other in others:
        np.testing.assert_allclose(other, first, atol=0.02)
    assert len({item["label"] for item in predictions}) == 1


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


def test_a_fresh_machine_has_a_model(home: Path, slices: list[Path]) -> None:
    document = json.loads(call(home, "predict", slices[0], "--json").stdout)
    assert (document["model"], document["synthetic"]) == ("bundled", False)
    (verdict,) = document["predictions"]
    assert sum(verdict["probabilities"].values()) == pytest.approx(1)


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


def test_a_picture_that_is_no_slice_is_refused_and_the_others_predicted(
    workshop: Path, slices: list[Path], tmp_path: Path
) -> None:
    Image.new("L", (200, 200), 90).save(tmp_path / "wall.png")
    Image.fromarray(255 - np.asarray(Image.open(slices[3]).convert("L"))).save(tmp_path / "negative.png")
    arguments = [tmp_path / "wall.png", slices[0], tmp_path / "negative.png"]
    done = call(workshop, "predict", "--model", RUN, *arguments, check=4)
    assert len(done.stdout.splitlines()) == 1
    assert "not an axial lung CT slice (blank; score 100.00, limit 1)" in done.stderr
    assert "not an axial lung CT slice (inverted grey: air is brighter than tissue; score " in done.stderr
    assert "--force" in done.stderr
    report = predicted(workshop, *arguments, check=4)
    assert report["refusals"] == [
        {"source": str(arguments[0]), "finding": "refused", "reason": "blank", "score": 100.0},
        {
            "source": str(arguments[2]),
            "finding": "refused",
            "reason": "inverted grey: air is brighter than tissue",
            "score": pytest.approx(1.6, abs=0.3),
        },
    ]
    assert not report["failures"]


def only_prediction(home: Path, *arguments: object, check: int = 0) -> dict[str, Any]:
    """The one prediction made."""
    predictions = predicted(home, *arguments, check=check)["predictions"]
    assert isinstance(predictions, list)
    (found,) = predictions
    assert isinstance(found, dict)
    return found


def test_force_predicts_a_refused_picture_and_marks_it(workshop: Path, tmp_path: Path) -> None:
    Image.new("L", (200, 200), 90).save(tmp_path / "wall.png")
    done = call(workshop, "predict", "--model", RUN, "--force", tmp_path / "wall.png")
    assert "predicted only because of --force\nreferred to a radiologist: blank" in done.stdout
    prediction = only_prediction(workshop, "--force", tmp_path / "wall.png")
    assert (prediction["forced"], prediction["referred"], prediction["reason"]) == (True, True, "blank")


def test_an_unfamiliar_slice_is_referred_and_strict_says_so(workshop: Path, slices: list[Path], tmp_path: Path) -> None:
    grey = np.asarray(Image.open(slices[0]).convert("L"))
    Image.fromarray((grey // 4).astype(np.uint8)).save(tmp_path / "dark.png")
    done = call(workshop, "predict", "--model", RUN, tmp_path / "dark.png")
    reason = "unfamiliar acquisition: of darker tissue than the slices it learned from"
    assert f"referred to a radiologist: {reason}" in done.stdout
    call(workshop, "predict", "--model", RUN, "--strict", tmp_path / "dark.png", slices[0], check=6)
    call(workshop, "predict", "--model", RUN, "--strict", tmp_path / "dark.png", tmp_path / "none.png", check=4)
    prediction = only_prediction(workshop, "--strict", tmp_path / "dark.png", check=6)
    assert (prediction["referred"], prediction["reason"], prediction["forced"]) == (True, reason, False)
    assert prediction["guard"] > 1


@pytest.fixture(scope="module")
def undoubting(made: tuple[Path, Done], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose model refers nothing for want of confidence, which two epochs do not give it."""
    home = tmp_path_factory.mktemp("undoubting") / "home"
    shutil.copytree(made[0], home)
    call(home, "calibrate", RUN, "--target-risk", "0.95")
    return home


def test_familiar_slices_are_not_referred_as_unfamiliar(undoubting: Path, slices: list[Path]) -> None:
    predictions = predicted(undoubting, "--strict", *slices)["predictions"]
    assert isinstance(predictions, list)
    assert [item["referred"] for item in predictions] == [False] * len(slices)
    assert all(0 < item["guard"] <= 1 for item in predictions)


def fed(home: Path, content: bytes, *arguments: object) -> tuple[int, str]:
    """Exit code and stdout of `lungcli predict` when `content` comes on stdin."""
    done = subprocess.run(
        [LUNGCLI, "predict", "--model", RUN, *map(str, arguments)],
        env=environment(home),
        input=content,
        capture_output=True,
        timeout=300,
        check=False,
    )
    return done.returncode, done.stdout.decode()


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_json_lines_keep_the_order_of_the_input(workshop: Path, slices: list[Path], tmp_path: Path) -> None:
    Image.new("L", (200, 200), 90).save(tmp_path / "wall.png")
    arguments = [slices[0], tmp_path / "none.png", tmp_path / "wall.png", slices[1]]
    outcomes = lines(call(workshop, "predict", "--model", RUN, "--jsonl", *arguments, check=4).stdout)
    assert [item["kind"] for item in outcomes] == ["prediction", "failure", "refusal", "prediction"]
    assert [item["source"] for item in outcomes] == [str(path) for path in arguments]
    assert list(outcomes[2]) == ["schema_version", "kind", "source", "finding", "reason", "score"]
    assert list(outcomes[1]) == ["schema_version", "kind", "source", "reason", "hint"]


def test_csv_and_a_file_for_each_result(workshop: Path, slices: list[Path], tmp_path: Path) -> None:
    write(tmp_path, {f"copy/{slices[0].name}": slices[0].read_bytes()})
    arguments = [slices[0], tmp_path / "a, b.png", tmp_path / "copy"]
    done = call(workshop, "predict", "--model", RUN, "--csv", "--output", tmp_path / "out", *arguments, check=4)
    head, first, second, _ = csv.reader(io.StringIO(done.stdout))
    assert head == [
        *("kind", "source", "series", "finding", "verdict", "benign", "malignant", "normal"),
        *("referred", "reason", "score", "forced", "seconds"),
    ]
    assert first[:3] == ["prediction", str(slices[0]), ""]
    assert sum(map(float, first[5:8])) == pytest.approx(1)
    assert second[:9] == ["failure", str(tmp_path / "a, b.png"), *[""] * 7]
    assert "there is no such file" in second[9]
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["a, b.png.json", f"{slices[0].name} (2).json", f"{slices[0].name}.json"]
    assert json.loads((tmp_path / "out" / names[0]).read_text())["kind"] == "failure"


def test_top_limits_what_is_shown(undoubting: Path, slices: list[Path]) -> None:
    shown = call(undoubting, "predict", "--model", RUN, "--top", 2, slices[0]).stdout
    assert sum(line.split()[0] in ("benign", "malignant", "normal") for line in shown.splitlines()) == 2
    done = call(undoubting, "predict", "--model", RUN, "--top", 3, *slices[:2])
    assert all(line.partition("/")[0].count("%") == 3 for line in done.stdout.splitlines())


def test_a_picture_or_a_list_of_paths_comes_on_stdin(workshop: Path, slices: list[Path]) -> None:
    code, out = fed(workshop, slices[0].read_bytes(), "--stdin", "--jsonl")
    assert (code, lines(out)[0]["source"]) == (0, "stdin")
    code, out = fed(workshop, "\n".join(map(str, slices[:3])).encode(), "--jsonl", "-")
    assert [item["source"] for item in lines(out)] == [str(path) for path in slices[:3]]
    assert fed(workshop, b"", "--stdin") == (4, "")
    assert fed(workshop, b"", "-") == (0, "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "no picture is named"),
        (["--json", "--csv", "x.png"], "only one output format can be printed"),
        (["--stdin", "x.png"], "paths are named too"),
        (["-", "-"], "can be read only once"),
    ],
)
def test_contradictory_options_are_refused(home: Path, arguments: list[str], said: str) -> None:
    done = call(home, "predict", "--model", RUN, *arguments, check=2)
    assert said in done.stderr
    assert not done.stdout


def test_patterns_zip_files_and_folders_are_read(workshop: Path, slices: list[Path], tmp_path: Path) -> None:
    names = [path.name for path in slices[:2]]
    files = {path.name: path.read_bytes() for path in slices[:2]}
    path = zipped(tmp_path / "s.zip", {f"s/{name}": content for name, content in files.items()})
    write(tmp_path, {**files, "notes.txt": b"hello"})
    done = call(workshop, "predict", "--model", RUN, "--jsonl", path, tmp_path / "p*.png", tmp_path)
    found = [Path(item["source"]).relative_to(tmp_path).as_posix() for item in lines(done.stdout)]
    assert found == [*(f"s.zip/s/{name}" for name in names), *names, *names]


def as_hounsfield(path: Path) -> Any:
    return np.rint(np.asarray(Image.open(path).convert("L")) * (1500 / 255) - 1350).astype(np.int16)


def test_a_slice_is_the_same_however_dicom_stores_it(workshop: Path, slices: list[Path], tmp_path: Path) -> None:
    hu = as_hounsfield(slices[4])
    run_lengths = dicoms.dataset(hu, RescaleIntercept=0)
    run_lengths.compress(RLELossless)
    files = {
        "1.dcm": dicoms.dicom(hu, RescaleIntercept=0),
        "2.dcm": dicoms.dicom((hu + 1350).astype(np.uint16), RescaleIntercept=-1350),
        "3.dcm": dicoms.dicom((hu // 2).astype(np.int16), RescaleSlope=2, RescaleIntercept=0, Modality=None),
        "4.dcm": dicoms.dicom(hu, RescaleIntercept=0, syntax=DeflatedExplicitVRLittleEndian),
        "5.dcm": dicoms.written(run_lengths),
    }
    outcomes = lines(call(workshop, "predict", "--model", RUN, "--jsonl", slices[4], write(tmp_path, files)).stdout)
    first, *others = [list(item["probabilities"].values()) for item in outcomes]
    assert len(others) == 5
    for other in others:
        np.testing.assert_allclose(other, first, atol=0.02)
    assert len({item["label"] for item in outcomes}) == 1


def study(folder: Path, slices: list[Path]) -> Path:
    """A scan of a patient who must not be named, with a localizer, a torn file and two that say nothing."""
    tags: dict[str, Any] = {"SeriesInstanceUID": generate_uid(), "ImageOrientationPatient": dicoms.AXIAL}
    files = {
        f"erika-{i}.dcm": dicoms.dicom(as_hounsfield(path), ImagePositionPatient=[0, 0, -i], RescaleIntercept=0, **tags)
        for i, path in enumerate(slices[:4])
    }
    files["scout.dcm"] = dicoms.dicom(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    files["torn.dcm"] = files["erika-0.dcm"][:-5000]
    files["mute.dcm"] = files["erika-0.dcm"][:140]
    files["nothing.dcm"] = dicoms.dicom(PixelData=None, PatientComments="Musterfrau")
    write(folder / "MUSTERFRAU^ERIKA" / "PID4711X", files)
    return folder / "MUSTERFRAU^ERIKA"


def test_a_series_gets_a_prediction_of_its_own(workshop: Path, slices: list[Path], tmp_path: Path) -> None:
    arguments = study(tmp_path, slices)
    outcomes = lines(call(workshop, "predict", "--model", RUN, "--jsonl", arguments, check=4).stdout)
    (series,) = [item for item in outcomes if item["kind"] == "series"]
    assert outcomes[-1] == series
    assert (series["series"], series["slices"], series["not_judged"]) == ("series 1", 5, 1)
    assert "mean of the calibrated probabilities" in series["rule"]
    # From feet to head, which is the other way round than their numbers.
    order = [item["source"].rpartition("/")[2] for item in outcomes if item["kind"] == "prediction"]
    assert order == [f"…-{i}.dcm" for i in (3, 2, 1, 0)]
    done = call(workshop, "predict", "--model", RUN, arguments, check=4)
    assert "series 1 as a whole (" in done.stdout
    assert "it is a localizer, not an axial slice" in done.stderr
    named = lines(call(workshop, "predict", "--model", RUN, "--jsonl", "--include-phi", arguments, check=4).stdout)
    assert str(arguments / "PID4711X" / "erika-3.dcm") in [item.get("source") for item in named]
    assert named[-1]["series"].startswith("1.2.")


@pytest.mark.parametrize("form", ["--json", "--csv", "--top=3"])
def test_no_patient_is_named_anywhere(workshop: Path, slices: list[Path], tmp_path: Path, form: str) -> None:
    arguments = study(tmp_path, slices)
    places = [arguments, *sorted(arguments.rglob("*.dcm")), f"{arguments}/*/*"]
    done = call(workshop, "--debug", "predict", "--model", RUN, "--output", tmp_path / "out", form, *places, check=4)
    written = [path.name + path.read_text() for path in (tmp_path / "out").iterdir()]
    assert len(written) > 20
    output = "\n".join([done.stdout, done.stderr, *written]).casefold()
    for planted in ("musterfrau", "erika", "pid4711x", "19640812"):
        assert planted not in output


def test_several_models_give_their_mean(workshop: Path, slices: list[Path]) -> None:
    chosen = [f"{RUN}/student", f"{RUN}/teacher"]
    named = [part for spec in chosen for part in ("--model", spec)]
    alone = [only_prediction(workshop, "--model", spec, slices[0])["probabilities"] for spec in chosen]
    report = predicted(workshop, *named, slices[0])
    assert (report["model"], report["models"]) == (" + ".join(chosen), chosen)
    (verdict,) = report["predictions"]  # type: ignore[misc]
    for label, value in verdict["probabilities"].items():  # type: ignore[has-type]
        assert value == pytest.approx((alone[0][label] + alone[1][label]) / 2, abs=1e-6)
    assert [each["probabilities"] for each in verdict["opinions"]] == [  # type: ignore[has-type]
        pytest.approx(one, abs=1e-6) for one in alone
    ]
    done = call(workshop, "predict", *named, *slices)
    assert all(" of 2  " in line for line in done.stdout.splitlines())


def test_models_of_different_classes_are_refused_as_an_ensemble(
    workshop: Path, slices: list[Path], tmp_path: Path
) -> None:
    other = graphs.model_file(tmp_path / "other.onnx", classes=("cat", "dog", "eel"))
    done = call(workshop, "predict", "--model", RUN, "--model", other, slices[0], check=2)
    assert "tells cat, dog, eel apart" in done.stderr
    assert done.stderr.count("error: ") == 1
    assert not done.stdout
    twice = call(workshop, "predict", "--model", RUN, "--model", RUN, slices[0], check=2)
    assert f"{RUN}/int8 is named twice" in twice.stderr
    two = ("--model", RUN, "--model", f"{RUN}/student")
    assert "name one --model" in call(workshop, "predict", *two, "--explain", slices[0], check=2).stderr


def test_tta_averages_ten_views(workshop: Path, slices: list[Path]) -> None:
    plain, averaged = only_prediction(workshop, slices[0]), only_prediction(workshop, "--tta", slices[0])
    assert (plain["views"], averaged["views"]) == (1, 10)
    assert averaged["probabilities"] != plain["probabilities"]
    assert averaged["probabilities"] == pytest.approx(plain["probabilities"], abs=0.3)
    assert "mean of 10 views" in call(workshop, "predict", "--model", RUN, "--tta", slices[0]).stdout


def test_prepared_slices_are_written_once_each(workshop: Path, slices: list[Path], tmp_path: Path) -> None:
    write(tmp_path / "copy", {slices[0].name: slices[0].read_bytes()})
    Image.new("L", (200, 200), 90).save(tmp_path / "copy" / "wall.png")
    into = tmp_path / "out"
    call(workshop, "predict", "--model", RUN, slices[0], tmp_path / "copy", "--prepared-to", into, check=4)
    names = sorted(path.name for path in into.iterdir())
    assert names == [f"{slices[0].stem}-2.prepared.png", f"{slices[0].stem}.prepared.png"]
    first, second = (np.asarray(Image.open(into / name)) for name in names)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first, prepare_file(slices[0], 64))
