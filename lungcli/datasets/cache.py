"""Prepared slices of a data set, decoded once and mapped into memory ever after."""

import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import filelock
import numpy as np
from numpy.typing import NDArray

from lungcli.core import paths
from lungcli.core.errors import UnreadableInputError, during
from lungcli.datasets.manifest import Manifest
from lungcli.imaging import preprocessing
from lungcli.imaging.image_io import read
from lungcli.imaging.picture import content_of

Advance = Callable[[int, int], None]

_IMPORT_HINT = "import the data set again"


def cache_path(manifest: Manifest, size: int) -> Path:
    """File that keeps the slices of `manifest` at `size` pixels, whether or not it exists."""
    return paths.home() / "cache" / f"{_key(manifest)}-{size}-p{preprocessing.VERSION}.npy"


def load(manifest: Manifest, folder: Path, size: int, advance: Advance | None = None) -> NDArray[np.uint8]:
    """Return every prepared slice in the manifest's order: a read-only memory map, uint8 [n, size, size].

    The first call decodes the files in `folder` and reports `advance(done, total)` after each; later calls map what
    it kept. Another process that builds the same file is waited for. Raises UnreadableInputError for a slice that is
    gone, damaged, or not the one that was imported, LungcliError when the cache can't be written.
    """
    path = cache_path(manifest, size)
    shape = (len(manifest.slices), size, size)
    if (kept := _memory_map(path, shape)) is not None:
        return kept
    with paths.os_errors_as(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(path.with_suffix(".lock"))
        lock.acquire()
    try:
        if (kept := _memory_map(path, shape)) is not None:
            return kept
        _sweep(path)
        _build(path, manifest, folder, size, advance or _nothing)
    finally:
        lock.release()
    if (kept := _memory_map(path, shape)) is None:
        raise UnreadableInputError(f"cannot read {path} right after writing it", "check the disk")
    return kept


def remove(manifest: Manifest) -> None:
    """Delete what is kept of a data set: every size, every version of the preparation."""
    for path in cache_path(manifest, 0).parent.glob(f"*{_key(manifest)}-*"):
        path.unlink(missing_ok=True)


def _key(manifest: Manifest) -> str:
    return manifest.digest[:16]


def _sweep(path: Path) -> None:
    """Delete what a process that was killed while it built this file has left; call it with the lock held."""
    for partial in path.parent.glob(f".{path.name}.*.partial"):
        partial.unlink(missing_ok=True)


def _memory_map(path: Path, shape: tuple[int, int, int]) -> NDArray[np.uint8] | None:
    """Map a kept file, or return None where there is none of this shape."""
    try:
        kept = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return kept if kept.shape == shape and kept.dtype == np.uint8 else None


def _build(path: Path, manifest: Manifest, folder: Path, size: int, advance: Advance) -> None:
    total = len(manifest.slices)
    # Rows are written, not stored through a map: a full disk is then an error and not a bus error.
    with paths.atomic_replace(path) as partial, partial.open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (total, size, size)}
        np.lib.format.write_array_header_1_0(file, header)
        for done, row in enumerate(_rows(manifest, folder, size), start=1):
            file.write(row.tobytes())
            advance(done, total)


def _rows(manifest: Manifest, folder: Path, size: int) -> Iterator[NDArray[np.uint8]]:
    """Prepare every slice, several at a time, in order."""
    pool = ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1))
    try:
        yield from pool.map(lambda item: _prepared_slice(folder / item.path, item.sha256, size), manifest.slices)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _prepared_slice(path: Path, sha256: str, size: int) -> NDArray[np.uint8]:
    """Prepare one slice. What is kept goes by the manifest's digest, so the file must be what the manifest says."""
    try:
        with during(f"while preparing {path}"):
            content = content_of(path, str(path))
            changed = hashlib.sha256(content).hexdigest() != sha256
            prepared = preprocessing.prepare(read(content, str(path), colour=False).grey, size)
    except UnreadableInputError as error:
        raise UnreadableInputError(error.message, _IMPORT_HINT) from error
    if changed:
        raise UnreadableInputError(f"{path} is not the slice that was imported: its content has changed", _IMPORT_HINT)
    return prepared


def _nothing(done: int, total: int) -> None:
    """Report to nobody."""
    del done, total
