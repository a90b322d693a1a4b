"""What is kept of what visitors sent, while others come and go."""

import json
import os
import shutil
import threading
from pathlib import Path

import pytest

from lungcli.web.uploads import KEPT_SECONDS, Uploads


def sent(folder: Path, name: str = "hash/slice.png", content: bytes = b"12345") -> Path:
    """Put a file where the page's library would: under a name of its own first."""
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    (folder / "arriving").write_bytes(content)
    (folder / "arriving").replace(path)
    return path


def told(uploads: Uploads, *paths: Path) -> None:
    uploads.arrived(json.dumps([str(path) for path in paths]).encode())


def test_an_upload_is_read_once(tmp_path: Path) -> None:
    uploads, path = Uploads(tmp_path), sent(tmp_path)
    told(uploads, path)
    assert uploads.waiting() == 5
    assert uploads.read(path) == b"12345"
    assert not path.exists()
    with pytest.raises(FileNotFoundError):
        uploads.read(path)


def test_visitors_who_send_the_same_slice_each_read_it(tmp_path: Path) -> None:
    uploads = Uploads(tmp_path)
    for _ in range(3):
        told(uploads, sent(tmp_path))
    path = sent(tmp_path)
    # One drop holds it twice, and names its folder through a link.
    (tmp_path / "link").symlink_to(tmp_path, target_is_directory=True)
    told(uploads, path, tmp_path / "link" / "hash" / "slice.png")
    assert [uploads.read(path) for _ in range(5)] == [b"12345"] * 5
    assert not path.exists()


def test_a_file_uploaded_again_is_kept_for_its_sender(tmp_path: Path) -> None:
    uploads, path = Uploads(tmp_path), sent(tmp_path)
    told(uploads, path)
    sent(tmp_path)
    assert uploads.read(path) == b"12345"
    told(uploads, path)
    assert uploads.read(path) == b"12345"
    assert not path.exists()


def test_broken_uploads_are_deleted_when_none_is_arriving(tmp_path: Path) -> None:
    uploads = Uploads(tmp_path)
    with uploads.arriving():
        (tmp_path / "half").write_bytes(b"x")
        whole = sent(tmp_path)
        with uploads.arriving():
            assert uploads.under_way == 2
        assert (tmp_path / "half").exists()
    assert uploads.under_way == 0
    assert not (tmp_path / "half").exists()
    assert whole.exists()


def test_unread_uploads_are_deleted_in_time_whatever_their_dates_say(tmp_path: Path) -> None:
    """As of a clock that was set forward or back by hours: neither is a fresh one deleted nor an old one kept."""
    clock = iter([0.0, KEPT_SECONDS - 1, KEPT_SECONDS + 1, 3.0 * KEPT_SECONDS, 5.0 * KEPT_SECONDS])
    uploads, old = Uploads(tmp_path, clock.__next__), sent(tmp_path, "old/a.png")
    os.utime(old, (2e9, 2e9))
    (tmp_path / "emptied").mkdir()
    uploads.sweep()
    new = sent(tmp_path, "new/b.png")
    os.utime(new, (0, 0))
    told(uploads, old, new)
    uploads.sweep()
    assert {path.name for path in tmp_path.rglob("*")} == {"old", "a.png", "emptied", "new", "b.png"}
    uploads.sweep()
    assert {path.name for path in tmp_path.rglob("*")} == {"old", "new", "b.png"}
    assert uploads.read(new) == b"12345"
    # Folders have changed with what was in them.
    uploads.sweep()
    uploads.sweep()
    assert list(tmp_path.iterdir()) == []
    assert uploads.read(sent(tmp_path, "old/a.png")) == b"12345"
    assert not old.exists()


def test_folders_deleted_meanwhile_are_no_error(tmp_path: Path) -> None:
    uploads, stop = Uploads(tmp_path), threading.Event()

    def visitor(number: int) -> None:
        while not stop.is_set():
            upload = tmp_path / str(number) / "a" / "slice.png"
            upload.parent.mkdir(parents=True)
            upload.write_bytes(b"12345")
            shutil.rmtree(tmp_path / str(number))

    visitors = [threading.Thread(target=visitor, args=(number,)) for number in range(4)]
    for each in visitors:
        each.start()
    try:
        for _ in range(500):
            assert uploads.waiting() <= 5 * len(visitors)
            uploads.sweep()
    finally:
        stop.set()
        for each in visitors:
            each.join()
