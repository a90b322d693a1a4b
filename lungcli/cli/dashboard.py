"""`lungcli dashboard`."""

from typing import TYPE_CHECKING, Annotated, Literal

from lungcli.cli import console, options, signals
from lungcli.core import settings
from lungcli.core.errors import UsageError

if TYPE_CHECKING:
    from lungcli.tui.app import Dashboard

Shown = Literal["runs", "models"]

Once = Annotated[bool, options.in_panel("Output", "Print one view as text and exit.", "--once")]
View = Annotated[Shown, options.in_panel("Output", "View that --once prints, or that is opened first.", "--view")]


def dashboard(
    once: Once = False,
    view: View = "runs",
) -> None:
    """Watch runs, compare models, predict, in full screen.

    Slices are drawn with half blocks, or as pictures where the terminal supports Sixel (not in tmux, nor with NO_COLOR
    or LUNGCLI_GRAPHICS=off). LUNGCLI_GRAPHICS=kitty uses the protocol of Kitty 0.28 and later, and of Ghostty.

    \b
    Example: lungcli dashboard
    """
    import asyncio
    import contextlib
    import gc
    import os
    import sys

    if once:
        _print(view)
        return
    if not (sys.stdin.isatty() and sys.stdout.isatty()) or os.environ.get("TERM") == "dumb":
        raise UsageError("the dashboard needs a terminal", "without one, print it as text: lungcli dashboard --once")
    # Nothing loaded before the first screen is garbage; the dashboard turns collection on again.
    gc.disable()
    app = _opened(view)

    def leave(number: int, frame: object) -> None:
        # Textual shows an interrupt as a crash, so it is told to exit, and woken up for it.
        del number, frame
        try:
            asyncio.get_running_loop().call_soon_threadsafe(app.exit, None, signals.INTERRUPTED)
        except RuntimeError:
            raise KeyboardInterrupt from None

    signals.install_handlers(leave)
    app.run()
    if app.failure is not None:
        raise app.failure
    # The terminal may be gone.
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    # A regular exit takes 0.2 s with so many objects, and waits for threads whose results nobody sees.
    os._exit(app.return_code or 0)


def _opened(view: Shown) -> "Dashboard":
    """Make the dashboard as the user's settings have it, with the pictures that the terminal can draw."""
    import os
    import sys

    from lungcli.tui import settings as dashboard_settings
    from lungcli.tui.app import Dashboard
    from lungcli.tui.widgets import terminal_capabilities

    environ = os.environ | {"LUNGCLI_GRAPHICS": str(settings.current("graphics").value)}
    if theme := settings.current("theme").value:
        dashboard_settings.keep(theme=theme)
    # Textual reads from stdin and writes to stderr.
    return Dashboard(view, terminal_capabilities.ask(environ, sys.stdin.fileno(), sys.stderr.fileno()))


def _print(view: Shown) -> None:
    if view == "runs":
        from lungcli.tui import text_report

        text_report.runs(console.out())
        return
    from lungcli.cli import tables
    from lungcli.evaluation import compare
    from lungcli.modelfile import model_paths

    files = list(model_paths.files().values())
    if not files:
        console.info("there are no models yet; train some: lungcli compress --student mobilenetv2")
        return
    tables.show_comparison(compare.compare(files, seconds=0.0, listing=True))
