"""The footer: made anew only for other keys, and removed keys do not stay in memory."""

import gc

import pytest
from textual.pilot import Pilot
from textual.widgets._footer import FooterKey

from lungcli.tui.app import Dashboard
from tests.tui.pilots import drive, press, settle


def shown(app: Dashboard) -> list[FooterKey]:
    return list(app.query(FooterKey))


def test_keys_that_stay_the_same_are_left_alone() -> None:
    async def script(app: Dashboard, pilot: Pilot[None]) -> None:
        before = shown(app)
        app.screen.refresh_bindings()
        await settle(pilot)
        assert [id(key) for key in shown(app)] == [id(key) for key in before]

    drive(script)


def test_another_view_has_other_keys_and_removed_ones_leave_memory() -> None:
    async def script(app: Dashboard, pilot: Pilot[None]) -> None:
        of_runs = [key.description for key in shown(app)]
        assert {"Search", "palette"} <= set(of_runs)
        await press(pilot, "6")
        assert "Search" not in [key.description for key in shown(app)]
        await press(pilot, "1", "6", "1")
        assert [key.description for key in shown(app)] == of_runs
        gc.collect()
        gone = [key for key in gc.get_objects() if type(key) is FooterKey and not key.is_attached]
        assert len(gone) < len(of_runs)
        await pilot.resize_terminal(70, 32)
        await press(pilot, "6")
        assert "palette" not in [key.description for key in shown(app)]

    drive(script)


def test_only_outside_of_tests_what_a_view_loaded_is_exempt_from_garbage_collection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept: list[str] = []
    monkeypatch.setattr(gc, "freeze", lambda: kept.append("all"))

    async def script(app: Dashboard, pilot: Pilot[None]) -> None:
        await press(pilot, "6")
        assert not kept
        monkeypatch.setattr(Dashboard, "is_headless", False)
        await press(pilot, "5", "6")
        assert kept == ["all"]

    drive(script)
