"""Predicting an archive: the missing shards, and none twice."""

import functools
import hashlib
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import msgspec

from lungcli.batch import filesystem, job_manifest, parquet, ray_pool, shards, worker
from lungcli.batch.filesystem import Location
from lungcli.batch.job_manifest import JobManifest
from lungcli.batch.parquet import Tally
from lungcli.batch.ray_pool import Pool
from lungcli.batch.shards import Shard
from lungcli.core.errors import InterruptedRunError, LungcliError, UnreadableInputError, UsageError
from lungcli.datasets.files import Advance
from lungcli.modelfile.model_file import Model

# Threads: they wait for a store.
_READERS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveJob:
    """A batch prediction: folder or URI of archive and output, the model's name, and options."""

    archive: str
    output: str
    model_name: str
    shard_size: int
    force: bool = False
    include_phi: bool = False
    pool: Pool


class ArchiveSummary(msgspec.Struct, frozen=True, kw_only=True):
    """The result: `found` shards were there already, `removed` ones were of files that are gone or changed.

    `tally` counts all predictions in the output folder, `judged` and `seconds` those of this call.
    """

    archive: str
    output: str
    model: str
    shards: int
    found: int
    removed: int
    tally: Tally
    judged: Tally
    seconds: float


def predict(job: ArchiveJob, model: Model, advance: Advance) -> ArchiveSummary:
    """Predict every slice of an archive that has no prediction in the output folder yet.

    `advance(done, total)` counts files. Predictions are written shard by shard; after an interruption, the same call
    resumes with the missing shards. Raises UsageError for the output folder of another job, UnreadableInputError where
    there are no files, NetworkError where archive or cluster cannot be reached, and InterruptedRunError on Ctrl-C.
    """
    ray_pool.require_installed()
    archive, output = filesystem.open_location(job.archive), filesystem.open_location(job.output)
    _require_apart(archive, output)
    content = model.path.read_bytes()
    all_shards = tuple(shards.divide(filesystem.files(archive), job.shard_size))
    if not all_shards:
        raise UnreadableInputError(f"there are no pictures in {archive.shown}", "check the path")
    manifest = _plan(job, archive, all_shards, hashlib.sha256(content).hexdigest())
    job_manifest.write_checked(manifest, output)
    filesystem.remove_partial(output)
    existing = {name for name in filesystem.list_names(output) if shards.is_shard(name)}
    gone = existing - {shard.name for shard in all_shards}
    filesystem.remove(output, sorted(gone))
    kept = dict(_kept(output, [shard for shard in all_shards if shard.name in existing], manifest.model_sha256))
    missing = [shard for shard in all_shards if shard.name not in kept]
    before = sum(kept.values(), Tally())
    start, predicted = time.monotonic(), Tally()
    options = worker.WorkerOptions(
        model_sha256=manifest.model_sha256, force=job.force, include_phi=job.include_phi, threads=1
    )
    advance(before.files, manifest.files)
    try:
        for name, written in (
            ray_pool.predict_shards(missing, job.archive, content, options, job.pool) if missing else ()
        ):
            predicted += _write(output, name, written)
            advance(before.files + predicted.files, manifest.files)
    except KeyboardInterrupt:
        raise InterruptedRunError(
            f"interrupted: predictions for {before.files + predicted.files:,} of {manifest.files:,} files are written",
            "the same command resumes with the others",
        ) from None
    return ArchiveSummary(
        archive=archive.shown,
        output=output.shown,
        model=job.model_name,
        shards=len(all_shards),
        found=len(kept),
        removed=len(gone),
        tally=before + predicted,
        judged=predicted,
        seconds=time.monotonic() - start,
    )


def _plan(job: ArchiveJob, archive: Location, all_shards: tuple[Shard, ...], model_sha256: str) -> JobManifest:
    return JobManifest(
        model=job.model_name,
        model_sha256=model_sha256,
        archive_sha256=job_manifest.archive_digest(archive),
        shard_size=job.shard_size,
        force=job.force,
        include_phi=job.include_phi,
        listing_sha256=shards.digest(all_shards),
        files=sum(len(shard.files) for shard in all_shards),
        shards=len(all_shards),
    )


def _require_apart(archive: Location, output: Location) -> None:
    """Raise UsageError where the output folder is inside the archive, whose listing it would change."""
    if archive.fs is None and output.fs is None:
        inside = Path(output.path).resolve().is_relative_to(Path(archive.path).resolve())
    else:
        inside = f"{output.shown.rstrip('/')}/".startswith(f"{archive.shown.rstrip('/')}/")
    if inside:
        raise UsageError(f"{output.shown} is inside the archive {archive.shown}", "choose an --output outside of it")


def _kept(output: Location, written: Iterable[Shard], model_sha256: str) -> Iterator[tuple[str, Tally]]:
    """Yield the shards that are written and undamaged, with their counts."""
    with ThreadPoolExecutor(_READERS, thread_name_prefix="read") as pool:
        names = [shard.name for shard in written]
        for name, tally in zip(names, pool.map(functools.partial(_tally, output, model_sha256), names), strict=True):
            if tally:
                yield name, tally


def _tally(output: Location, model_sha256: str, name: str) -> Tally | None:
    try:
        metadata = parquet.read_metadata(filesystem.read(output, name))
    except LungcliError:
        return None
    return metadata.tally if metadata and metadata.model_sha256 == model_sha256 else None


def _write(output: Location, name: str, written: bytes) -> Tally:
    metadata = parquet.read_metadata(written)
    if metadata is None:
        raise LungcliError(f"a worker returned {name} damaged", "run the same command again")
    filesystem.write(output, name, written)
    return metadata.tally
