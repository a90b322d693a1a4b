"""What the dashboard takes from Textual under private names: a newer version that renames one of them fails here."""

import pytest
from textual.app import App

from lungcli.tui.crashes import QuietApp


class _Crashing(QuietApp):
    def on_ready(self) -> None:
        name = "Jane Doe"
        raise ZeroDivisionError(name)


def test_an_unforeseen_error_ends_the_app_without_printing_and_is_kept(capfd: pytest.CaptureFixture[str]) -> None:
    app = _Crashing()
    app.run(headless=True)
    assert repr(app.failure) == "ZeroDivisionError('Jane Doe')"
    assert app.return_code == 1
    assert capfd.readouterr() == ("", "")


def test_textual_itself_prints_local_variables_of_an_unforeseen_error(capfd: pytest.CaptureFixture[str]) -> None:
    """The reason for all this: once Textual prints none, `lungcli.tui.crashes` has had its day."""

    class Printing(App[None]):
        on_ready = _Crashing.on_ready

    Printing().run(headless=True)
    assert "name = 'Jane Doe'" in capfd.readouterr().err


def test_an_app_that_was_left_has_no_failure() -> None:
    app = QuietApp()
    app.call_later(app.exit)
    app.run(headless=True)
    assert app.failure is None
    assert app.return_code == 0
