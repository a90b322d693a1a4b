"""The cache of prepared slices: decoded once, whole or not there, rebuilt when damaged."""

import errno
import hashlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lungcli.core.errors import LungcliError, UnreadableInputError
from lungcli.core.recipe import Resize
from lungcli.datasets import cache, manifest
from lungcli.datasets.manifest import Manifest, Slice, Source
from lungcli.imaging import preprocessing
from tests.imaging.pictures import encoded, noise, write

SIZE = 40


@pytest.fixture
def kept(tmp_path: Path) -> Manifest:
    """Twelve slices that lie in `tmp_path`."""
    paths = [f"slices/{'benign' if i % 2 else 'normal'}/{i}.png" for i in range(12)]
    files = {path: encoded(noise(i, 50, 40)) for i, path in enumerate(paths)}
    write(tmp_path, files)
    slices = [
        Slice(
            path=path,
            label=path.split("/")[1],
            sha256=hashlib.sha256(files[path]).hexdigest(),
            size=(40, 50),
            group=i,
        )
        for i, path in enumerate(paths)
    ]
    return manifest.build("some", tuple(slices), (), Source(about="made up"))


def forbid_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("decoded again")

    monkeypatch.setattr(preprocessing, "prepare", refuse)


def expected(kept: Manifest, folder: Path) -> Any:
    return np.stack([preprocessing.prepare_file(folder / item.path, SIZE) for item in kept.slices])


def leftovers() -> set[str]:
    folder = cache.cache_path(manifest.build("x", (), (), Source(about="")), SIZE).parent
    return {path.suffix for path in folder.iterdir()} - {".lock"}


def test_holds_every_slice_in_order(kept: Manifest, tmp_path: Path) -> None:
    slices = cache.load(kept, tmp_path, SIZE)

    assert isinstance(slices, np.memmap)
    assert not slices.flags.writeable
    assert slices.dtype == np.uint8
    np.testing.assert_array_equal(slices, expected(kept, tmp_path))


def test_file_is_named_after_content_size_and_preparation(kept: Manifest, tmp_path: Path, home: Path) -> None:
    cache.load(kept, tmp_path, SIZE)

    assert cache.cache_path(kept, SIZE) == home / "cache" / f"{kept.digest[:16]}-{SIZE}-p{preprocessing.VERSION}.npy"
    assert cache.cache_path(kept, SIZE).is_file()


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
    path = cache.cache_path(kept, SIZE)
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
    decoded: list[int] = []
    preparing = preprocessing.prepare

    def counting(grey: Any, size: int, resize: Resize) -> Any:
        decoded.append(size)
        return preparing(grey, size, resize)

    monkeypatch.setattr(preprocessing, "prepare", counting)
    threads = [threading.Thread(target=cache.load, args=(kept, tmp_path, SIZE)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(decoded) == 12


def test_sizes_do_not_share_a_file(kept: Manifest, tmp_path: Path) -> None:
    assert cache.load(kept, tmp_path, 40).shape == (12, 40, 40)
    assert cache.load(kept, tmp_path, 24).shape == (12, 24, 24)


def test_changed_slice_is_named_and_nothing_stays(kept: Manifest, tmp_path: Path) -> None:
    """The cache goes by the manifest's digest, so that other pixels under it would deceive every later run."""
    (tmp_path / kept.slices[7].path).write_bytes(encoded(noise(99, 50, 40)))

    with pytest.raises(UnreadableInputError, match=r"7\.png is not the slice that was imported") as caught:
        cache.load(kept, tmp_path, SIZE)

    assert caught.value.hint == "import the data set again"
    assert leftovers() == set()


BUILD = """
import sys
from pathlib import Path
from lungcli.core.errors import LungcliError
from lungcli.datasets import cache, manifest

def advance(done, total):
    print(done, flush=True)
    if done == PAUSE_AT:
        sys.stdin.read(1)

LIMIT
folder = Path(sys.argv[1])
try:
    cache.load(manifest.read(folder / "manifest.json"), folder, SIDE, advance)
except LungcliError as error:
    print("refused:", error.message)
"""


def building(folder: Path, pause_at: int = 0, limit: str = "") -> "subprocess.Popen[str]":
    """Start a process that builds the cache, printing each slice, and waits for a letter after slice `pause_at`."""
    code = BUILD.replace("PAUSE_AT", str(pause_at)).replace("LIMIT", limit).replace("SIDE", str(SIZE))
    return subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def until(process: "subprocess.Popen[str]", line: str) -> None:
    assert process.stdout is not None
    while (said := process.stdout.readline().strip()) != line:
        assert said, "the process ended before"


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this platform can't kill a process without its knowing")
def test_killed_while_building(kept: Manifest, tmp_path: Path) -> None:
    manifest.save(kept, tmp_path)
    with building(tmp_path, pause_at=5) as process:
        until(process, "5")
        process.kill()
    assert not cache.cache_path(kept, SIZE).exists()
    assert leftovers() == {".partial"}

    np.testing.assert_array_equal(cache.load(kept, tmp_path, SIZE), expected(kept, tmp_path))
    assert leftovers() == {".npy"}


def test_two_processes_at_once_build_it_once(kept: Manifest, tmp_path: Path) -> None:
    manifest.save(kept, tmp_path)
    with building(tmp_path, pause_at=5) as first:
        until(first, "5")
        with building(tmp_path) as second:
            with pytest.raises(subprocess.TimeoutExpired):
                second.wait(0.7)
            first.communicate("x")
            said, _ = second.communicate(timeout=30)

    assert (first.returncode, second.returncode, said) == (0, 0, "")
    np.testing.assert_array_equal(cache.load(kept, tmp_path, SIZE), expected(kept, tmp_path))


@pytest.mark.skipif(os.name != "posix", reason="only POSIX limits the size of files")
def test_no_room_for_the_whole_file(kept: Manifest, tmp_path: Path) -> None:
    """A limit on the size of files stands for the full disk: a real write fails part of the way."""
    manifest.save(kept, tmp_path)
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (8000, 8000))"
    with building(tmp_path, limit=limit) as process:
        said, _ = process.communicate(timeout=30)

    assert process.returncode == 0
    assert "refused: cannot write" in said
    assert "File too large" in said
    assert leftovers() == set()
    np.testing.assert_array_equal(cache.load(kept, tmp_path, SIZE), expected(kept, tmp_path))


def test_removing_takes_every_size_and_version_of_this_data_alone(
    kept: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.load(kept, tmp_path, 40)
    monkeypatch.setattr(preprocessing, "VERSION", 99)
    cache.load(kept, tmp_path, 24)
    other = cache.cache_path(kept, 24).with_name("another-24-p1.npy")
    other.touch()

    cache.remove(kept)

    assert list(other.parent.iterdir()) == [other]
    cache.remove(kept)


def test_whole_pictures_are_cached_apart_and_removed_with_the_rest(kept: Manifest, tmp_path: Path) -> None:
    lungs = np.array(cache.load(kept, tmp_path, SIZE))
    stretched = cache.load(kept, tmp_path, SIZE, resize="stretch")
    assert not np.array_equal(lungs, stretched)
    np.testing.assert_array_equal(
        stretched[0], preprocessing.prepare_file(tmp_path / kept.slices[0].path, SIZE, "stretch")
    )
    np.testing.assert_array_equal(cache.load(kept, tmp_path, SIZE), lungs)
    cache.remove(kept)
    assert not cache.cache_path(kept, SIZE, "stretch").exists()
