"""The limit of time of `lungcli predict`, whatever is named."""

from pathlib import Path

import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian
from typer.testing import CliRunner, Result

from lungcli.cli.app import program
from lungcli.core.worker_process import WorkerProcess
from lungcli.imaging import timed_reading
from tests.imaging import dicoms, test_volumes
from tests.imaging.pictures import png
from tests.imaging.test_timed_reading import FRAMES
from tests.modelfile import graphs


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that processes which read were given; none of them answers in time."""
    asked: list[float] = []
    ask = WorkerProcess.ask

    def hang(process: WorkerProcess, request: bytes, seconds: float) -> bytes:
        if process._module != timed_reading.__name__:
            return ask(process, request, seconds)
        asked.append(seconds)
        raise TimeoutError

    monkeypatch.setattr(WorkerProcess, "ask", hang)
    return asked


def predict(path: Path, *arguments: str) -> Result:
    model = graphs.model_file(path.parent / "m.onnx")
    return CliRunner().invoke(program(), ["predict", "--model", str(model), *arguments, str(path)])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("one.dcm", dicoms.dicom(syntax=DeflatedExplicitVRLittleEndian)),
        ("many.dcm", dicoms.dicom(FRAMES, NumberOfFrames=3)),
        ("volume.nii", test_volumes.encoded()),
    ],
)
def test_what_may_take_long_is_given_up(name: str, content: bytes, tmp_path: Path, hanging: list[float]) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    done = predict(path, "--timeout", "3")
    assert done.exit_code == 4, done.output
    assert f"cannot read {path}: it takes more than 3 s" in done.output
    assert hanging == [3.0]


def test_a_small_picture_alone_starts_no_process(tmp_path: Path, hanging: list[float]) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png(1))
    done = predict(path)
    assert "lung" in done.output
    assert hanging == []
    predict(path, str(path))
    assert hanging == [10.0, 10.0]
