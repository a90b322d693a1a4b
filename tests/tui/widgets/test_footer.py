"""The footer: keys of the view and of the focus, none cut, Help and Quit always."""

import gc

import pytest
from textual.pilot import Pilot

from lungcli.tui.app import TABS, Dashboard
from lungcli.tui.widgets.dialogs import Help
from lungcli.tui.widgets.key_footer import KeyFooter
from tests.tui import fakes
from tests.tui.pilots import drive, press, screen


def shown(app: Dashboard) -> list[str]:
    return [binding.description for binding, _ in app.query_one(KeyFooter).keys]


def test_another_view_has_other_keys() -> None:
    fakes.run("job")

    async def script(app: Dashboard, pilot: Pilot[None]) -> None:
        of_runs = shown(app)
        assert {"Open", "Search", "Help", "Quit", "palette"} <= set(of_runs)
        await press(pilot, "6")
        assert "Search" not in shown(app)
        assert "Hold" in shown(app)
        await press(pilot, "1")
        assert shown(app) == of_runs

    drive(script, size=(140, 32))


def test_in_every_view_the_last_line_ends_with_whole_keys() -> None:
    async def script(app: Dashboard, pilot: Pilot[None]) -> None:
        for number, _ in enumerate(TABS, 1):
            await press(pilot, str(number))
            if app.focused is not None and number == 2:
                await press(pilot, "escape")
                continue
            for width in (200, 100, 80):
                await pilot.resize_terminal(width, 24)
                await pilot.pause()
                last = screen(app)[-1]
                assert "? Help" in last
                assert "q Quit" in last
                assert len(last) <= width
                assert len(shown(app)) >= 3

    drive(script, size=(200, 24))


def test_keys_that_would_be_typed_are_not_shown_in_a_field() -> None:
    fakes.run("job")

    async def script(app: Dashboard, pilot: Pilot[None]) -> None:
        assert "Stop" in shown(app)
        await press(pilot, "slash")
        assert "Stop" not in shown(app)
        assert "esc Clear" in screen(app)[-1]
        assert "^q Quit" in screen(app)[-1]
        await press(pilot, "escape")
        assert "Stop" in shown(app)

    drive(script)


def test_a_click_presses_the_key() -> None:
    fakes.run("job")

    async def script(app: Dashboard, pilot: Pilot[None]) -> None:
        at = screen(app)[-1].index("? Help")
        await pilot.click(KeyFooter, offset=(at, 0))
        await pilot.pause()
        assert isinstance(app.screen, Help)

    drive(script)


def test_ctrl_c_leaves() -> None:
    async def script(app: Dashboard, pilot: Pilot[None]) -> None:
        await press(pilot, "slash", "ctrl+c")
        await pilot.pause()
        assert not app.is_running

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
