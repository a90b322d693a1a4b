"""The frame: colours of themes, help by area, and a palette that names everything once."""

import pytest
from textual.color import Color
from textual.pilot import Pilot
from textual.theme import Theme
from textual.widgets import Tab

from lungcli.tui import settings
from lungcli.tui.app import TABS, THEMES, Dashboard, named_colours
from lungcli.tui.models import table
from lungcli.tui.widgets.dialogs import Help
from lungcli.views import evaluation
from tests.tui import fakes, stage
from tests.tui.pilots import drive, press, screen
from tests.views.test_colours import in_16_colours, ratio


@pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.name)
def test_colours_that_texts_name_are_those_of_the_theme(theme: object) -> None:
    name = getattr(theme, "name", "")
    settings.keep(theme=name)

    async def script(app: Dashboard, pilot: Pilot[None]) -> None:
        assert app.theme == name
        assert app.ansi_theme is named_colours(name)
        red, green, yellow = (Color(*app.ansi_theme.ansi_colors[number]) for number in (1, 2, 3))
        current = app.current_theme
        assert [red.hex, green.hex, yellow.hex] == [current.error, current.success, current.warning]

    drive(script)


@pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.name)
def test_tabs_are_legible_also_in_16_colours(theme: Theme) -> None:
    settings.keep(theme=theme.name)

    async def script(app: Dashboard, pilot: Pilot[None]) -> None:
        for tab in app.query(Tab):
            drawn = tab.rich_style
            assert drawn.color
            assert drawn.bgcolor
            ink, ground = Color.from_rich_color(drawn.color), Color.from_rich_color(drawn.bgcolor)
            assert ratio(ink.hex6, ground.hex6) >= 4.5
            assert ratio(in_16_colours(ink), in_16_colours(ground)) >= 4.5

    drive(script)


def test_frames_are_seen_in_high_contrast() -> None:
    contrast = THEMES[-1]
    assert ratio(contrast.variables["frame"], str(contrast.background)) >= 3, "WCAG 2.2, 1.4.11"


def test_the_palette_has_no_doubles() -> None:
    fakes.run("job")

    async def script(app: Dashboard, pilot: Pilot[None]) -> None:
        for number, _ in enumerate(TABS, 1):
            if number == 2:  # Its fields take the keys that would leave it.
                continue
            await press(pilot, str(number))
            titles = [command.title for command in app.get_system_commands(app.screen)]
            assert len(set(titles)) == len(titles), titles

    drive(script)


def test_help_is_by_area_each_with_its_keys() -> None:
    fakes.run("job")

    async def script(app: Dashboard, pilot: Pilot[None]) -> None:
        await press(pilot, "question_mark")
        assert isinstance(app.screen, Help)
        lines = screen(app)
        areas = ("list of runs", "the run under the cursor", "curves", "everywhere")
        of_list, of_run, curves, everywhere = (
            next(number for number, line in enumerate(lines) if f"│ {area} " in line) for area in areas
        )
        assert of_list < of_run < curves < everywhere
        assert any("│ x " in line and "Stop" in line for line in lines[of_run:curves])
        assert any("│ + = " in line and "Zoom in" in line for line in lines[curves:everywhere])
        assert not any("Focus Next" in line for line in lines)

    drive(script, size=(120, 70))


def test_help_tells_the_keys_of_a_view_before_those_of_any_table() -> None:
    stage.run()

    async def script(app: Dashboard, pilot: Pilot[None]) -> None:
        await press(pilot, "3", "question_mark")
        lines = screen(app)
        here, moving, everywhere = (
            next(number for number, line in enumerate(lines) if f"│ {area} " in line)
            for area in ("here", "moving", "everywhere")
        )
        assert here < moving < everywhere
        assert any("│ space " in line and "Mark" in line for line in lines[here:moving])
        assert any("Cursor down" in line for line in lines[moving:everywhere])

    drive(script, size=(120, 70))


def test_a_small_screen_shows_warnings_and_what_goes_on_below_the_models(monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(4):
        stage.run(f"run-{number}")
    warnings = (evaluation.RANDOM_SPLIT, evaluation.SYNTHETIC)
    monkeypatch.setattr(table, "notes", lambda *_, **__: warnings)

    async def script(app: Dashboard, pilot: Pilot[None]) -> None:
        await press(pilot, "3")
        lines = screen(app)
        assert all(any(f"! {text[:20]}" in line for line in lines) for text in warnings)
        status = app.query_one("ModelsView .status").region
        assert status.height > 0
        assert status.bottom <= 23
        await press(pilot, "c")
        assert any("space ticks · enter takes · esc leaves" in line for line in screen(app))

    drive(script, size=(80, 24))
