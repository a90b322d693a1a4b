"""Driving the dashboard without a terminal."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import cast
from unittest import mock

from textual.pilot import Pilot

from lungcli.tui.app import Dashboard
from lungcli.tui.runs.view import RunsView

# Only ends a test that hangs, on a machine however busy.
_PATIENCE = 240.0

Script = Callable[[Dashboard, Pilot[None]], Awaitable[None]]


def drive(script: Script, *, size: tuple[int, int] = (110, 32), first: str = "runs") -> None:
    """Open the dashboard, run `script` on it, close it. An error on the way is raised here."""

    async def main() -> None:
        app = Dashboard(first)
        with mock.patch.object(app, "notify", wraps=app.notify):
            async with app.run_test(size=size) as pilot:
                await settle(pilot)
                await script(app, pilot)

    asyncio.run(main())


async def settle(pilot: Pilot[None]) -> None:
    """Let the app come to rest: on a busy machine it reads runs, and draws them, in several pieces."""
    await pilot.pause()
    await pilot.pause()
    if pilot.app.is_running:
        await become(pilot, lambda: all(has_read(view) for view in pilot.app.query(RunsView) if view.is_on_screen))


def has_read(view: RunsView) -> bool:
    """Whether the view has read all runs, and all points of those that it draws."""
    histories = [view.watcher.history(name) for name in view.shown()]
    return not view.watcher.behind and all(history and history.complete for history in histories)


async def press(pilot: Pilot[None], *keys: str) -> None:
    """Press keys, then let the app come to rest."""
    await pilot.press(*keys)
    await settle(pilot)


async def become(pilot: Pilot[None], what: Callable[[], bool]) -> None:
    """Wait until something holds."""
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        if what():
            return
        await pilot.pause(0.05)
    raise AssertionError("it did not come to that")


def screen(app: Dashboard) -> list[str]:
    """The screen as text."""
    lines = app.screen._compositor.render_strips()
    return ["".join(segment.text for segment in line).rstrip() for line in lines]


def said(app: Dashboard) -> list[str]:
    """What was said in the corner so far: on a busy machine it may have gone from there before a test looks."""
    return [call.args[0] for call in cast(mock.Mock, app.notify).call_args_list]
