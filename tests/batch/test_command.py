"""`lungcli predict --engine ray` refuses invalid arguments before it starts a cluster."""

from pathlib import Path

import pytest

from tests.batch import archives
from tests.batch.archives import typed
from tests.modelfile import graphs


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return graphs.model_file(tmp_path / "m.onnx")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["in"], "needs one folder or URI, and --output"),
        (["in", "in", "--output", "out"], "needs one folder or URI, and --output"),
        (["-", "--output", "out"], "needs one folder or URI, and --output"),
        (["in", "--output", "out", "--jsonl"], "--jsonl works with --engine here only"),
        (["in", "--output", "out", "--explain"], "--explain works with --engine here only"),
        (["in", "--output", "out", "--shard-size", "0"], "shard-size"),
    ],
    ids=str,
)
def test_invalid_options_are_refused(home: Path, model: Path, arguments: list[str], told: str) -> None:
    done = typed(*arguments, "--model", model, home=home, check=2)
    assert told in done.stderr
    assert "Traceback" not in done.stderr


@archives.NEEDS_ARROW
@archives.NEEDS_RAY
@pytest.mark.parametrize(
    ("source", "output", "code", "told"),
    [
        ("none", "out", 4, "there is no such folder"),
        ("empty", "out", 4, "there are no pictures in"),
        ("in", "in/out", 2, "is inside the archive"),
        ("in", "theirs", 2, "no _plan.json"),
        ("nobody://knows/it", "out", 2, "cannot open nobody://knows/it"),
    ],
)
def test_invalid_folders_are_refused(
    home: Path, model: Path, tmp_path: Path, source: str, output: str, code: int, told: str
) -> None:
    for name in ("in", "empty", "theirs"):
        (tmp_path / name).mkdir()
    (tmp_path / "in" / "a.png").write_bytes(b"x")
    (tmp_path / "theirs" / "x.parquet").write_bytes(b"x")
    asked = source if "://" in source else tmp_path / source
    done = typed(asked, "--output", tmp_path / output, "--model", model, home=home, check=code)
    assert told in done.stderr
    assert done.stderr.count("error: ") == 1
    assert not (tmp_path / "out").exists()


@archives.NEEDS_ARROW
@archives.NEEDS_RAY
def test_another_model_is_refused(home: Path, model: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(b"x")
    asked = (tmp_path / "in", "--output", tmp_path / "out")
    done = typed(*asked, "--model", model, "--threads", 1, home=home, check=4)
    assert "1 unreadable" in done.stderr
    before = {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    other = graphs.model_file(tmp_path / "other.onnx", temperature=3.0)
    done = typed(*asked, "--model", other, home=home, check=2)
    assert "holds predictions made with the model" in done.stderr
    assert done.stderr.count("error: ") == 1
    assert {path: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
