"""Archives and predictions in any file system that Arrow or fsspec can open."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lungcli.batch import filesystem, shards, worker
from lungcli.batch.worker import WorkerOptions
from lungcli.core.errors import UnreadableInputError
from lungcli.modelfile import model_file
from tests.batch import archives
from tests.batch.archives import typed
from tests.imaging.pictures import write
from tests.modelfile import graphs

pytestmark = archives.NEEDS_ARROW


@pytest.fixture
def memory() -> Iterator[str]:
    """A folder of a file system that fsspec has and Arrow does not."""
    import fsspec

    yield "memory://archive/in"
    fsspec.filesystem("memory").rm("/archive", recursive=True)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return graphs.model_file(tmp_path / "m.onnx")


def test_files_written_by_fsspec_are_listed_read_and_removed(memory: str) -> None:
    location = filesystem.open_location(memory)
    filesystem.write(location, "a.png", b"first")
    filesystem.write(location, "a.png", b"second")
    filesystem.write(location, "b.png", b"other")
    assert {file.name: file.size for file in filesystem.files(location)} == {"a.png": 6, "b.png": 5}
    assert filesystem.list_names(location) == {"a.png", "b.png"}
    assert filesystem.content(location, "a.png") == filesystem.read(location, "a.png") == b"second"
    with pytest.raises(UnreadableInputError, match=r"cannot read memory://archive/in/c\.png: there is no such file"):
        filesystem.content(location, "c.png")
    filesystem.remove(location, ["a.png"])
    assert filesystem.list_names(location) == {"b.png"}
    assert filesystem.list_names(filesystem.open_location("memory://archive/none")) == set()
    with pytest.raises(UnreadableInputError, match="there is no such folder"):
        list(filesystem.files(filesystem.open_location("memory://archive/none")))


def test_predictions_for_an_fsspec_folder_equal_those_for_a_local_one(memory: str, model: Path, tmp_path: Path) -> None:
    location = filesystem.open_location(memory)
    for name, content in archives.pictures().items():
        filesystem.write(location, name, content)
    folder = filesystem.open_location(str(write(tmp_path / "in", archives.pictures())))
    loaded, options = (
        model_file.load(model, 1),
        WorkerOptions(model_sha256="m", force=False, include_phi=False, threads=1),
    )
    found = []
    for each in (location, folder):
        (shard,) = shards.divide(filesystem.files(each), 1000)
        rows = archives.by_source(archives.table(worker.predict_shard(each, shard.files, loaded, options)))
        found.append(
            {name.removeprefix(f"{each.shown}/"): (row["kind"], row.get("probabilities")) for name, row in rows.items()}
        )
    assert found[0] == found[1]
    assert len(found[0]) == len(archives.pictures()) - 2


@archives.NEEDS_RAY
@pytest.mark.xdist_group("ray")
def test_every_worker_reads_and_writes_through_fsspec(model: Path, home: Path, tmp_path: Path) -> None:
    """`local` is a file system of fsspec alone, which all processes of this machine share."""
    write(tmp_path / "in", archives.pictures())
    asked = (f"local://{tmp_path}/in", "--output", f"local://{tmp_path}/out", "--model", model, "--threads", 1)
    done = typed(*asked, "--shard-size", 4, home=home, check=4)
    assert f"{len(archives.pictures()) - 1} files: " in done.stderr
    rows = archives.by_source(archives.written(tmp_path / "out"))
    assert len(rows) == len(archives.pictures()) - 2
    assert all(name.startswith(f"local://{tmp_path}/in/") for name in rows)
    again = typed(*asked, "--shard-size", 4, home=home, check=4)
    shards = len(list((tmp_path / "out").glob("*.parquet")))
    assert f"{shards} of {shards} shards were complete already" in again.stderr
