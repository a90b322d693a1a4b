"""Draw the README's pictures of the dashboard from the runs of this machine, and of the slices that ship.

Run: lungcli data phantom --slices 360; lungcli compress --recipe phantoms; python -m tests.pictures FOLDER
"""

import asyncio
import os
import sys
from pathlib import Path

from textual.pilot import Pilot

from lungcli.core import package_data
from lungcli.tui.app import Dashboard
from lungcli.tui.predict.view import PredictView
from tests.tui import pictures as drawing

SCREENS: tuple[tuple[str, tuple[int, int], tuple[str, ...]], ...] = (
    ("runs", (150, 42), ()),
    ("models", (150, 42), ("3", "down", "p")),
    ("predict", (110, 32), ("4", "down", "h")),
)
SLICES = Path("slices")


async def draw(name: str, size: tuple[int, int], keys: tuple[str, ...], into: Path) -> None:
    """Open the dashboard, press `keys`, and save what it shows as `into`/dashboard-`name`.svg."""
    app = Dashboard()
    async with app.run_test(size=size) as pilot:
        await rest(pilot)
        for key in keys:
            await pilot.press(key)
            await rest(pilot)
            for view in app.query(PredictView):
                if not view.query_one("#files").row_count:  # type: ignore[attr-defined]
                    view.open(SLICES)
                    await rest(pilot)
        svg = drawing.svg(app)
    (into / f"dashboard-{name}.svg").write_text(svg, encoding="utf-8")


async def rest(pilot: Pilot[None]) -> None:
    """Wait until no work goes on."""
    await pilot.pause(1)
    while any(worker.is_running for worker in pilot.app.workers):
        await pilot.pause(0.1)
    await pilot.pause(1)


def main() -> None:
    """Draw every screen."""
    into = Path(sys.argv[1]).resolve()
    into.mkdir(parents=True, exist_ok=True)
    # Slices in half blocks need colours, whatever the terminal at hand.
    os.environ |= {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
    # A path from here on tells nothing of the machine.
    os.chdir(package_data.slices()["malignant"].parent.parent)
    for name, size, keys in SCREENS:
        asyncio.run(draw(name, size, keys, into))


if __name__ == "__main__":
    main()
