"""The predict view, key by key."""

import re
import threading
from pathlib import Path

import pytest
from textual import events
from textual.pilot import Pilot
from textual.widgets import DataTable, Input, OptionList, Static

from lungcli.modelfile.model_file import Model
from lungcli.predict.inputs import Item
from lungcli.tui.predict import slice_prediction
from lungcli.tui.predict.slice_prediction import ShownSlice
from lungcli.tui.predict.view import PredictView
from lungcli.tui.widgets.picture import Picture
from tests.imaging.pictures import write
from tests.predict.test_inputs import scan
from tests.tui.stage import STRANGE, Stage, picture, play, press, resize, run, settle


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    folder = tmp_path / "scans"
    for number in (1, 2, 10):
        picture(folder / f"s{number}.png", seed=number)
    (folder / "s3.png").write_bytes(b"no picture")
    return folder


async def opened(app: Stage, pilot: Pilot[None], path: Path) -> None:
    app.query_one(PredictView).open(path)
    await settle(app, pilot)


def names(app: Stage) -> list[str]:
    files = app.query_one("#files", DataTable)
    return [str(files.get_row_at(row)[2]) for row in range(files.row_count)]


def labels(app: Stage) -> list[str]:
    files = app.query_one("#files", DataTable)
    return [str(files.get_row_at(row)[0]) for row in range(files.row_count)]


def panel(app: Stage) -> str:
    """The text beside the picture."""
    return str(app.query_one("#prediction", Static).content)


def test_without_a_model_the_slice_is_shown_and_what_to_type(scans: Path) -> None:
    async def scenario(app: Stage, pilot: Pilot[None]) -> None:
        assert "there is no model on this machine yet" in app.text()
        await opened(app, pilot, scans)
        assert app.query_one("#slice", Picture).pixels is not None
        assert "lungcli data phantom" in app.text()
        await press(app, pilot, "a", "m")
        assert any("there is no model to predict with" in message for message in app.messages)

    play(PredictView(), scenario)


def test_a_typed_folder_is_leafed_through(scans: Path) -> None:
    run()

    async def scenario(app: Stage, pilot: Pilot[None]) -> None:
        assert "compress-tiny-phantom/int8 predicts" in app.text()
        await press(app, pilot, "o")
        assert isinstance(app.focused, Input)
        app.focused.value = str(scans)
        await press(app, pilot, "enter")
        assert names(app) == ["s1.png", "s2.png", "s3.png", "s10.png"]
        assert "1 of 4" in app.text()
        assert labels(app)[0] in ("clear", "refer", "suspicious")
        first = app.query_one("#slice", Picture).pixels
        await press(app, pilot, "right")
        second = app.query_one("#slice", Picture).pixels
        assert first is not None
        assert second is not None
        assert first.mean() < second.mean()
        await press(app, pilot, "down")
        assert labels(app)[2] == "unreadable"
        assert "no prediction" in panel(app)
        await press(app, pilot, "left", "up", "up")
        assert app.query_one("#slice", Picture).pixels is first
        assert "Research software" in app.text()

    play(PredictView(), scenario)


def test_a_dropped_file_opens_where_it_lies_among_its_neighbours(scans: Path) -> None:
    run()

    async def scenario(app: Stage, pilot: Pilot[None]) -> None:
        app.query_one(PredictView).post_message(events.Paste(f"'{scans / 's2.png'}'"))
        await settle(app, pilot)
        await settle(app, pilot)
        assert "2 of 4" in app.text()
        assert labels(app)[1]

    play(PredictView(), scenario)


def test_a_wrong_path_is_a_message(tmp_path: Path) -> None:
    async def scenario(app: Stage, pilot: Pilot[None]) -> None:
        await opened(app, pilot, tmp_path / "[red]")
        assert app.messages[-1].startswith("there is no file or folder")
        assert "[red]" in app.messages[-1]
        await press(app, pilot, "o", "x", "escape")
        assert not isinstance(app.focused, Input)
        await press(app, pilot, "o", "enter")
        assert not isinstance(app.focused, Input)

    play(PredictView(), scenario)


def test_all_slices_are_predicted_with_progress(scans: Path) -> None:
    run()

    async def scenario(app: Stage, pilot: Pilot[None]) -> None:
        await opened(app, pilot, scans)
        await press(app, pilot, "a")
        assert all(labels(app))
        assert "predicted 3 slices" in app.text()
        await press(app, pilot, "a")
        assert "every slice has a prediction" in app.messages

    play(PredictView(), scenario)


def test_predicting_all_can_be_cancelled(scans: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run()
    read_slice, cancelled = slice_prediction.read_slice, threading.Event()

    def slow(item: Item, model: Model | None) -> ShownSlice:
        assert cancelled.wait(60)
        return read_slice(item, model)

    async def scenario(app: Stage, pilot: Pilot[None]) -> None:
        await opened(app, pilot, scans)
        monkeypatch.setattr(slice_prediction, "read_slice", slow)
        await pilot.press("a")
        assert app.query_one(PredictView).busy()
        await pilot.press("escape")
        cancelled.set()
        await settle(app, pilot)
        assert "cancelled" in app.text()
        assert not all(labels(app))

    play(PredictView(), scenario)


def test_another_model_predicts_again(scans: Path) -> None:
    run()

    async def scenario(app: Stage, pilot: Pilot[None]) -> None:
        await opened(app, pilot, scans)
        await press(app, pilot, "m")
        assert app.screen.query_one(OptionList).option_count == 3
        await press(app, pilot, "up", "up", "enter")
        await settle(app, pilot)
        assert "compress-tiny-phantom/teacher" in app.text()
        assert [bool(label) for label in labels(app)] == [True, False, False, False]
        await press(app, pilot, "m", "escape")

    play(PredictView(), scenario)


def test_every_size_has_room_for_picture_prediction_and_files(scans: Path) -> None:
    run()

    async def scenario(app: Stage, pilot: Pilot[None]) -> None:
        await opened(app, pilot, scans)
        for size in ((80, 24), (100, 30), (300, 80)):
            await resize(app, pilot, size)
            assert app.query_one("#slice").region.width >= size[0] // 2
            assert app.query_one("#files").region.height >= 6
            assert "Research software" in app.text()

    play(PredictView(), scenario)


def test_names_are_shown_as_they_are(tmp_path: Path) -> None:
    run()
    path = picture(tmp_path / f"{STRANGE}.png")

    async def scenario(app: Stage, pilot: Pilot[None]) -> None:
        await opened(app, pilot, path)
        assert names(app) == [f"{STRANGE}.png"]
        assert f"{STRANGE}.png" in app.text()

    play(PredictView(), scenario)


def test_without_colour_the_slice_is_a_ramp(scans: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")

    async def scenario(app: Stage, pilot: Pilot[None]) -> None:
        await opened(app, pilot, scans / "s2.png")
        drawn = app.query_one("#slice", Picture)
        letters = set("".join(drawn.render_line(y).text for y in range(drawn.size.height)))
        assert letters <= set(" .:-=+*#%@")
        assert len(letters) > 1

    play(PredictView(), scenario)


def test_a_long_folder_keeps_few_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run()
    monkeypatch.setattr("lungcli.tui.predict.view._CACHED", 2)
    for number in range(4):
        picture(tmp_path / f"{number}.png", seed=number)

    async def scenario(app: Stage, pilot: Pilot[None]) -> None:
        await opened(app, pilot, tmp_path)
        await press(app, pilot, "right", "right", "right", "left", "left", "left")
        assert app.query_one("#slice", Picture).pixels is not None
        assert all(labels(app))

    play(PredictView(), scenario)


def test_heat_over_the_slice_on_a_key(scans: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run()
    monkeypatch.setattr(Picture, "coloured", True)

    async def scenario(app: Stage, pilot: Pilot[None]) -> None:
        await opened(app, pilot, scans)
        drawn = app.query_one("#slice", Picture)
        await press(app, pilot, "h")
        assert drawn.pixels is not None
        assert drawn.pixels.ndim == 3
        assert re.search("supports? (benign|malignant|normal)", panel(app))
        await press(app, pilot, "right")
        assert drawn.pixels.ndim == 3
        await press(app, pilot, "H")
        assert re.search("supports? benign", panel(app))
        await press(app, pilot, "right")
        assert "no prediction" in panel(app)
        await press(app, pilot, "left", "h")
        assert drawn.pixels.ndim == 2
        assert "heat-map" not in panel(app)

    play(PredictView(), scenario)


def test_without_a_model_there_is_no_heat(scans: Path) -> None:
    async def scenario(app: Stage, pilot: Pilot[None]) -> None:
        await opened(app, pilot, scans)
        await press(app, pilot, "H", "h")
        assert "there is no model whose prediction could be explained" in app.messages

    play(PredictView(), scenario)


def test_a_series_is_leafed_through_and_predicted_as_a_whole(tmp_path: Path) -> None:
    run()
    head, feet, middle = scan([20, 0, 10])
    write(tmp_path, {"a.dcm": head, "b.dcm": feet, "c.dcm": middle})

    async def scenario(app: Stage, pilot: Pilot[None]) -> None:
        await opened(app, pilot, tmp_path)
        assert names(app) == ["b.dcm", "c.dcm", "a.dcm"]
        assert "slice 1 of 3 of series 1" in app.text()
        await press(app, pilot, "right")
        assert "slice 2 of 3 of series 1" in app.text()
        assert "series 1:" not in panel(app)
        await press(app, pilot, "a")
        assert "series 1: 3 of 3 slices used" in panel(app)

    play(PredictView(), scenario)
