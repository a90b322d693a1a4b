"""Predictions of two jobs are never mixed in an output folder."""

from pathlib import Path

import msgspec
import pytest

from lungcli.batch import filesystem, job_manifest
from lungcli.batch.job_manifest import JobManifest
from lungcli.core.errors import LungcliError, UsageError

JOB = JobManifest(
    model="bundled",
    model_sha256="a" * 64,
    archive_sha256="b" * 64,
    shard_size=1000,
    force=False,
    include_phi=False,
    listing_sha256="c" * 64,
    files=3,
    shards=1,
)


def test_a_job_resumes_in_its_folder_when_the_archive_has_grown(tmp_path: Path) -> None:
    output = filesystem.open_location(str(tmp_path / "out"))
    job_manifest.write_checked(JOB, output)
    grown = msgspec.structs.replace(JOB, listing_sha256="d" * 64, files=5, shards=2)
    job_manifest.write_checked(grown, output)
    assert msgspec.json.decode((tmp_path / "out" / job_manifest.MANIFEST).read_bytes(), type=JobManifest) == grown


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("model_sha256", "e" * 64, "made with the model bundled (aaaaaaaaaaaa), not bundled (eeeeeeeeeeee)"),
        ("archive_sha256", "e" * 64, "made with another archive"),
        ("shard_size", 500, "made with --shard-size 1000, not 500"),
        ("force", True, "made with no --force"),
        ("include_phi", True, "made with no --include-phi"),
        ("lungcli", "99", "not 99"),
    ],
)
def test_another_job_is_refused(tmp_path: Path, field: str, value: object, told: str) -> None:
    output = filesystem.open_location(str(tmp_path))
    job_manifest.write_checked(JOB, output)
    before = (tmp_path / job_manifest.MANIFEST).read_bytes()
    with pytest.raises(UsageError) as caught:
        job_manifest.write_checked(msgspec.structs.replace(JOB, **{field: value}), output)
    assert told in caught.value.message
    assert "\n" not in caught.value.message
    assert "choose another --output" in caught.value.hint
    assert (tmp_path / job_manifest.MANIFEST).read_bytes() == before


def test_predictions_without_a_manifest_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(b"")
    with pytest.raises(UsageError, match=r"holds 1 Parquet files, but no _plan\.json"):
        job_manifest.write_checked(JOB, filesystem.open_location(str(tmp_path)))


@pytest.mark.parametrize("content", [b"", b"{", b'{"format_version": 1}', b'{"format_version": "1"}', b"[]"])
def test_a_damaged_manifest_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / job_manifest.MANIFEST).write_bytes(content)
    with pytest.raises(LungcliError, match=r"_plan\.json is damaged: "):
        job_manifest.write_checked(JOB, filesystem.open_location(str(tmp_path)))
