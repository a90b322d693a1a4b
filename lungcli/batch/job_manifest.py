"""The manifest of an output folder, written first, so that predictions of two jobs are never mixed."""

import hashlib

import msgspec

from lungcli import DISCLAIMER, __version__
from lungcli.batch import filesystem
from lungcli.batch.filesystem import Location
from lungcli.core import versioned
from lungcli.core.errors import UsageError

# Readers of Parquet folders skip names that begin with an underscore.
MANIFEST = "_plan.json"
FORMAT_VERSION = 1


class JobManifest(msgspec.Struct, frozen=True, kw_only=True):
    """What decides the predictions in an output folder. Names in the archive may be of people: only digests are kept.

    `files` in `shards` of at most `shard_size` as they were listed when the job was last started.
    """

    format_version: int = FORMAT_VERSION
    lungcli: str = __version__
    disclaimer: str = DISCLAIMER
    model: str
    model_sha256: str
    archive_sha256: str
    shard_size: int
    force: bool
    include_phi: bool
    listing_sha256: str
    files: int
    shards: int


_FORMAT = versioned.Format(kind="plan", version=FORMAT_VERSION, content=JobManifest)


def archive_digest(location: Location) -> str:
    """Return a digest that identifies an archive without naming it."""
    return hashlib.sha256(location.shown.rstrip("/").encode("utf-8", "surrogateescape")).hexdigest()


def write_checked(manifest: JobManifest, output: Location) -> None:
    """Write the manifest into its folder, replacing that of an earlier call of the same job.

    Raises UsageError where the folder belongs to another job, or has Parquet files but no manifest; LungcliError where
    the manifest there cannot be read.
    """
    names = filesystem.list_names(output)
    if MANIFEST in names:
        old = _FORMAT.decode(filesystem.read(output, MANIFEST), output.named(MANIFEST), "choose another --output")
        _require_same(old, manifest, output)
    elif others := [name for name in names if name.endswith(".parquet")]:
        raise UsageError(
            f"{output.shown} holds {len(others)} Parquet files, but no {MANIFEST} that says which job wrote them",
            "choose another --output",
        )
    filesystem.write(output, MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")


def _require_same(old: JobManifest, new: JobManifest, output: Location) -> None:
    differences = {
        f"the model {old.model} ({old.model_sha256[:12]}), not {new.model} ({new.model_sha256[:12]})": (
            old.model_sha256 != new.model_sha256
        ),
        "another archive": old.archive_sha256 != new.archive_sha256,
        f"--shard-size {old.shard_size}, not {new.shard_size}": old.shard_size != new.shard_size,
        f"{'' if old.force else 'no '}--force": old.force != new.force,
        f"{'' if old.include_phi else 'no '}--include-phi": old.include_phi != new.include_phi,
        f"lungcli {old.lungcli}, not {new.lungcli}": old.lungcli != new.lungcli,
    }
    if differing := [what for what, differs in differences.items() if differs]:
        raise UsageError(
            f"{output.shown} holds predictions made with {'; '.join(differing)}",
            "predictions of two jobs are not mixed: choose another --output, or resume with the same options",
        )
