"""An archive in a real S3 store on loopback, and predictions written into one."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from lungcli.batch import filesystem, parquet, shards, worker
from lungcli.batch.worker import WorkerOptions
from lungcli.core.errors import NetworkError, UnreadableInputError
from lungcli.modelfile import model_file
from tests.batch import archives
from tests.batch.archives import typed
from tests.modelfile import graphs

pytestmark = [archives.NEEDS_ARROW, archives.NEEDS_S3, pytest.mark.xdist_group("ray")]


@pytest.fixture(scope="module")
def server() -> Iterator[dict[str, str]]:
    """The settings by which a store is found."""
    with archives.store() as settings:
        yield settings


@pytest.fixture
def store(server: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    for name, value in server.items():
        monkeypatch.setenv(name, value)
    return server


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return graphs.model_file(tmp_path / "m.onnx")


def test_predictions_for_a_store_equal_those_for_a_folder(store: dict[str, str], model: Path, tmp_path: Path) -> None:
    files = archives.pictures() | archives.study()
    archives.put("first", {f"a b/{name}": content for name, content in files.items()})
    archives.archive(tmp_path / "in")
    loaded = model_file.load(model, 1)
    location = filesystem.open_location("s3://first/a b")
    (shard,) = shards.divide(filesystem.files(location), 1000)
    options = WorkerOptions(model_sha256="m", force=False, include_phi=False, threads=1)
    content = worker.predict_shard(location, shard.files, loaded, options)
    found = archives.by_source(archives.table(content))
    expected = archives.in_one_process(tmp_path / "in", loaded)
    elsewhere = {
        source.replace(str(tmp_path / "in"), "s3://first/a b"): {
            name: value.replace(str(tmp_path / "in"), "s3://first/a b") if isinstance(value, str) else value
            for name, value in row.items()
        }
        for source, row in expected.items()
    }
    assert found == elsewhere
    metadata = parquet.read_metadata(content)
    assert metadata is not None
    assert metadata.tally.passed_over == 1


def test_a_missing_file_is_a_failure_and_an_unreachable_store_an_error(
    store: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    archives.put("second", {"a.png": b"x"})
    location = filesystem.open_location("s3://second")
    assert filesystem.content(location, "a.png") == b"x"
    with pytest.raises(UnreadableInputError, match=r"cannot read s3://second/b\.png: there is no such file"):
        filesystem.content(location, "b.png")
    with pytest.raises(NetworkError, match="cannot list s3://nobody"):
        list(filesystem.files(filesystem.open_location("s3://nobody/x")))
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{closed.getsockname()[1]}")
        monkeypatch.setattr(filesystem, "_PAUSE", 0.0)
        with pytest.raises(NetworkError, match="cannot reach s3://second"):
            filesystem.content(filesystem.open_location("s3://second"), "a.png")


def test_no_password_is_shown(store: dict[str, str]) -> None:
    location = filesystem.open_location("s3://me:hushhush@second/a?region=us-east-1&scheme=http")
    assert location.shown == "s3://second/a"
    assert location.named("b.png") == "s3://second/a/b.png"
    assert "hushhush" not in repr(location.shown) + location.path


@archives.NEEDS_RAY
def test_from_a_store_into_a_store(store: dict[str, str], model: Path, home: Path, tmp_path: Path) -> None:
    found = archives.put("third", {f"in/{name}": content for name, content in archives.pictures().items()})
    asked = ("s3://third/in", "--output", "s3://third/out", "--model", model, "--shard-size", 4, "--threads", 1)
    done = typed(*asked, home=home, check=4, extra=store)
    assert f"{len(archives.pictures()) - 1} files: " in done.stderr
    from pyarrow import fs

    names = [info.base_name for info in found.get_file_info(fs.FileSelector("third/out"))]
    for name in names:
        with found.open_input_file(f"third/out/{name}") as file:
            (tmp_path / name).write_bytes(file.read())
    rows = archives.by_source(archives.written(tmp_path))
    assert sorted(rows) == sorted(
        f"s3://third/in/{name}" for name in archives.pictures() if not name.endswith(("notes.txt", ".hidden.png"))
    )
    again = typed(*asked, home=home, check=4, extra=store)
    assert f"{len(names) - 1} of {len(names) - 1} shards were complete already" in again.stderr
