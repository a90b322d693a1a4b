"""A tiny app to put one view on, and runs that were never trained."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from PIL import Image
from textual.app import App, ComposeResult
from textual.pilot import Pilot
from textual.widget import Widget

from lungcli.core import runs
from lungcli.core.recipe import Recipe
from lungcli.datasets import manifest
from lungcli.datasets.manifest import Slice, Source
from lungcli.evaluation import evaluate
from lungcli.metrics.predictions import Evaluation
from lungcli.modelfile import model_paths
from tests.metrics.test_predictions import evaluation
from tests.modelfile import graphs

Scenario = Callable[["Stage", Pilot[None]], Awaitable[None]]

# Only ends a test that hangs, on a machine however busy.
_PATIENCE = 60.0

STRANGE = "[red]肺 🫁"


class Stage(App[None]):
    """Nothing but the view, which is given the keys as the dashboard gives them."""

    AUTO_FOCUS = None

    def __init__(self, view: Widget) -> None:
        super().__init__()
        self.view = view
        self.messages: list[str] = []

    def compose(self) -> ComposeResult:
        """Show the view."""
        yield self.view

    def on_mount(self) -> None:
        """Focus what can have it."""
        self.call_after_refresh(self.action_focus_next)

    def notify(self, message: str, **how: Any) -> None:
        """Tell the user, and remember it: it may have gone from the screen before a test looks."""
        self.messages.append(message)
        super().notify(message, **how)

    def text(self) -> str:
        """The characters on the screen."""
        strips = self.screen._compositor.render_strips()
        return "\n".join("".join(segment.text for segment in strip) for strip in strips)


def play(view: Widget, scenario: Scenario, size: tuple[int, int] = (120, 40)) -> None:
    """Show a view, wait until it has read what it shows, and let a scenario happen."""

    async def whole() -> None:
        app = Stage(view)
        async with app.run_test(size=size, notifications=True) as pilot:
            await settle(app, pilot)
            await scenario(app, pilot)

    asyncio.run(whole())


async def settle(app: Stage, pilot: Pilot[None]) -> None:
    """Wait until no work goes on."""
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        await pilot.pause()
        if not any(worker.is_running for worker in app.workers):
            break
        await asyncio.sleep(0.01)
    await pilot.pause()


async def resize(app: Stage, pilot: Pilot[None], size: tuple[int, int]) -> None:
    """Give the terminal another size, and wait until everything is laid out for it."""
    await pilot.resize_terminal(*size)
    await settle(app, pilot)


async def press(app: Stage, pilot: Pilot[None], *keys: str) -> None:
    """Press keys one by one, waiting for what each begins."""
    for key in keys:
        await pilot.press(key)
        await settle(app, pilot)


def run(name: str = "compress-tiny-phantom", data: str = "phantom", **stages: str) -> runs.Run:
    """Make a finished run whose stages predict so (see `tests.metrics.test_predictions`)."""
    created = runs.create(name, "compress", Recipe(data=data, model="tiny", teacher="resnet18", size=graphs.SIZE))
    for stage, classes in (stages or {"teacher": "bbmmnn", "student": "bnmmnm", "int8": "bnmmnn"}).items():
        add(created, stage, evaluation(classes), data)
    done = msgspec.structs.replace(created.info, state="done")
    (created.folder / "run.json").write_bytes(msgspec.json.encode(done))
    return created


def add(run: runs.Run, stage: str, predictions: Evaluation, data: str = "phantom", **changes: object) -> Path:
    """Give a run the model file of a stage, with its predictions beside it."""
    folder = run.stage(stage)
    folder.mkdir()
    card = graphs.card()
    changes |= {"figures": predictions.figures(), "stage": stage, "data": msgspec.structs.replace(card.data, name=data)}
    if stage == "int8":
        changes["precision"] = "int8"
    evaluate.save(predictions, folder / "evaluation.json")
    return graphs.model_file(folder / model_paths.MODEL, **changes)


def data_set(name: str = "phantom", side: int = 48) -> Path:
    """Write a data set of six slices in three groups, one of them of two classes."""
    folder = manifest.folder(name)
    slices = []
    labels = ("benign", "malignant", "malignant", "malignant", "normal", "normal")
    for number, (label, group) in enumerate(zip(labels, (0, 0, 1, 1, 2, 2), strict=True)):
        path = f"slices/{number}.png"
        picture(folder / path, seed=number, side=side)
        slices.append(Slice(path=path, label=label, sha256=f"{number}", size=(side, side), group=group))
    manifest.save(manifest.build(name, tuple(slices), (), Source(about="made up", synthetic=True)), folder)
    return folder


def picture(path: Path, seed: int = 0, side: int = 48) -> Path:
    """Write a chest with two lungs, which the guard lets pass; the brighter the higher its seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tissue = 100 + 20 * (seed % 7)
    chest = np.zeros((side, side), dtype=np.uint8)
    body, lungs = slice(side // 12, -side // 12), slice(side // 4, -side // 4)
    chest[body, body] = tissue
    chest[lungs, side // 6 : 5 * side // 12] = chest[lungs, 7 * side // 12 : 5 * side // 6] = tissue // 4
    Image.fromarray(chest).save(path)
    return path
