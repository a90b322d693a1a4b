"""The cache of prepared slices: decoded once, whole or not there, rebuilt when damaged."""

import errno
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lungcli.core.errors import LungcliError, UnreadableInputError
from lungcli.data import cache, manifest, prepare
from lungcli.data.manifest import Manifest, Slice, Source
from tests.data.pictures import encoded, noise, write

SIZE = 40


@pytest.fixture
def kept(tmp_path: Path) -> Manifest:
    """Twelve slices that lie in `tmp_path`."""
    paths = [f"slices/{'benign' if i % 2 else 'normal'}/{i}.png" for i in range(12)]
    write(tmp_path, {path: encoded(noise(i, 50, 40)) for i, path in enumerate(paths)})
    slices = [
        Slice(path=path, label=path.split("/")[1], sha256=f"{i:064x}", size=(40, 50), group=i)
        for i, path in enumerate(paths)
    ]
    return manifest.make("some", tuple(slices), (), Source(about="made up"))


def forbid_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("decoded again")

    monkeypatch.setattr(prepare, "prepare_file", refuse)


def expected(kept: Manifest, folder: Path) -> Any:
    return np.stack([prepare.prepare_file(folder / item.path, SIZE) for item in kept.slices])


def leftovers() -> set[str]:
    folder = cache.location(manifest.make("x", (), (), Source(about="")), SIZE).parent
    return {path.suffix for path in folder.iterdir()} - {".lock"}


def test_holds_every_slice_in_order(kept: Manifest, tmp_path: Path) -> None:
    slices = cache.load(kept, tmp_path, SIZE)

    assert isinstance(slices, np.memmap)
    assert not slices.flags.writeable
    assert slices.dtype == np.uint8
    np.testing.assert_array_equal(slices, expected(kept, tmp_path))


def test_file_is_named_after_content_size_and_preparation(kept: Manifest, tmp_path: Path, home: Path) -> None:
    cache.load(kept, tmp_path, SIZE)

    assert cache.location(kept, SIZE) == home / "cache" / f"{kept.digest[:16]}-{SIZE}-p{prepare.VERSION}.npy"
    assert cache.location(kept, SIZE).is_file()


def test_counts_every_slice(kept: Manifest, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []

    cache.load(kept, tmp_path, SIZE, lambda done, total: seen.append((done, total)))

    assert seen == [(i, 12) for i in range(1, 13)]


def test_second_call_decodes_nothing(kept: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = np.array(cache.load(kept, tmp_path, SIZE))
    forbid_decoding(monkeypatch)

    np.testing.assert_array_equal(cache.load(kept, tmp_path, SIZE), first)


@pytest.mark.parametrize("damage", ["cut", "garbage", "empty", "shape", "dtype"])
def test_damaged_file_is_made_again(kept: Manifest, tmp_path: Path, damage: str) -> None:
    whole = expected(kept, tmp_path)
    cache.load(kept, tmp_path, SIZE)
    path = cache.location(kept, SIZE)
    content = path.read_bytes()
    if damage in ("shape", "dtype"):
        path.unlink()
        np.save(path, whole[:5] if damage == "shape" else whole.astype(np.float32))
    else:
        path.write_bytes({"cut": content[:-100], "garbage": b"nothing numpy knows", "empty": b""}[damage])

    np.testing.assert_array_equal(cache.load(kept, tmp_path, SIZE), whole)


def test_missing_slice_is_named_and_nothing_stays(kept: Manifest, tmp_path: Path) -> None:
    (tmp_path / kept.slices[7].path).unlink()

    with pytest.raises(UnreadableInputError) as caught:
        cache.load(kept, tmp_path, SIZE)

    assert str(tmp_path / kept.slices[7].path) in caught.value.message
    assert caught.value.hint == "import the data set again"
    assert leftovers() == set()


def test_interrupted_leaves_nothing_under_the_name(kept: Manifest, tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.load(kept, tmp_path, SIZE, interrupt)

    assert leftovers() == set()
    np.testing.assert_array_equal(cache.load(kept, tmp_path, SIZE), expected(kept, tmp_path))


def test_full_disk(kept: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("numpy.lib.format.write_array_header_1_0", full)

    with pytest.raises(LungcliError, match="No space left on device") as caught:
        cache.load(kept, tmp_path, SIZE)
    assert "LUNGCLI_HOME" in caught.value.hint
    assert leftovers() == set()


def test_two_at_once_build_it_once(kept: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[Path] = []
    prepare_file = prepare.prepare_file

    def counting(path: Path, size: int) -> Any:
        decoded.append(path)
        return prepare_file(path, size)

    monkeypatch.setattr(prepare, "prepare_file", counting)
    threads = [threading.Thread(target=cache.load, args=(kept, tmp_path, SIZE)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(decoded) == 12


def test_sizes_do_not_share_a_file(kept: Manifest, tmp_path: Path) -> None:
    assert cache.load(kept, tmp_path, 40).shape == (12, 40, 40)
    assert cache.load(kept, tmp_path, 24).shape == (12, 24, 24)
