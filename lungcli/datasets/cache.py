"""The cache of prepared slices: a data set is decoded once, and mapped into memory ever after."""

import functools
import hashlib
from collections.abc import Iterable
from pathlib import Path

import filelock
import numpy as np
from numpy.typing import NDArray

from lungcli.core import paths
from lungcli.core.errors import UnreadableInputError, during
from lungcli.core.recipe import Resize
from lungcli.datasets.files import Advance, map_in_order
from lungcli.datasets.manifest import Manifest, Slice
from lungcli.imaging import preprocessing
from lungcli.imaging.image_io import read
from lungcli.imaging.picture import content_of

_IMPORT_HINT = "import the data set again"


def cache_path(manifest: Manifest, size: int, resize: Resize = "lungs") -> Path:
    """Cache file of the slices of `manifest` at `size` pixels, whether or not it exists."""
    how = "" if resize == "lungs" else f"-{resize}"
    return paths.home() / "cache" / f"{_key(manifest)}-{size}-p{preprocessing.VERSION}{how}.npy"


def load(
    manifest: Manifest, folder: Path, size: int, advance: Advance | None = None, resize: Resize = "lungs"
) -> NDArray[np.uint8]:
    """Return every prepared slice in the manifest's order: a read-only memory map, uint8 [n, size, size].

    The first call decodes the files in `folder` and calls `advance(done, total)` after each; later calls map the
    cache. When another process builds the same file, this one waits for it. Raises UnreadableInputError for a slice
    that is missing, damaged, or not the one that was imported, LungcliError when the cache cannot be written.
    """
    path = cache_path(manifest, size, resize)
    shape = (len(manifest.slices), size, size)
    if (slices := _memory_map(path, shape)) is not None:
        return slices
    with paths.os_errors_as(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(path.with_suffix(".lock"))
        lock.acquire()
    try:
        if (slices := _memory_map(path, shape)) is not None:
            return slices
        for partial in path.parent.glob(f".{path.name}.*.partial"):
            partial.unlink(missing_ok=True)
        prepared = functools.partial(_prepared_slice, folder, size, resize)
        _build(path, manifest, size, map_in_order(prepared, manifest.slices, advance))
    finally:
        lock.release()
    if (slices := _memory_map(path, shape)) is None:
        raise UnreadableInputError(f"cannot read {path} right after writing it", "check the disk")
    return slices


def remove(manifest: Manifest) -> None:
    """Delete the cache of a data set: every size, every version of the preparation."""
    for path in cache_path(manifest, 0).parent.glob(f"*{_key(manifest)}-*"):
        path.unlink(missing_ok=True)


def _key(manifest: Manifest) -> str:
    return manifest.digest[:16]


def _memory_map(path: Path, shape: tuple[int, int, int]) -> NDArray[np.uint8] | None:
    """Map a cache file, or return None where there is none of this shape."""
    try:
        slices = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return slices if slices.shape == shape and slices.dtype == np.uint8 else None


def _build(path: Path, manifest: Manifest, size: int, prepared: Iterable[NDArray[np.uint8]]) -> None:
    # Rows are written, not stored through a map: a full disk is then an error and not a bus error.
    with paths.atomic_replace(path) as partial, partial.open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (len(manifest.slices), size, size)}
        np.lib.format.write_array_header_1_0(file, header)
        for pixels in prepared:
            file.write(pixels.tobytes())


def _prepared_slice(folder: Path, size: int, resize: Resize, item: Slice) -> NDArray[np.uint8]:
    """Prepare one slice. The cache is named by the manifest's digest, so the file must be the one in the manifest."""
    path = folder / item.path
    try:
        with during(f"while preparing {path}"):
            content = content_of(path, str(path))
            changed = hashlib.sha256(content).hexdigest() != item.sha256
            prepared = preprocessing.prepare(read(content, str(path), colour=False).pixels, size, resize)
    except UnreadableInputError as error:
        raise UnreadableInputError(error.message, _IMPORT_HINT) from error
    if changed:
        raise UnreadableInputError(f"{path} is not the slice that was imported: its content has changed", _IMPORT_HINT)
    return prepared
