"""Judging an archive: what is missing of its shards, and nothing twice."""

import functools
import hashlib
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import msgspec

from lungcli.batch import filesystem, job_manifest, parquet, ray_pool, worker
from lungcli.batch import shards as listing
from lungcli.batch.filesystem import Location
from lungcli.batch.job_manifest import JobManifest
from lungcli.batch.parquet import Tally
from lungcli.batch.ray_pool import Pool
from lungcli.batch.shards import Shard
from lungcli.core.errors import InterruptedRunError, LungcliError, UnreadableInputError, UsageError
from lungcli.modelfile.model_file import Model

SHARD_SIZE = 1000

# Waiting for a store, not work.
_READERS = 16

Advance = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveJob:
    """What to judge and where to: a folder or URI each; the model's name, and how."""

    archive: str
    output: str
    model_name: str
    shard_size: int = SHARD_SIZE
    force: bool = False
    include_phi: bool = False
    threads: int = 1
    pool: Pool


class ArchiveSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What was done: `found` shards were there already, `removed` ones were of files that are gone or changed.

    `tally` counts all verdicts in the output folder, `judged` and `seconds` those of this call.
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
    """Judge every slice of an archive that has no verdict in the output folder yet.

    `advance(done, total)` hears of files. Verdicts are written a shard at a time; whatever ends this call early, the
    same call goes on with the missing shards. Raises UsageError for a folder of another job's verdicts,
    UnreadableInputError where there are no files, NetworkError where archive or cluster can't be reached, and
    InterruptedRunError on Ctrl-C.
    """
    ray_pool.require_installed()
    archive, output = filesystem.open_location(job.archive), filesystem.open_location(job.output)
    _require_apart(archive, output)
    content = model.path.read_bytes()
    divided = tuple(listing.divide(filesystem.files(archive), job.shard_size))
    if not divided:
        raise UnreadableInputError(f"there are no pictures in {archive.shown}", "check the path")
    planned = _plan(job, archive, divided, hashlib.sha256(content).hexdigest())
    job_manifest.write_checked(planned, output)
    filesystem.remove_partial(output)
    known = {name for name in filesystem.list_names(output) if listing.is_shard(name)}
    gone = known - {shard.name for shard in divided}
    filesystem.remove(output, sorted(gone))
    kept = dict(_kept(output, [shard for shard in divided if shard.name in known], planned.model_sha256))
    missing = [shard for shard in divided if shard.name not in kept]
    before = sum(kept.values(), Tally())
    began, judged = time.monotonic(), Tally()
    manner = worker.WorkerOptions(
        model_sha256=planned.model_sha256, force=job.force, include_phi=job.include_phi, threads=job.threads
    )
    advance(before.files, planned.files)
    try:
        for name, written in (
            ray_pool.predict_shards(missing, job.archive, content, manner, job.pool) if missing else ()
        ):
            judged += _write(output, name, written)
            advance(before.files + judged.files, planned.files)
    except KeyboardInterrupt:
        raise InterruptedRunError(
            f"interrupted: verdicts on {before.files + judged.files:,} of {planned.files:,} files are written",
            "the same command goes on with the others",
        ) from None
    return ArchiveSummary(
        archive=archive.shown,
        output=output.shown,
        model=job.model_name,
        shards=len(divided),
        found=len(kept),
        removed=len(gone),
        tally=before + judged,
        judged=judged,
        seconds=time.monotonic() - began,
    )


def _plan(job: ArchiveJob, archive: Location, divided: tuple[Shard, ...], model_sha256: str) -> JobManifest:
    return JobManifest(
        model=job.model_name,
        model_sha256=model_sha256,
        archive_sha256=job_manifest.archive_digest(archive),
        shard_size=job.shard_size,
        force=job.force,
        include_phi=job.include_phi,
        listing_sha256=listing.digest(divided),
        files=sum(len(shard.files) for shard in divided),
        shards=len(divided),
    )


def _require_apart(archive: Location, output: Location) -> None:
    """Raise UsageError where verdicts would be written among what is judged, which would change the listing."""
    if archive.fs is None and output.fs is None:
        inside = Path(output.path).resolve().is_relative_to(Path(archive.path).resolve())
    else:
        inside = f"{output.shown.rstrip('/')}/".startswith(f"{archive.shown.rstrip('/')}/")
    if inside:
        raise UsageError(
            f"{output.shown} lies in {archive.shown}, which is what is judged", "name an --output outside of it"
        )


def _kept(output: Location, shards: Iterable[Shard], model_sha256: str) -> Iterator[tuple[str, Tally]]:
    """Yield the shards that are written and whole, with what they counted."""
    with ThreadPoolExecutor(_READERS, thread_name_prefix="read") as pool:
        names = [shard.name for shard in shards]
        for name, tally in zip(names, pool.map(functools.partial(_tally, output, model_sha256), names), strict=True):
            if tally:
                yield name, tally


def _tally(output: Location, model_sha256: str, name: str) -> Tally | None:
    try:
        about = parquet.read_metadata(filesystem.read(output, name))
    except LungcliError:
        return None
    return about.tally if about and about.model_sha256 == model_sha256 else None


def _write(output: Location, name: str, written: bytes) -> Tally:
    about = parquet.read_metadata(written)
    if about is None:
        raise LungcliError(f"a worker handed back {name} damaged", "type the same command again")
    filesystem.write(output, name, written)
    return about.tally
