"""`lungcli dashboard`."""

from typing import Annotated, Literal

import typer

Shown = Literal["runs", "models"]


def dashboard(
    once: Annotated[bool, typer.Option("--once", help="Print one view as text and leave.")] = False,
    view: Annotated[Shown, typer.Option("--view", help="What --once prints, and what is opened first.")] = "runs",
) -> None:
    """Runs and their curves as they go, whoever started them; models, predictions and data, full screen.

    Slices are shown in half blocks, or as real pictures where the terminal knows Sixel: not in tmux, nor with NO_COLOR
    or LUNGCLI_GRAPHICS=off; LUNGCLI_GRAPHICS=kitty tries Kitty's protocol (0.28 or later, Ghostty).

    \b
    Example: lungcli dashboard
    """
    import asyncio
    import contextlib
    import gc
    import os
    import sys

    from lungcli.cli import signals
    from lungcli.core.errors import UsageError

    if once:
        _print(view)
        return
    if not (sys.stdin.isatty() and sys.stdout.isatty()) or os.environ.get("TERM") == "dumb":
        raise UsageError("the dashboard needs a terminal", "without one, print it: lungcli dashboard --once")
    # Nothing that is loaded on the way to the first screen is garbage; from there on the dashboard has it looked for.
    gc.disable()
    from lungcli.tui.app import Dashboard
    from lungcli.tui.widgets import terminal_capabilities

    # Textual reads from stdin and writes to stderr.
    app = Dashboard(view, terminal_capabilities.ask(os.environ, sys.stdin.fileno(), sys.stderr.fileno()))

    def leave(number: int, frame: object) -> None:
        # Textual shows an interrupt as a crash, so it is asked to leave, and woken up for it.
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
    # Taking an interpreter with so many objects down lasts 0.2 s, and waits for threads whose work nobody sees.
    os._exit(app.return_code or 0)


def _print(view: Shown) -> None:
    from lungcli.cli import console

    if view == "runs":
        from lungcli.tui import text_report

        text_report.runs(console.out())
        return
    from lungcli.cli import tables
    from lungcli.evaluation import compare
    from lungcli.modelfile import model_paths

    files = list(model_paths.files().values())
    if not files:
        console.info("no models yet; make some: lungcli compress --student mobilenetv2")
        return
    tables.show_comparison(compare.compare(files, seconds=0.0))
