"""Whole screens, as they were last looked at, of Textual 8.2. To accept what is drawn now, after looking at it:

LUNGCLI_ACCEPT=1 python -m pytest tests/tui/test_snapshots.py
"""

import difflib
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot

from lungcli.tui.app import Dashboard
from lungcli.tui.runs.view import RunsView
from tests.tui import fakes, pictures, stage
from tests.tui.pilots import become, drive, has_read, press

FOLDER = Path(__file__).with_name("snapshots")
DAY = 86400.0


def some() -> None:
    """Runs of every state, so old that no age changes while they are drawn."""
    fakes.run("compress-mobilenetv2", "compress", best=0.71, age=5.2 * DAY, seed=1)
    fakes.run("train-resnet18", best=0.64, age=6.2 * DAY, model="resnet18", end="stopped")
    fakes.run("distill-shufflenet", "distill", best=0.67, age=8.2 * DAY, model="shufflenetv2", seed=2)


def broken() -> None:
    """The newest run failed."""
    some()
    fakes.run("train-broken", best=0.5, age=3.2 * DAY, end="failed")


def models() -> None:
    """Two runs whose models were evaluated."""
    stage.run("compress-mobilenetv2-student-of-resnet18-first")
    stage.run("compress-mobilenetv2-student-of-resnet18-other", teacher="bnmmnn", student="bbmmnm")


def none() -> None:
    """No run."""


@pytest.mark.parametrize(
    ("name", "made", "size", "keys"),
    [
        ("wide", some, (200, 50), ("p", "down", "down", "space")),
        ("medium", some, (120, 36), ("down",)),
        ("narrow", some, (80, 24), ()),
        ("models", models, (80, 24), ("3",)),
        ("empty", none, (80, 24), ()),
        ("failed", broken, (80, 24), ()),
        ("no-color", some, (80, 24), ("down", "space", "up")),
    ],
)
def test_the_screen_is_as_it_was_looked_at(
    name: str, made: Callable[[], None], size: tuple[int, int], keys: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    made()
    if name == "no-color":
        monkeypatch.setenv("NO_COLOR", "1")
    found: list[str] = []

    async def script(app: Dashboard, pilot: Pilot[None]) -> None:
        view = app.query_one(RunsView)
        for key in keys:
            await press(pilot, key)
            await pilot.pause(0.1)  # Curves follow when the cursor rests.
        await become(pilot, lambda: has_read(view))
        view.select()
        await become(pilot, lambda: not any(worker.is_running for worker in app.workers))
        await pilot.pause()
        found.append(pictures.svg(app))

    drive(script, size=size)
    kept = FOLDER / f"{name}.svg"
    if "LUNGCLI_ACCEPT" in os.environ:
        FOLDER.mkdir(exist_ok=True)
        kept.write_text(found[0], encoding="utf-8")
    lines = difflib.unified_diff(kept.read_text("utf-8").splitlines(), found[0].splitlines(), lineterm="", n=0)
    assert not list(lines)
