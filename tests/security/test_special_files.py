"""Pipes and devices where a file is expected: one error at once, and neither memory nor time without end."""

import os
import subprocess
from pathlib import Path

import msgspec
import pytest

from lungcli.core import runs
from lungcli.core.errors import LungcliError, UsageError
from lungcli.datasets import manifest
from lungcli.export import bundle
from tests.cli.conftest import LUNGCLI, environment
from tests.imaging import pictures
from tests.modelfile import graphs
from tests.security.test_damaged_folders import MOST_SECONDS, bounded, called
from tests.security.test_models import a_run

ASKED = (
    ("data", "import", "PLACE", "--name", "x"),
    ("data", "import", "FOLDER", "--labels", "PLACE", "--name", "x"),
    ("data", "download", "iqothnccd", "--from-zip", "PLACE"),
    ("predict", "--model", "MODEL", "PLACE"),
    ("predict", "--model", "PLACE", "PICTURE"),
    ("serve", "--auth", "PLACE"),
    ("compress", "--recipe", "PLACE"),
)


@pytest.mark.parametrize("asked", ASKED, ids=lambda asked: " ".join(asked[:2]))
def test_a_pipe_or_device_is_one_error(asked: tuple[str, ...], home: Path, tmp_path: Path) -> None:
    for name in ("pipe.toml", "pipe.dcm"):
        os.mkfifo(tmp_path / name)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "x.png").write_bytes(pictures.png(1))
    places = {
        "FOLDER": tmp_path / "folder",
        "PICTURE": tmp_path / "folder" / "x.png",
        "MODEL": graphs.model_file(tmp_path / "m.onnx"),
    }
    for place in (tmp_path / "pipe.toml", tmp_path / "pipe.dcm", Path("/dev/zero")):
        words = [str({**places, "PLACE": place}.get(word, word)) for word in asked]
        done = called(home, *words)
        assert done.returncode in (1, 2, 3, 4), done
        assert done.stderr.count("error: ") == 1, done


def predicted_from_zeros(home: Path, tmp_path: Path, source: str) -> subprocess.CompletedProcess[str]:
    """Predict with zeros without end on stdin, in bounded time and memory."""
    model = graphs.model_file(tmp_path / "m.onnx")
    with Path("/dev/zero").open("rb") as zeros:
        return subprocess.run(
            [LUNGCLI, "predict", "--model", str(model), source],
            env=environment(home) | {"OMP_NUM_THREADS": "1"},
            stdin=zeros,
            capture_output=True,
            text=True,
            timeout=6 * MOST_SECONDS,
            preexec_fn=bounded,
            check=False,
        )


def test_a_device_as_a_list_of_paths_ends(home: Path, tmp_path: Path) -> None:
    done = predicted_from_zeros(home, tmp_path, "-")
    assert done.returncode == 2, done
    assert done.stderr.count("error: ") == 1


def test_a_device_as_the_picture_on_stdin_ends(home: Path, tmp_path: Path) -> None:
    done = predicted_from_zeros(home, tmp_path, "--stdin")
    assert done.returncode == 4, done
    assert "cannot read stdin: it is larger than 192 MiB" in done.stderr


def test_a_data_set_that_a_run_reads_stays(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = home / "data" / "phantom"
    folder.mkdir(parents=True)
    manifest.save(pictures.described([("benign", 2), ("normal", 2)]), folder)
    a_run("reader")
    monkeypatch.setattr(runs, "state", lambda _run: "running")
    with pytest.raises(UsageError, match="the run 'reader' reads the data set 'phantom'"):
        manifest.remove("phantom")
    assert (folder / manifest.FILE).is_file()
    monkeypatch.setattr(runs, "state", lambda _run: "stopped")
    manifest.remove("phantom")
    assert not folder.exists()


def test_a_bundle_that_cannot_be_written_leaves_no_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = tmp_path / "old.json"
    kept.write_bytes(b"old")
    (tmp_path / "folder").mkdir()
    contents = {tmp_path / "folder": b"no file", tmp_path / "new.png": b"new", kept: msgspec.json.encode(1)}
    with pytest.raises(LungcliError, match="cannot write"):
        bundle.write(contents)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "old.json"]
    bundle.write({path: content for path, content in contents.items() if path.name != "folder"})
    assert (tmp_path / "new.png").read_bytes() == b"new"
