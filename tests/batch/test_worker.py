"""The predictions of a worker for a shard equal those of one process."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pytest

from lungcli.batch import filesystem, parquet, ray_pool, shards, worker
from lungcli.batch.parquet import Tally
from lungcli.batch.worker import WorkerOptions
from lungcli.modelfile import model_file
from tests.batch import archives
from tests.batch.archives import Row
from tests.modelfile import graphs

pytestmark = archives.NEEDS_ARROW


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> model_file.Model:
    return model_file.load(graphs.model_file(tmp_path_factory.mktemp("model") / "m.onnx"), threads=1)


def options(*, phi: bool = False, threads: int = 2) -> WorkerOptions:
    return WorkerOptions(model_sha256="m", force=False, include_phi=phi, threads=threads)


def table(folder: Path, model: model_file.Model, options_: WorkerOptions) -> tuple[list[Row], Tally]:
    location = filesystem.open_location(str(folder))
    (shard,) = shards.divide(filesystem.files(location), 1000)
    content = worker.predict_shard(location, shard.files, model, options_)
    metadata = parquet.read_metadata(content)
    assert metadata is not None
    return archives.table(content), metadata.tally


def test_rows_are_the_lines_of_one_process(tmp_path: Path, model: model_file.Model) -> None:
    folder = archives.archive(tmp_path / "in")
    rows, tally = table(folder, model, options())
    expected = archives.in_one_process(folder, model)
    assert archives.by_source(rows) == expected
    kinds = [row["kind"] for row in expected.values()]
    assert (kinds.count("prediction"), kinds.count("refusal"), kinds.count("failure")) == (10, 1, 5)
    assert tally == Tally(files=17, predictions=10, referred=tally.referred, refusals=1, failures=5, passed_over=1)
    (series,) = {row["series"] for row in rows if row["series"]}
    assert series.startswith("series ")
    assert len(series) == len("series ") + 12


def test_no_patient_is_named(tmp_path: Path, model: model_file.Model) -> None:
    rows, _ = table(archives.archive(tmp_path / "in"), model, options())
    said = json.dumps(rows, ensure_ascii=False).casefold()
    for planted in (*archives.PLANTED, "1.2.3.4"):
        assert planted not in said
    named, _ = table(tmp_path / "in", model, options(phi=True))
    assert {row["series"] for row in named if row["series"]} == {"1.2.3.4"}
    assert any(row["source"].endswith("MUSTERFRAU^ERIKA/PID4711X/erika-1.dcm") for row in named)


def test_the_shown_name_of_a_file_is_that_in_its_prediction(tmp_path: Path, model: model_file.Model) -> None:
    folder = archives.archive(tmp_path / "in")
    rows, _ = table(folder, model, options())
    (shard,) = shards.divide(filesystem.files(filesystem.open_location(str(folder))), 1000)
    names = [name for name in shard.files if not name.endswith("notes.txt")]
    assert [worker.shown_name(str(folder), names, name) for name in names] == [row["source"] for row in rows]
    assert worker.shown_name(str(folder), names, "MUSTERFRAU^ERIKA/PID4711X/erika-1.dcm") == f"{folder}/…/…/…-1.dcm"
    assert worker.shown_name(str(folder), names, "wards/0/4.png") == str(folder / "wards/0/4.png")


def test_files_with_the_same_name_after_hiding_folders_each_have_a_row(tmp_path: Path, model: model_file.Model) -> None:
    """Only their full names tell them apart: nothing that is made up here could be found again in the archive."""
    folder = archives.alike(tmp_path / "in")
    rows, tally = table(folder, model, options())
    assert [row["source"] for row in rows] == [f"{folder}/…/…-{i}.dcm" for i in (1, 2)] * 2
    assert tally.files == tally.predictions == 4
    named, _ = table(folder, model, options(phi=True))
    in_full = [f"{folder}/MUSTERFRAU^{name}/erika-{i}.dcm" for name in ("ANNA", "ERIKA") for i in (1, 2)]
    assert [row["source"] for row in named] == in_full
    apart = ("source", "series", "seconds")
    assert [{name: value for name, value in row.items() if name not in apart} for row in rows] == [
        {name: value for name, value in row.items() if name not in apart} for row in named
    ]


def test_without_its_own_header_a_file_is_named_by_the_headers_of_other_files(tmp_path: Path) -> None:
    folder = archives.alike(tmp_path / "in")
    (shard,) = shards.divide(filesystem.files(filesystem.open_location(str(folder))), 1000)
    for which in shard.files:
        others = [name for name in shard.files if name != which]
        assert worker.shown_name(str(folder), shard.files, which) == f"{folder}/…/…-{which[-5]}.dcm"
        assert worker.shown_name(str(folder), others, which) == f"…/…-{which[-5]}.dcm"
        assert worker.shown_name(str(folder), (), which) == f"…/{Path(which).name}"


def test_a_worker_starts_one_session_for_all_its_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, path = archives.alike(tmp_path / "in"), graphs.model_file(tmp_path / "m.onnx")
    load = mock.Mock(wraps=model_file.load)
    monkeypatch.setattr(model_file, "load", load)
    # All that a worker asks Ray for is the model's bytes.
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(get=lambda model: model))
    pool_worker = ray_pool.Worker(str(folder), [path.read_bytes()], options(threads=1))
    for names in (["MUSTERFRAU^ANNA/erika-1.dcm"], ["MUSTERFRAU^ERIKA/erika-1.dcm"]):
        row = pool_worker({"name": "shard", "files": [name.encode() for name in names]})
        assert (row["name"], row["fault"], len(archives.table(row["content"]))) == ("shard", "", 1)
    load.assert_called_once()


def test_an_undecodable_name_has_a_row(tmp_path: Path, model: model_file.Model) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a\udcff.png").write_bytes(archives.pictures()["wards/0/0.png"])
    (rows,), _ = table(tmp_path / "in", model, options())
    assert rows["source"] == str(tmp_path / "in" / "a?.png")


def test_a_damaged_shard_has_no_metadata(tmp_path: Path, model: model_file.Model) -> None:
    (tmp_path / "in").mkdir()
    location = filesystem.open_location(str(archives.archive(tmp_path / "in")))
    content = worker.predict_shard(location, ["wards/0/0.png"], model, options())
    assert parquet.read_metadata(content) is not None
    for damaged in (b"", b"PAR1", content[:-9], b"x" * 100):
        assert parquet.read_metadata(damaged) is None
