"""Screens as SVG, without what says nothing of them: fonts that lie on a server, ids made of the text, clips."""

import re
from typing import Any

from textual.app import App

_FONTS = re.compile(r"@font-face\s*{.*?}\s*", re.DOTALL)
_CLIPS = re.compile(r'<clipPath id="[^"]*line-\d+">.*?</clipPath>\s*|\s?clip-path="[^"]*line-\d+\)"', re.DOTALL)
_MADE_UP = re.compile(r"terminal-\d+")


def svg(app: App[Any]) -> str:
    """Draw what an app shows now."""
    drawn = app.export_screenshot(title="lungcli dashboard")
    for pattern, by in ((_FONTS, ""), (_CLIPS, ""), (_MADE_UP, "screen")):
        drawn = pattern.sub(by, drawn)
    return "".join(f"{line.strip()}\n" for line in drawn.replace("><", ">\n<").splitlines() if line.strip())
