"""The form on the screen."""

from textual.pilot import Pilot
from textual.widgets import Select

from lungcli.tui.app import Dashboard
from tests.tui.pilots import drive, press, screen, settle
from tests.tui.stage import data_set


def test_what_is_usual_for_one_kind_of_job_is_not_carried_to_another() -> None:
    async def script(app: Dashboard, pilot: Pilot[None]) -> None:
        await press(pilot, "2")
        app.screen.query_one("#kind", Select).value = "quantize"
        await settle(pilot)
        assert any(line.strip() == "$ lungcli quantize" for line in screen(app))

    drive(script)


def test_the_form_begins_with_a_data_set_that_is_there() -> None:
    data_set("mine")

    async def script(app: Dashboard, pilot: Pilot[None]) -> None:
        await press(pilot, "2")
        assert any(line.strip() == "$ lungcli compress --data mine" for line in screen(app))
        app.screen.query_one("#kind", Select).value = "quantize"
        await settle(pilot)
        assert any(line.strip() == "$ lungcli quantize" for line in screen(app))

    drive(script)
