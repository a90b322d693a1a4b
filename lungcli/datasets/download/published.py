"""Downloading a published data set: its mirrors in order, every file checked, all in place or none."""

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
from lungcli.datasets.download.http import DEFAULT_RETRY, ProgressCallbacks, RetryPolicy
from lungcli.datasets.files import Advance
from lungcli.datasets.ingest import importer
from lungcli.datasets.manifest import Manifest


def download(
    row: DataSet,
    progress: ProgressCallbacks,
    reading: Advance | None = None,
    *,
    urls: Sequence[str] = (),
    retry: RetryPolicy = DEFAULT_RETRY,
) -> Manifest:
    """Download a published data set, check it, and put it in place; `urls` replace its mirrors.

    Resumes what an earlier call left. `reading(done, total)` counts files once the archive has arrived.

    Raises NetworkError with the reason of every mirror when all fail, InterruptedRunError after Ctrl-C (what arrived
    is kept), UsageError (name taken, another download under way, an invalid URL), LungcliError (cannot write).
    """
    manifest.require_new(row.name)
    sources = [mirrors.mirror_of_url(url) for url in urls] or list(row.mirrors)
    if not sources:
        raise NetworkError(f"lungcli does not download {row.name} itself", manual_hint(row))
    failures = []
    with _alone(row) as folder:
        for mirror in sources:
            archive = folder / f"{hashlib.sha256(mirror.url.encode()).hexdigest()[:16]}.zip"
            progress.say(f"{row.name} from {mirror.name}")
            try:
                dataset = _from(mirror, row, archive, progress, reading, retry)
            except (NetworkError, UnreadableInputError) as error:
                progress.say(f"{mirror.name}: {error.message}")
                failures.append(f"{mirror.name}: {error.message}")
            except KeyboardInterrupt as interrupt:
                raise InterruptedRunError(
                    f"stopped; {resumable.received_bytes(archive) / 1e6:.1f} MB have arrived and are kept",
                    "go on with the same command" if urls else f"go on with: lungcli data download {row.name}",
                ) from interrupt
            else:
                shutil.rmtree(folder, ignore_errors=True)
                return dataset
    raise NetworkError(f"no source of {row.name} works: {'; '.join(failures)}", manual_hint(row))


def manual_hint(row: DataSet) -> str:
    """Return how to get a data set with a browser."""
    if row.by_hand:
        return f"by hand: open {row.page}; {row.by_hand}; then: lungcli data download {row.name} --from-dir DIR"
    return (
        f"by hand: open {row.page} in a browser, download the .zip file, "
        f"then: lungcli data download {row.name} --from-zip FILE"
    )


def remove_partial(row: DataSet) -> None:
    """Delete the partial download of a data set. Raises UsageError while a download is under way."""
    with _alone(row) as folder, paths.os_errors_as(folder):
        shutil.rmtree(folder)


def partial_folder(row: DataSet) -> Path:
    """Folder of the partial download of a data set, whether or not it exists."""
    return paths.data_home() / f".{row.name}.download"


def _from(
    mirror: Mirror,
    row: DataSet,
    archive: Path,
    progress: ProgressCallbacks,
    reading: Advance | None,
    retry: RetryPolicy,
) -> Manifest:
    if not archive.exists():
        remote = mirrors.resolve_zip(mirror, progress, retry)
        resumable.transfer(remote, archive, progress, room=row.size, retry=retry)
    try:
        return importer.import_published(row, archive, reading, complete=True)
    except (NetworkError, UnreadableInputError):
        # Reading it again would fail in the same way.
        archive.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def _alone(row: DataSet) -> Iterator[Path]:
    home = paths.data_home()
    with atomic_dir.exclusive_lock(home, f"{row.name}.download", f"another process downloads {row.name}"):
        yield partial_folder(row)
