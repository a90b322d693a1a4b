"""A home without runs: what it offers, a key each."""

from collections.abc import Sequence
from types import SimpleNamespace

import pytest
from textual.pilot import Pilot

from lungcli.tui.app import Dashboard
from lungcli.tui.jobs import processes
from lungcli.tui.runs.first_steps import DEMONSTRATION, PHANTOM
from lungcli.tui.widgets.dialogs import Choose
from tests.tui import fakes
from tests.tui.pilots import become, drive, press, said, screen


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The commands that were started; none is run, and all succeed at once."""
    commands: list[tuple[str, ...]] = []

    def start(arguments: Sequence[str]) -> object:
        commands.append(tuple(arguments))
        return SimpleNamespace(process=SimpleNamespace(wait=lambda: 0, poll=lambda: 0))

    monkeypatch.setattr(processes, "start", start)
    return commands


def test_the_demonstration_draws_phantoms_then_trains_on_them(started: list[tuple[str, ...]]) -> None:
    async def script(app: Dashboard, pilot: Pilot[None]) -> None:
        assert "M  demonstration" in "\n".join(screen(app))
        assert "M Demo" in screen(app)[-1]
        await press(pilot, "M")
        await become(pilot, lambda: started == [PHANTOM, DEMONSTRATION])

    drive(script, size=(80, 24))


def test_phantoms_alone_are_announced_when_they_are_there(started: list[tuple[str, ...]]) -> None:
    async def script(app: Dashboard, pilot: Pilot[None]) -> None:
        await press(pilot, "F")
        await become(pilot, lambda: any("phantom slices are here" in text for text in said(app)))
        assert started == [PHANTOM]

    drive(script)


def test_a_first_step_that_fails_says_why(started: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "failure", lambda _: "failed (exit 1): no space left")

    async def script(app: Dashboard, pilot: Pilot[None]) -> None:
        await press(pilot, "M")
        await become(pilot, lambda: any("no space left" in text for text in said(app)))
        assert started == [PHANTOM]

    drive(script)


def test_the_download_is_chosen_among_the_data_sets() -> None:
    async def script(app: Dashboard, pilot: Pilot[None]) -> None:
        await press(pilot, "D")
        await become(pilot, lambda: isinstance(app.screen, Choose))

    drive(script)


def test_first_steps_go_once_there_is_a_run(started: list[tuple[str, ...]]) -> None:
    fakes.run("job")

    async def script(app: Dashboard, pilot: Pilot[None]) -> None:
        assert "Demo" not in screen(app)[-1]
        await press(pilot, "M", "F")
        assert not started

    drive(script)


def test_the_first_run_shown_is_the_one_that_runs() -> None:
    fakes.run("newest", age=5)
    live = fakes.stand(fakes.run("live", end="stopped", age=500), "running", age=500)

    async def script(app: Dashboard, pilot: Pilot[None]) -> None:
        fakes.append(live.events, list(fakes.epoch("train", 6, 10, 0.9)))
        await become(pilot, lambda: any("live  ● train" in line for line in screen(app)))

    drive(script)
