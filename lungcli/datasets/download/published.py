"""One published data set from nothing to verified: its mirrors in order, each file checked, all in place or none."""

import contextlib
import hashlib
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from lungcli.core import paths
from lungcli.core.errors import InterruptedRunError, NetworkError, UnreadableInputError
from lungcli.core.registry import DataSet, Mirror
from lungcli.datasets import atomic_dir, manifest
from lungcli.datasets.download import mirrors, resumable
from lungcli.datasets.download.http import ProgressCallbacks, RetryPolicy
from lungcli.datasets.ingest import importer
from lungcli.datasets.ingest.ingest import Advance
from lungcli.datasets.manifest import Manifest


def download(
    row: DataSet,
    told: ProgressCallbacks,
    reading: Advance | None = None,
    *,
    urls: Sequence[str] = (),
    patience: RetryPolicy | None = None,
) -> Manifest:
    """Download a published data set, check it, and put it in place; `urls` stand in for its mirrors.

    Goes on with what an earlier call left. `reading(done, total)` counts files once all has arrived.

    Raises NetworkError with the reason of every mirror when all fail, InterruptedRunError after Ctrl-C (what arrived
    is kept), UsageError (name taken, another download under way, no address), LungcliError (cannot write).
    """
    manifest.require_new(row.name)
    places = [mirrors.mirror_of_url(url) for url in urls] or list(row.mirrors)
    failures = []
    with _alone(row) as folder:
        for mirror in places:
            archive = folder / f"{hashlib.sha256(mirror.url.encode()).hexdigest()[:16]}.zip"
            told.say(f"{row.name} from {mirror.name}")
            try:
                made = _from(mirror, row, archive, told, reading, patience)
            except (NetworkError, UnreadableInputError) as error:
                told.say(f"{mirror.name}: {error.message}")
                failures.append(f"{mirror.name}: {error.message}")
            except KeyboardInterrupt as interrupt:
                raise InterruptedRunError(
                    f"stopped; {resumable.received_bytes(archive) / 1e6:.1f} MB have arrived and are kept",
                    "go on with the same command" if urls else f"go on with: lungcli data download {row.name}",
                ) from interrupt
            else:
                shutil.rmtree(folder, ignore_errors=True)
                return made
    raise NetworkError(f"no source of {row.name} works: {'; '.join(failures)}", manual_hint(row))


def manual_hint(row: DataSet) -> str:
    """Say how to get a data set with a browser."""
    return (
        f"by hand: open {row.page} in a browser, download the .zip file, "
        f"then: lungcli data download {row.name} --from-zip FILE"
    )


def remove_partial(row: DataSet) -> None:
    """Delete what has arrived of a data set and is not in place. Raises UsageError while a download is under way."""
    with _alone(row) as folder, paths.os_errors_as(folder):
        shutil.rmtree(folder)


def partial_folder(row: DataSet) -> Path:
    """Folder of what has arrived of a data set and is not in place yet, whether or not it exists."""
    return paths.data_home() / f".{row.name}.download"


def _from(
    mirror: Mirror,
    row: DataSet,
    archive: Path,
    told: ProgressCallbacks,
    reading: Advance | None,
    patience: RetryPolicy | None,
) -> Manifest:
    if not archive.exists():
        remote = mirrors.resolve_zip(mirror, told, patience)
        resumable.transfer(remote, archive, told, room=row.size, patience=patience)
    try:
        return importer.import_published(row, archive, reading, complete=True)
    except (NetworkError, UnreadableInputError):
        # Another try would find the same in it.
        archive.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def _alone(row: DataSet) -> Iterator[Path]:
    home = paths.data_home()
    with atomic_dir.exclusive_lock(home, f"{row.name}.download", f"another process downloads {row.name}"):
        yield partial_folder(row)
