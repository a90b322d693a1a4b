"""The system view."""

import pytest
from textual.pilot import Pilot
from textual.widgets import DataTable

from lungcli.tui.system.system_stats import SystemMonitor, Usage
from lungcli.tui.system.view import SystemView
from tests.tui.stage import Stage, play, press, resize, settle
from tests.tui.system.test_system_stats import SEEN


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with a GPU and a run at work."""
    monkeypatch.setattr(SystemMonitor, "measure", lambda _: SEEN)


@pytest.mark.usefixtures("measured")
def test_processor_memory_gpu_and_jobs_at_every_size() -> None:
    async def scenario(app: Stage, pilot: Pilot[None]) -> None:
        for size in ((80, 24), (100, 30), (300, 80)):
            await resize(app, pilot, size)
            app.query_one(SystemView).measure()
            await settle(app, pilot)
            text = app.text()
            for part in ("processor", "8.0 GB of 16.0 GB", "A100 [1]", "run [1]", "65m", "load 1.5"):
                assert part in text
            assert app.query_one("#jobs").region.height >= 4

    play(SystemView(), scenario)


def test_idle_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    idle = Usage(cores=(0.0,) * 64, used=1, total=2, swap=0, load=0, disk_free=0)
    monkeypatch.setattr(SystemMonitor, "measure", lambda _: idle)

    async def scenario(app: Stage, pilot: Pilot[None]) -> None:
        app.query_one(SystemView).measure()
        await settle(app, pilot)
        assert "start one: lungcli compress" in app.text()
        assert app.query_one("#jobs", DataTable).row_count == 0
        assert app.query_one("#jobs").region.height >= 4

    play(SystemView(), scenario, (80, 24))


@pytest.mark.usefixtures("measured")
def test_the_picture_can_be_held() -> None:
    async def scenario(app: Stage, pilot: Pilot[None]) -> None:
        view = app.query_one(SystemView)
        await press(app, pilot, "space")
        before = len(view._cpu)
        view.measure()
        await settle(app, pilot)
        assert len(view._cpu) == before
        assert "held: space goes on" in app.text()
        await press(app, pilot, "space")
        view.measure()
        await settle(app, pilot)
        # On a busy machine the timer may have measured as well.
        assert len(view._cpu) > before

    play(SystemView(), scenario)


@pytest.mark.usefixtures("measured")
def test_nothing_is_measured_out_of_sight() -> None:
    async def scenario(app: Stage, pilot: Pilot[None]) -> None:
        view = app.query_one(SystemView)
        view.display = False
        await pilot.pause()
        before = len(view._cpu)
        view.measure()
        await settle(app, pilot)
        assert len(view._cpu) == before

    play(SystemView(), scenario)


def test_this_machine_for_real() -> None:
    async def scenario(app: Stage, pilot: Pilot[None]) -> None:
        app.query_one(SystemView).measure()
        await settle(app, pilot)
        assert "GB of" in app.text()

    play(SystemView(), scenario)
