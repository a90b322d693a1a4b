"""The one place that needs private names of Textual; `tests/tui/test_crashes.py` fails where a newer one renames them.

Textual has no public way to learn of an unforeseen error, nor to keep it from printing a page of local variables:
pictures and names of patients among them.
"""

from textual.app import App


class QuietApp(App[None]):
    """An app that ends after an unforeseen error without a word; who runs it reads `failure` and says what it was."""

    @property
    def failure(self) -> Exception | None:
        """The unforeseen error that ended the app, if one did."""
        return self._exception

    def _fatal_error(self) -> None:
        # Without anything to print, this only closes what is open.
        self.panic()
