"""What waits for its verdict, while others come and go."""

import os
import shutil
import threading
from pathlib import Path

from lungcli.web import door


def test_old_uploads_go_and_new_ones_stay(tmp_path: Path) -> None:
    for name, age in (("old", door.KEPT_SECONDS + 60), ("new", 0)):
        file = tmp_path / name / "slice.png"
        file.parent.mkdir()
        file.write_bytes(b"12345")
        for path in (file, file.parent):
            os.utime(path, (path.stat().st_mtime - age,) * 2)

    door.sweep(tmp_path)
    assert sorted(path.name for path in tmp_path.rglob("*.png")) == ["slice.png"]
    assert (tmp_path / "new" / "slice.png").exists()
    assert door.waiting(tmp_path) == 5


def test_folders_that_go_away_meanwhile_end_nothing(tmp_path: Path) -> None:
    stop = threading.Event()

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
            assert door.waiting(tmp_path) <= 5 * len(visitors)
            door.sweep(tmp_path)
    finally:
        stop.set()
        for each in visitors:
            each.join()
