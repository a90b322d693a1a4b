"""The view of runs: keys, curves, search, and everything that is done to a run."""

import datetime
from pathlib import Path

import pytest
from textual.pilot import Pilot

from lungcli.core import run_trash, runs
from lungcli.tui import settings
from lungcli.tui.app import Dashboard
from lungcli.tui.runs.run_list import RunList
from lungcli.tui.runs.view import TICK, RunsView
from lungcli.tui.widgets import scales
from lungcli.tui.widgets.dialogs import Ask, Confirm, Help, Sheet
from tests.tui import fakes
from tests.tui.pilots import become, drive, press, said, screen, settle


def three() -> None:
    fakes.run("job", "compress", best=0.7, age=30)
    fakes.run("alone", "train", best=0.8, model="resnet18", age=60)
    fakes.run("broken", "train", best=0.6, end="failed", age=90)


def view(app: Dashboard) -> RunsView:
    return app.query_one(RunsView)


def names(app: Dashboard) -> list[str]:
    return [row.name for row, stage in app.query_one(RunList).items if not stage]


def current(app: Dashboard) -> str:
    row = app.query_one(RunList).current
    return row.name if row else ""


def test_runs_and_their_curves_are_there_at_once() -> None:
    three()

    async def script(app: Dashboard, pilot: Pilot[None]) -> None:
        assert names(app) == ["job", "alone", "broken"]
        assert current(app) == "job"
        whole = "\n".join(screen(app))
        for expected in ("balanced accuracy", "■ student", "╌ teacher", "3 runs", "gate met", "● ", "╌"):
            assert expected in whole

    drive(script)


def test_without_runs_it_says_what_to_type() -> None:
    async def script(app: Dashboard, pilot: Pilot[None]) -> None:
        whole = "\n".join(screen(app))
        assert "No runs yet. A key each:" in whole
        assert "M  demonstration" in whole
        await press(pilot, "x", "r", "d", "p", "space", "enter", "left", "plus", "z", "s", "v")
        assert "Stop" not in whole

    drive(script)


def test_a_failed_run_says_why_and_what_to_do() -> None:
    three()

    async def script(app: Dashboard, pilot: Pilot[None]) -> None:
        await press(pilot, "end")
        whole = "\n".join(screen(app))
        assert "the loss became nan in epoch 6" in whole
        assert "lungcli runs resume broken" in whole

    drive(script, size=(160, 40))


def test_a_running_run_moves_without_a_key() -> None:
    run = fakes.stand(fakes.run("live", end="stopped"), "running")

    async def script(app: Dashboard, pilot: Pilot[None]) -> None:
        fakes.append(run.events, list(fakes.epoch("train", 6, 10, 0.913)))
        await become(pilot, lambda: any("0.913" in line for line in screen(app)))
        await become(pilot, lambda: any("6/10" in line for line in screen(app)))

    drive(script)


def test_new_points_are_read_within_half_a_second() -> None:
    """Half a second of its clock, which goes slower where the machine is busy."""
    run = fakes.stand(fakes.run("live", end="stopped"), "running")

    async def script(app: Dashboard, pilot: Pilot[None]) -> None:
        history = view(app).watcher.history("live")
        assert history is not None
        before, beat = history.version, view(app)._beat
        fakes.append(run.events, list(fakes.epoch("train", 6, 10, 0.9)))
        await become(pilot, lambda: history.version > before)
        assert (view(app)._beat - beat) * TICK <= 0.5

    drive(script)


def test_runs_are_overlaid_and_compared_with_a_pinned_one() -> None:
    three()

    async def script(app: Dashboard, pilot: Pilot[None]) -> None:
        await press(pilot, "space", "down", "p", "down")
        assert view(app).shown() == ["alone", "job", "broken"]
        whole = "\n".join(screen(app))
        assert "★alone  ● train" in whole
        assert "-0.0" in whole
        marks = {trace.label: trace.style for trace in view(app).traces}
        assert len(set(marks.values())) == len(marks) == 5
        assert settings.load().pinned == "alone"

    drive(script)


def test_the_search_narrows_the_list_while_it_is_typed() -> None:
    three()

    async def script(app: Dashboard, pilot: Pilot[None]) -> None:
        await press(pilot, "slash", *"bacc")
        assert names(app) == []
        await press(pilot, "greater_than_sign", *"0.72")
        assert names(app) == ["alone"]
        await press(pilot, "enter")
        assert current(app) == "alone"
        assert "1 of 3 runs" in "\n".join(screen(app))
        await press(pilot, "escape")
        assert len(names(app)) == 3

    drive(script)


def test_a_search_that_means_nothing_says_so_and_hides_nothing() -> None:
    three()

    async def script(app: Dashboard, pilot: Pilot[None]) -> None:
        await press(pilot, "slash", *"colour:red", "enter")
        assert any("there is no field 'colour'" in text for text in said(app))
        assert "there is no field 'colour'" in "\n".join(screen(app))
        assert len(names(app)) == 3

    drive(script)


def test_the_cursor_reads_all_charts_at_one_epoch() -> None:
    three()

    async def script(app: Dashboard, pilot: Pilot[None]) -> None:
        await press(pilot, "left", "left", "left")
        at = view(app).charts.x
        assert at is not None
        assert "\n".join(screen(app)).count(f"epoch {scales.rounded(at)} ") == len(view(app).charts.shown) > 1
        await press(pilot, "escape")
        assert view(app).charts.x is None

    drive(script)


def test_zoom_pan_and_back() -> None:
    three()

    async def script(app: Dashboard, pilot: Pilot[None]) -> None:
        await press(pilot, "plus")
        assert view(app).charts.span() == (2.5, 7.5)
        await press(pilot, "shift+right")
        assert view(app).charts.span() == (3.75, 8.75)
        await press(pilot, "minus", "minus", "minus")
        assert view(app).charts.span()[0] == 0.0
        await press(pilot, "0")
        assert view(app).charts.span() == (0.0, 10.0)
        view(app).charts.show_window((40.0, 50.0))
        await press(pilot, "down")
        await become(pilot, lambda: view(app).charts.window is None)

    drive(script)


def test_how_curves_are_drawn_is_remembered() -> None:
    three()

    async def script(app: Dashboard, pilot: Pilot[None]) -> None:
        await press(pilot, "s", "l", "t", "g", "c", "T")
        assert view(app).traces[0].level is False
        assert all(not trace.level for trace in view(app).traces)
        assert app.query_one(RunList).items[1][1] == "teacher"

    drive(script)
    saved = settings.load()
    assert (saved.smoothing, saved.log, saved.teachers, saved.grouped) == (1, True, True, True)
    assert (saved.chart, saved.theme) == ("training loss", "lungcli-light")


def test_enter_opens_everything_about_a_run() -> None:
    three()

    async def script(app: Dashboard, pilot: Pilot[None]) -> None:
        await press(pilot, "enter")
        await become(pilot, lambda: isinstance(app.screen, Sheet))
        await press(pilot, "escape")
        assert not isinstance(app.screen, Sheet)

    drive(script)


def test_a_run_that_came_to_no_good_end_is_no_green_tick() -> None:
    fakes.run("flat", best=0.333, age=10)
    fakes.run("fine", best=0.8, age=20)

    async def script(app: Dashboard, pilot: Pilot[None]) -> None:
        flat, fine = (next(line for line in screen(app) if name in line) for name in ("flat", "fine"))
        assert "! flat" in flat
        assert "✓ fine" in fine
        whole = "\n".join(screen(app))
        assert "learned nothing" in whole
        assert "try it" not in whole
        await press(pilot, "down")
        assert "try it: lungcli predict" in "\n".join(screen(app))

    drive(script, size=(140, 40))


def test_deleting_is_asked_and_taken_back() -> None:
    three()

    async def script(app: Dashboard, pilot: Pilot[None]) -> None:
        await press(pilot, "d")
        assert isinstance(app.screen, Confirm)
        await press(pilot, "n")
        assert len(names(app)) == 3
        await press(pilot, "d", "y")
        assert names(app) == ["alone", "broken"]
        assert any("deleted job" in text for text in said(app))
        await press(pilot, "u")
        assert names(app) == ["job", "alone", "broken"]
        await press(pilot, "u")
        assert any("the trash is empty" in text for text in said(app))

    drive(script)


def test_the_trash_says_its_size_and_is_emptied_when_asked() -> None:
    three()
    run_trash.move_to_trash(runs.load("broken"))

    async def script(app: Dashboard, pilot: Pilot[None]) -> None:
        await press(pilot, "d", "y", "E")
        assert "Empty the trash? 2 runs, " in "\n".join(screen(app))
        assert "kB would be gone for good" in "\n".join(screen(app))
        await press(pilot, "n")
        assert len(run_trash.trashed_runs()) == 2
        await press(pilot, "E", "y")
        assert run_trash.trashed_runs() == ()
        assert any(text.startswith("the trash is empty now: 2 runs") for text in said(app))
        await press(pilot, "E", "u")
        assert not isinstance(app.screen, Confirm)
        assert names(app) == ["alone"]

    drive(script)


def test_renaming_and_tagging() -> None:
    three()

    async def script(app: Dashboard, pilot: Pilot[None]) -> None:
        await press(pilot, "n")
        assert isinstance(app.screen, Ask)
        await press(pilot, *["backspace"] * 3, *"other", "enter")
        await become(pilot, lambda: current(app) == "other")
        await press(pilot, "number_sign", *"paper good", "enter")
        await become(pilot, lambda: "#paper #good" in "\n".join(screen(app)))
        assert run_trash.tags(runs.load("other").folder) == ("paper", "good")
        await press(pilot, "n", *["backspace"] * 5, *"alone", "enter")
        await become(pilot, lambda: any("there is a run 'alone' already" in text for text in said(app)))

    drive(script)


def test_what_cannot_be_done_is_said_not_raised() -> None:
    three()

    async def script(app: Dashboard, pilot: Pilot[None]) -> None:
        await press(pilot, "x", "r")
        assert any("no process works on the run 'job'" in text for text in said(app))
        assert any("the run 'job' is done" in text for text in said(app))

    drive(script)


def test_help_lists_the_keys_and_the_palette_the_actions() -> None:
    three()

    async def script(app: Dashboard, pilot: Pilot[None]) -> None:
        commands = {command.title for command in app.get_system_commands(app.screen)}
        assert {"Open: Start", "Stop", "Resume", "Rename", "Tag", "Delete", "Pin", "Smooth", "Log", "Theme"} <= commands
        await press(pilot, "question_mark")
        assert isinstance(app.screen, Help)
        assert "draw its curves together" in "\n".join(screen(app))
        await press(pilot, "escape")
        assert not isinstance(app.screen, Help)

    drive(script)


def test_foreign_names_are_text_and_nothing_else() -> None:
    names = ("[red]alarm[-red]", "肺のスライス", "🫁 lungs", "a\x1b[31mb", "[b]")
    for number, name in enumerate(names):
        folder = fakes.run(f"plain-{number}").folder
        folder.rename(folder.with_name(name))

    async def script(app: Dashboard, pilot: Pilot[None]) -> None:
        whole = "\n".join(screen(app))
        assert "\x1b" not in whole
        for name in names:
            assert name.replace("\x1b", "\\x1b") in whole
            await press(pilot, "d", "n", "p", "down")
        await press(pilot, "x", "question_mark", "escape")

    drive(script)


def test_whatever_happens_to_the_file_of_events() -> None:
    names = ("cut", "deleted", "replaced", "nonsense", "clock")
    live = {name: fakes.stand(fakes.run(name, end="stopped"), "running") for name in names}

    async def script(app: Dashboard, pilot: Pilot[None]) -> None:
        await press(pilot, "space", *["down", "space"] * 4)
        assert len(view(app).shown()) == 5
        whole = live["cut"].events.read_bytes()
        live["cut"].events.write_bytes(whole[: len(whole) // 2 - 7])
        live["deleted"].events.unlink()
        other = live["replaced"].folder / "other"
        other.write_bytes(fakes.encoded(fakes.story(epochs=4)))
        other.replace(live["replaced"].events)
        with live["nonsense"].events.open("ab") as file:
            file.write(b"\xff\x00nonsense\n{}\n[1]\n")
        year = datetime.datetime(2031, 1, 1, tzinfo=datetime.UTC)
        fakes.stand(live["clock"], "running", age=(datetime.datetime.now(datetime.UTC) - year).total_seconds())
        await pilot.pause(1.3)  # Longer than between two scans.
        for number, run in enumerate(live.values()):
            fakes.append(run.events, list(fakes.epoch("train", 7, 10, 0.911 + number / 100)))
        figures = [f"{0.911 + number / 100:.3f}" for number in range(5)]
        await become(pilot, lambda: all(figure in "\n".join(screen(app)) for figure in figures))

    drive(script)


def test_no_size_breaks_the_layout() -> None:
    three()

    async def script(app: Dashboard, pilot: Pilot[None]) -> None:
        for width, height in ((80, 24), (99, 30), (100, 30), (300, 80), (40, 10), (20, 5)):
            await pilot.resize_terminal(width, height)
            await settle(pilot)
            lines = screen(app)
            assert len(lines) == height
            if width >= 80:
                whole = "\n".join(lines)
                assert "loss" in whole
                assert "Overlay" in whole
                assert view(app).has_class("-narrow") == (width < 100)
                assert app.query_one(RunList).size.height >= 5

    drive(script, size=(200, 60))


def test_hundreds_of_runs_scroll(home: Path) -> None:
    source = fakes.run("run-0", age=1.0)
    files = {name: (source.folder / name).read_bytes() for name in ("run.json", "recipe.toml", "events.jsonl")}
    for i in range(1, 200):
        folder = home / "runs" / f"run-{i}"
        folder.mkdir()
        for name, content in files.items():
            (folder / name).write_bytes(content)

    async def script(app: Dashboard, pilot: Pilot[None]) -> None:
        assert len(names(app)) == 200
        await press(pilot, "end")
        assert app.query_one(RunList).cursor == 199
        assert current(app) in "\n".join(screen(app))
        await press(pilot, "home", "pagedown", "up")
        assert 10 < app.query_one(RunList).cursor < 60

    drive(script)


def test_the_mouse_does_what_keys_do() -> None:
    three()

    async def script(app: Dashboard, pilot: Pilot[None]) -> None:
        await pilot.click(RunList, offset=(12, 3))
        assert current(app) == "alone"
        await pilot.click(RunList, offset=(1, 4))
        assert view(app).marked == ("broken",)
        chart = view(app).charts.shown[0]
        await pilot.click(chart, offset=(20, 5))
        assert view(app).charts.x is not None
        await press(pilot, "0", "plus")
        before, at = view(app).charts.window, view(app).charts.x
        assert before is not None
        await pilot.mouse_down(chart, offset=(20, 5))
        await pilot.hover(chart, offset=(15, 5))
        await pilot.mouse_up(chart, offset=(15, 5))
        after = view(app).charts.window
        assert after is not None
        assert after[0] > before[0]
        assert after[1] - after[0] == pytest.approx(before[1] - before[0])
        assert view(app).charts.x == at
        await pilot.hover(chart, offset=(25, 5))
        assert view(app).charts.window == after

    drive(script)
