"""The form on the screen."""

from textual.pilot import Pilot
from textual.widgets import Select

from lungcli.tui.app import Dashboard
from tests.tui.pilots import drive, screen, settle
from tests.tui.stage import data_set


def test_the_form_starts_with_an_existing_data_set_which_another_kind_of_job_does_not_take_over() -> None:
    data_set("mine")

    async def script(app: Dashboard, pilot: Pilot[None]) -> None:
        assert any(line.strip() == "$ lungcli compress --data mine" for line in screen(app))
        app.screen.query_one("#kind", Select).value = "quantize"
        await settle(pilot)
        assert any(line.strip() == "$ lungcli quantize" for line in screen(app))

    drive(script, first="start")
