"""What an output folder is about: written when a job begins, so that no other job's verdicts get between its own."""

import hashlib

import msgspec

from lungcli import DISCLAIMER, __version__
from lungcli.batch import filesystem
from lungcli.batch.filesystem import Location
from lungcli.core import versioned
from lungcli.core.errors import UsageError

# Readers of Parquet folders pass over what begins with an underscore.
MANIFEST = "_plan.json"
FORMAT_VERSION = 1


class JobManifest(msgspec.Struct, frozen=True, kw_only=True):
    """What decides the verdicts in an output folder. The archive's name and files may name people: only their digests.

    `files` in `shards` of at most `shard_size` as they were listed when the job was last begun.
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


def archive_digest(place: Location) -> str:
    """Return what tells one archive from another without naming it."""
    return hashlib.sha256(place.shown.rstrip("/").encode("utf-8", "surrogateescape")).hexdigest()


def write_checked(plan: JobManifest, output: Location) -> None:
    """Write the plan into its folder, in place of that of an unfinished or finished job of the same.

    Raises UsageError where the folder is another job's, or where there are verdicts without a plan; LungcliError where
    the plan there can't be read.
    """
    known = filesystem.list_names(output)
    if MANIFEST in known:
        old = _FORMAT.decode(filesystem.read(output, MANIFEST), output.named(MANIFEST), "name another --output")
        _require_same(old, plan, output)
    elif others := [name for name in known if name.endswith(".parquet")]:
        raise UsageError(
            f"{output.shown} holds {len(others)} Parquet files, but no {MANIFEST} that says where they are from",
            "name another --output",
        )
    filesystem.write(output, MANIFEST, msgspec.json.format(msgspec.json.encode(plan), indent=2) + b"\n")


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
    if told := [what for what, differs in differences.items() if differs]:
        raise UsageError(
            f"{output.shown} holds verdicts made with {'; '.join(told)}",
            "verdicts of two jobs are not mixed: name another --output, or go on as it was begun",
        )
