"""Foreign names never command the terminal: whatever is printed, nothing in it moves, colours or reorders anything."""

import asyncio
import os
import re
import subprocess
from pathlib import Path

import pytest

from lungcli.cli import console
from lungcli.core import formatting
from lungcli.tui.app import Dashboard
from tests.cli.conftest import LUNGCLI, environment
from tests.security.planted import DATA, NASTY, RUN, plant
from tests.tui import pilots

pytestmark = pytest.mark.long

# Everything that is no character to be seen, but for the end of a line.
COMMANDS = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
MODEL = f"{RUN}/train"


@pytest.fixture
def folder(home: Path, tmp_path: Path) -> Path:
    return plant(tmp_path / "pictures")


ASKED: tuple[tuple[str, ...], ...] = (
    ("models", "list"),
    ("models", "list", "--json"),
    ("models", "card", MODEL),
    ("models", "card", f"no{NASTY}"),
    ("runs", "list"),
    ("runs", "list", "--json"),
    ("runs", "show", RUN),
    ("runs", "show", RUN, "--json"),
    ("runs", "resume", RUN),
    ("runs", "reproduce", RUN),
    ("compare", "--seconds", "0"),
    ("compare", "--seconds", "0", "--json"),
    ("compare", "--seconds", "0", "--csv"),
    ("compare", "--seconds", "0", "--markdown"),
    ("compare", MODEL, MODEL, "--seconds", "0", "--flips"),
    ("benchmark", MODEL, "--seconds", "0.01"),
    ("evaluate", MODEL),
    ("calibrate", MODEL),
    ("quantize", MODEL),
    ("data", "list"),
    ("data", "list", "--json"),
    ("data", "show", DATA),
    ("data", "show", DATA, "--json"),
    ("data", "verify", DATA),
    ("data", "groups", DATA),
    ("data", "check", DATA),
    ("data", "check", DATA, "--json"),
    ("data", "split", DATA),
    ("data", "show", f"no{NASTY}"),
    ("data", "import", "FOLDER", "--name", f"x{NASTY}"),
    ("data", "import", "FOLDER"),
    ("dashboard", "--once"),
    ("recipes", "show", f"no{NASTY}"),
    ("train", "--recipe", f"no{NASTY}.toml"),
    ("train", "--model", f"no{NASTY}"),
    ("train", "--model", "resnet18", "--data", DATA, "--size", "32", "--epochs", "0"),
    ("predict", "--model", MODEL, "FOLDER"),
    ("predict", "--model", MODEL, "--force", "FOLDER"),
    ("predict", "--model", MODEL, "--force", "--json", "FOLDER"),
    ("predict", "--model", MODEL, "--force", "--jsonl", "FOLDER"),
    ("predict", "--model", MODEL, "--force", "--csv", "FOLDER"),
    ("predict", "--model", MODEL, "--force", "--include-phi", "FOLDER"),
    ("predict", "--model", MODEL, "--force", "--output", "OUT", "FOLDER"),
    ("predict", "--model", MODEL, "--force", "ONE"),
    ("predict", "--model", MODEL, f"no{NASTY}.png"),
)


def test_every_command_shows_foreign_names_without_control_sequences(home: Path, folder: Path, tmp_path: Path) -> None:
    one = next(folder.rglob("slice*.png"))
    places = {"FOLDER": str(folder), "OUT": str(tmp_path / "out"), "ONE": str(one)}
    shown_at_all = 0
    for asked in ASKED:
        done = subprocess.run(
            [LUNGCLI, *(places.get(word, word) for word in asked)],
            env=environment(home),
            capture_output=True,
            timeout=600,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        output = done.stdout.decode() + done.stderr.decode()
        assert not (found := COMMANDS.findall(output)), (asked, found, output)
        assert "unforeseen" not in output, (asked, output)
        assert "Traceback" not in output, (asked, output)
        shown_at_all += "owned" in output
    # What is not shown could not do harm anyway.
    assert shown_at_all > len(ASKED) // 2
    for path in (tmp_path / "out").iterdir():
        assert not COMMANDS.search(path.name)
        assert not COMMANDS.search(path.read_text())


def test_a_colour_terminal_gets_no_other_sequences_than_colours(home: Path, folder: Path) -> None:
    settings = environment(home) | {"FORCE_COLOR": "1", "TERM": "xterm-256color", "COLUMNS": "200"}
    for asked in (["runs", "list"], ["models", "list"], ["data", "show", DATA], ["runs", "show", RUN]):
        done = subprocess.run([LUNGCLI, *asked], env=settings, capture_output=True, timeout=600, check=False)
        output = (done.stdout + done.stderr).decode()
        assert "owned" in output
        assert not COMMANDS.search(re.sub(r"\x1b\[[0-9;]*m", "", output).replace("\x1b[1m", ""))


def test_the_dashboard_shows_foreign_names_without_control_sequences(folder: Path) -> None:
    async def look() -> str:
        seen = []
        app = Dashboard("runs")
        async with app.run_test(size=(200, 60)) as pilot:
            for keys in (
                ("1",),
                ("enter",),
                ("escape",),
                ("2",),
                ("3",),
                ("down",),
                ("4",),
                ("5",),
                ("enter",),
                ("6",),
            ):
                await pilot.press(*keys)
                for _ in range(6):
                    await pilot.pause(0.1)
                seen += pilots.screen(app)
                seen += [notice.message for notice in app._notifications]
        return "\n".join(seen)

    output = asyncio.run(look())
    assert "owned" in output
    assert not COMMANDS.search(output)


@pytest.mark.parametrize("letter", ["\x1b", "\x07", "\x9b", "\u202e", "\r", "\x08", "\u2066"])
def test_plain_makes_every_control_character_visible(letter: str) -> None:
    assert not COMMANDS.search(formatting.plain(f"a{letter}b"))
    assert formatting.plain_lines(f"a\nb{letter}").count("\n") == 1
    assert not COMMANDS.search(formatting.plain_json(f'"{letter}"'))


def test_a_table_makes_any_text_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.table import Table

    console.out.cache_clear()
    table = Table(title=NASTY)
    table.add_column(NASTY)
    table.add_row(NASTY)
    console.out().print(table)
    console.out.cache_clear()
    stdout = capsys.readouterr().out
    assert stdout.count("[red]") == 3
    assert not COMMANDS.search(stdout)
    assert os.linesep in stdout
