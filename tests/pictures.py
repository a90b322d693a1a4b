"""Draw the README's pictures of the dashboard from the runs of this machine.

Run: python -m tests.pictures FOLDER
"""

import asyncio
import re
import sys
from pathlib import Path

from lungcli.tui.app import Dashboard

SCREENS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("runs", ()),
    ("models", ("3", "down", "p")),
)
SIZE = (150, 42)


async def draw(name: str, keys: tuple[str, ...], into: Path) -> None:
    """Open the dashboard, press `keys`, and save what it shows as `into`/dashboard-`name`.svg."""
    app = Dashboard()
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause(2)
        for key in keys:
            await pilot.press(key)
            await pilot.pause(2)
        svg = app.export_screenshot(title="lungcli dashboard")
    # The fonts that Textual names lie on a server; a reader's own will do.
    svg = re.sub(r"@font-face\s*{.*?}", "", svg, flags=re.DOTALL)
    (into / f"dashboard-{name}.svg").write_text(svg, encoding="utf-8")


def main() -> None:
    """Draw every screen."""
    into = Path(sys.argv[1])
    into.mkdir(parents=True, exist_ok=True)
    for name, keys in SCREENS:
        asyncio.run(draw(name, keys, into))


if __name__ == "__main__":
    main()
