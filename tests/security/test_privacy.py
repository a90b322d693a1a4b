"""A patient's name, number and birthday, in tags and in paths, get into nothing that is written unless asked for."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.cli.conftest import LUNGCLI, environment
from tests.imaging import dicoms, pictures
from tests.modelfile import graphs

pytestmark = pytest.mark.long

NAME, NUMBER, BORN = "Quetzalcoatl^Wilhelmina", "ZX81-WREN47", "19240229"
SERIES = "1.2.840.471108151"
# No part is so short that the digits of a probability or the bytes of a picture could spell it.
PLANTED = re.compile(rb"quetzal|wilhelmina|zx81|wren47|471108151|19240229", re.IGNORECASE)
TAGS = {
    "PatientName": NAME,
    "PatientID": NUMBER,
    "PatientBirthDate": BORN,
    "OtherPatientIDs": NUMBER,
    "SeriesInstanceUID": SERIES,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What a hospital's archive writes: folders and files named after patients, one of them damaged, one of MRI."""
    whole = dicoms.dicom(**TAGS)  # type: ignore[arg-type]
    files = {
        "QUETZALCOATL_WILHELMINA/study/1.dcm": whole,
        "QUETZALCOATL_WILHELMINA/study/quetzalcoatl 2.dcm": whole,
        "QUETZALCOATL_WILHELMINA/study/cut.dcm": whole[: len(whole) // 2],
        "QUETZALCOATL_WILHELMINA/study/no pixels.dcm": dicoms.dicom(**TAGS, PixelData=None),  # type: ignore[arg-type]
        "QUETZALCOATL_WILHELMINA/study/other.dcm": dicoms.dicom(**TAGS, Modality="MR"),  # type: ignore[arg-type]
        "QUETZALCOATL_WILHELMINA/ZX81-WREN47.dcm": whole[:-9],
        "Wilhelmina 19240229.DCM": whole,
    }
    pictures.write(tmp_path / "archive", files)
    pictures.zipped(tmp_path / "archive" / "export.zip", {f"zip/{name}": content for name, content in files.items()})
    return tmp_path / "archive"


def asked(home: Path, work: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [LUNGCLI, "predict", "--model", work.parent / "m.onnx", "--force", *arguments],
        env=environment(home),
        capture_output=True,
        timeout=600,
        check=False,
        cwd=work,
        stdin=subprocess.DEVNULL,
    )


def test_no_written_file_names_a_patient(home: Path, folder: Path, tmp_path: Path) -> None:
    graphs.nodule_file(tmp_path / "m.onnx")
    out, heat = tmp_path / "out", tmp_path / "heat"
    named = [".", "export.zip", "no such QUETZALCOATL.dcm"][:2]
    for form in ((), ("--json",), ("--jsonl",), ("--csv",), ("--output", str(out)), ("--explain-to", str(heat))):
        done = asked(home, folder, *form, *named)
        assert b"archive" in done.stdout + done.stderr or done.stdout
        assert not (found := PLANTED.findall(done.stdout + done.stderr)), (form, found, done.stderr)
        assert b"Traceback" not in done.stderr
    alone = asked(home, folder, "--explain", str(folder / "QUETZALCOATL_WILHELMINA" / "study" / "1.dcm"))
    assert not PLANTED.search(alone.stdout + alone.stderr)

    written = [path for place in (out, heat, home) for path in place.rglob("*") if path.is_file()]
    assert len(written) > 6
    for path in written:
        assert not PLANTED.search(str(path.relative_to(tmp_path if path.is_relative_to(tmp_path) else home)).encode())
        assert not PLANTED.search(path.read_bytes())
        if path.suffix == ".png":
            with Image.open(path) as picture:
                assert not PLANTED.search(repr(picture.info).encode())

    output = asked(home, folder, "--include-phi", ".")
    assert PLANTED.search(output.stdout + output.stderr)


def test_the_runtime_stores_no_machine_id_and_no_telemetry(home: Path, tmp_path: Path) -> None:
    """ONNX Runtime would lay a device number and a queue of reports into the user's cache, and send them."""
    graphs.model_file(tmp_path / "m.onnx")
    pictures.write(tmp_path / "work", {"1.png": pictures.png(1)})
    user = tmp_path / "user"
    user.mkdir()
    # It keeps quiet of its own accord where these are set.
    loud = {
        name: value
        for name, value in environment(home).items()
        if not name.startswith(("CI", "GITHUB_", "ORT_", "XDG_"))
    }
    subprocess.run(
        [LUNGCLI, "predict", "--model", tmp_path / "m.onnx", "--force", "1.png"],
        env=loud | {"HOME": str(user), "TMPDIR": str(user)},
        capture_output=True,
        check=True,
        cwd=tmp_path / "work",
    )
    assert list(user.rglob("*")) == []


@pytest.mark.parametrize(
    "module", ["modelfile.model_file", "evaluation.benchmark", "export.formats", "quantize.bias_correction"]
)
def test_telemetry_is_disabled_before_the_runtime_is_imported(module: str) -> None:
    """The first import of the runtime is caught in a fresh interpreter, and must find the switch set."""
    code = (
        "import importlib, os, sys\n"
        "class Caught:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'onnxruntime':\n"
        "            print('found', os.environ.get('ORT_DISABLE_TELEMETRY'))\n"
        "            sys.meta_path.remove(self)\n"
        "sys.meta_path.insert(0, Caught())\n"
        f"importlib.import_module('lungcli.{module}')\n"
        "import onnxruntime\n"
    )
    quiet = {name: value for name, value in os.environ.items() if not name.startswith("ORT_")}
    done = subprocess.run([sys.executable, "-c", code], env=quiet, capture_output=True, text=True, check=True)
    assert done.stdout == "found 1\n"
