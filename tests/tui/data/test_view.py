"""The data view, key by key."""

import dataclasses
import re
import time
from pathlib import Path

import msgspec
import numpy as np
import pytest
from textual.pilot import Pilot
from textual.widgets import DataTable, Static

from lungcli.core.registry import Mirror
from lungcli.datasets import group_thresholds, manifest
from lungcli.datasets.audit import features
from lungcli.datasets.files import Advance
from lungcli.datasets.groups import Thumbs
from lungcli.datasets.manifest import Manifest
from lungcli.tui.data import published_datasets
from lungcli.tui.data.view import DataView
from lungcli.tui.widgets.dialogs import Sheet
from lungcli.tui.widgets.picture import Picture
from tests.datasets import published
from tests.datasets.servers import Answer, Served, served
from tests.imaging.pictures import zipped
from tests.tui.pilots import become
from tests.tui.stage import STRANGE, Stage, data_set, play, press, resize, settle

__all__ = ["served"]


def rows(app: Stage, table: str) -> list[list[str]]:
    found = app.query_one(f"#{table}", DataTable)
    return [[str(cell) for cell in found.get_row_at(row)] for row in range(found.row_count)]


def test_no_data_says_what_to_type_and_reads_again() -> None:
    async def scenario(app: Stage, pilot: Pilot[None]) -> None:
        assert "lungcli data phantom" in app.text()
        await press(app, pilot, "n", "g", "right_square_bracket")
        assert "there is no data set to check" in app.messages
        data_set()
        await press(app, pilot, "r")
        await settle(app, pilot)
        assert rows(app, "sets") == [["phantom", "6", "3"]]

    play(DataView(), scenario)


def test_counts_groups_and_a_contact_sheet() -> None:
    data_set()

    async def scenario(app: Stage, pilot: Pilot[None]) -> None:
        assert [row[:2] for row in rows(app, "groups")] == [["0 mixed", "2"], ["1", "2"], ["2", "2"]]
        assert "1 groups hold several" in app.text()
        sheet = app.query_one("#sheet", Picture)
        assert sheet.pixels is not None
        assert "1 benign, 2 malignant of 2" in app.text()
        await press(app, pilot, "enter", "down")
        assert "1–2 malignant of 2" in app.text()

    play(DataView(), scenario)


def test_a_large_group_is_shown_page_by_page(monkeypatch: pytest.MonkeyPatch) -> None:
    data_set()
    monkeypatch.setattr(DataView, "_most", lambda _: 1)

    async def scenario(app: Stage, pilot: Pilot[None]) -> None:
        await press(app, pilot, "right_square_bracket")
        assert "2 malignant of 2" in app.text()
        await press(app, pilot, "right_square_bracket")
        assert "2 malignant of 2" in app.text()
        await press(app, pilot, "left_square_bracket")
        assert "1 benign of 2" in app.text()

    play(DataView(), scenario)


def test_the_leak_is_measured_and_stays() -> None:
    data_set()
    data_set("second")

    async def scenario(app: Stage, pilot: Pilot[None]) -> None:
        await press(app, pilot, "n")
        await settle(app, pilot)
        assert "any slice" in app.text()
        assert "other groups" in app.text()
        await press(app, pilot, "down")
        await press(app, pilot, "up")
        assert "any slice" in app.text()

    play(DataView(), scenario)


def test_measuring_the_leak_can_be_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    data_set()

    def slow(data: Manifest, advance: Advance) -> Thumbs:
        for turn in range(1000):
            time.sleep(0.01)
            advance(turn, 1000)
        return np.zeros((6, 1), dtype=np.float32)

    monkeypatch.setattr(group_thresholds, "read_thumbnails", slow)

    async def scenario(app: Stage, pilot: Pilot[None]) -> None:
        await pilot.press("n")
        for _ in range(200):
            await pilot.pause(0.02)
            if "esc ends it" in app.text():
                break
        assert "comparing all slices of phantom" in app.text()
        await press(app, pilot, "escape")
        assert "cancelled" in app.text()
        assert "any slice" not in app.text()

    play(DataView(), scenario)


def test_a_data_set_of_one_group_has_no_leak_to_measure() -> None:
    folder = data_set()
    found = manifest.load("phantom")
    alone = tuple(msgspec.structs.replace(item, group=0) for item in found.slices)
    manifest.save(manifest.build(found.name, alone, found.rejected, found.source), folder)

    async def scenario(app: Stage, pilot: Pilot[None]) -> None:
        await press(app, pilot, "n")
        await settle(app, pilot)
        assert "one near-duplicate group" in app.messages[-1]

    play(DataView(), scenario)


def test_a_damaged_data_set_is_shown_as_such() -> None:
    (data_set() / "manifest.json").write_text("{")

    async def scenario(app: Stage, pilot: Pilot[None]) -> None:
        assert rows(app, "sets") == [["phantom", "unreadable", ""]]
        assert "cannot be read" in app.text()
        await press(app, pilot, "n")
        assert "there is no data set to check" in app.messages

    play(DataView(), scenario)


def test_names_are_shown_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lungcli.core.names.checked", lambda name, _: name)
    data_set(STRANGE)

    async def scenario(app: Stage, pilot: Pilot[None]) -> None:
        assert rows(app, "sets")[0][0] == STRANGE
        assert app.text().count(STRANGE) == 2

    play(DataView(), scenario)


def test_every_size_has_room_for_counts_groups_and_sheet() -> None:
    data_set()

    async def scenario(app: Stage, pilot: Pilot[None]) -> None:
        for size in ((80, 24), (100, 30), (300, 80)):
            await resize(app, pilot, size)
            assert app.query_one("#sheet").region.height >= 8
            assert app.query_one("#groups").region.height >= 5
            assert app.query_one("#facts").region.height >= 8
            assert all(len(line) <= size[0] for line in app.text().splitlines())

    play(DataView(), scenario)


def test_the_check_runs_in_the_background_and_its_findings_are_read() -> None:
    data_set()

    async def scenario(app: Stage, pilot: Pilot[None]) -> None:
        assert "c finds what would mislead" in app.text()
        await press(app, pilot, "c")
        await settle(app, pilot)
        assert isinstance(app.screen, Sheet)
        found = "\n".join(str(part.render()) for part in app.screen.query(Static))
        assert "error    6 slices changed after the import" in found
        assert "slices/0.png" in found
        assert "and 1 more" in found
        assert "lungcli data check phantom --html audit.html" in found
        await press(app, pilot, "escape")
        assert re.search(r"findings: \d+ errors?, \d+ warnings?", app.text())
        await press(app, pilot, "c")
        assert isinstance(app.screen, Sheet)
        await press(app, pilot, "q", "r")
        await settle(app, pilot)
        assert "c finds what would mislead" in app.text()

    play(DataView(), scenario)


def test_a_check_can_be_cancelled_and_nothing_else_begins_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    data_set()

    def slow(data: Manifest, folder: Path, size: int, advance: Advance) -> None:
        for turn in range(1000):
            time.sleep(0.01)
            advance(turn, 1000)

    monkeypatch.setattr(features, "dataset_features", slow)

    async def scenario(app: Stage, pilot: Pilot[None]) -> None:
        await pilot.press("c")
        await become(pilot, lambda: "reading phantom" in app.text() and "esc ends it" in app.text())
        await pilot.press("n", "D", "c")
        assert app.messages.count("other work goes on here; esc ends it") == 3
        assert len(app.screen_stack) == 1
        await press(app, pilot, "escape")
        assert "cancelled" in app.text()
        assert "checked:" not in app.text()

    play(DataView(), scenario)


def test_without_data_there_is_nothing_to_check() -> None:
    async def scenario(app: Stage, pilot: Pilot[None]) -> None:
        await press(app, pilot, "c")
        assert "there is no data set to check" in app.messages

    play(DataView(), scenario)


def offered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, served: Served) -> None:
    """Let the catalog have one published set, which lies on loopback."""
    place = Mirror(name="Loopback", kind="zip", url=f"{served.url}/set.zip")
    row = dataclasses.replace(published.row(tmp_path), mirrors=(place,))
    monkeypatch.setattr(published_datasets, "DATA_SETS", {row.name: row})


def test_a_download_is_asked_first_and_shows_its_progress(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, served: Served
) -> None:
    offered(monkeypatch, tmp_path, served)
    served.give(Answer(body=zipped(tmp_path / "set.zip", published.files()).read_bytes(), pause=0.15))

    async def scenario(app: Stage, pilot: Pilot[None]) -> None:
        await press(app, pilot, "D", "enter")
        asked = app.text()
        assert "licence  CC BY 4.0" in asked
        assert "from Loopback" in asked
        await press(app, pilot, "n")
        assert served.asked == []
        await pilot.press("D", "enter", "y")
        await become(pilot, lambda: "downloading little: 0.0 of 0.0 MB" in app.text())
        await become(pilot, lambda: [row[:2] for row in rows(app, "sets")] == [["little", "5"]])
        assert "little is here: 5 slices" in app.messages
        await press(app, pilot, "D")
        assert "every published data set is here" in app.messages

    play(DataView(), scenario)


def test_a_download_is_cancelled_and_what_arrived_is_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, served: Served
) -> None:
    offered(monkeypatch, tmp_path, served)
    served.give(Answer(body=zipped(tmp_path / "set.zip", published.files()).read_bytes(), pause=0.2))

    async def scenario(app: Stage, pilot: Pilot[None]) -> None:
        await pilot.press("D", "enter", "y")
        await become(pilot, lambda: "downloading little" in app.text())
        await press(app, pilot, "escape")
        await become(pilot, lambda: "what has arrived of little is kept; D goes on with it" in app.messages)
        assert rows(app, "sets") == []
        await press(app, pilot, "D", "enter")
        assert "It continues what arrived earlier" in " ".join(app.text().split())

    play(DataView(), scenario)


def test_a_download_that_fails_or_is_forbidden_says_why(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, served: Served
) -> None:
    offered(monkeypatch, tmp_path, served)

    async def scenario(app: Stage, pilot: Pilot[None]) -> None:
        await press(app, pilot, "D", "enter", "y")
        await become(pilot, lambda: "it answers 404" in "\n".join(app.messages))
        assert "lungcli data download little --from-zip FILE" in app.messages[-1]
        monkeypatch.setenv("LUNGCLI_OFFLINE", "1")
        await press(app, pilot, "D", "enter", "y")
        await become(pilot, lambda: "LUNGCLI_OFFLINE forbids the network" in app.messages[-1])

    play(DataView(), scenario)
