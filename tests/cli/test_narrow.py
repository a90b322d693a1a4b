"""Of 20 columns: every command speaks, and in a pipe, which has no width, no name is broken in two."""

import re
from pathlib import Path

import pytest

from tests import forked
from tests.cli.conftest import RUN, environment
from tests.cli.test_help_pages import EVERY
from tests.forked import Done

COMMANDS = (
    "",
    "compare --seconds 0.05",
    f"compare {RUN} --wide --seconds 0.05",
    "config list",
    "data check phantom",
    "data groups phantom",
    "data list",
    "data show phantom",
    "data split phantom --json",
    "doctor",
    "models card bundled",
    f"models card {RUN}",
    "models list",
    "recipes list",
    "recipes show default",
    "runs list",
    f"runs show {RUN}",
)


def run(home: Path, command: str, **env: str) -> Done:
    done = forked.run(command.split(), environment(home) | env, 300)
    assert "Traceback" not in done.stderr
    assert "unforeseen" not in done.stderr
    return done


@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_piped_has_no_width(workshop: Path, command: str) -> None:
    narrow, wide = (run(workshop, command, COLUMNS=columns) for columns in ("20", "400"))
    assert narrow.returncode == wide.returncode == 0, narrow.stderr
    # Those that run it are timed anew.
    same = [re.sub(r"[\d.]+‡?\*?|  +", " ", done.stdout) for done in (narrow, wide)]
    assert same[0] == same[1]
    assert narrow.stdout


@pytest.mark.parametrize("command", [*COMMANDS, "help", "help predictions", *(f"{name} --help" for name in EVERY)])
def test_a_terminal_of_twenty_columns(workshop: Path, command: str) -> None:
    done = run(workshop, command, COLUMNS="20", FORCE_COLOR="1", LINES="10")
    assert done.returncode == 0, done.stderr
    assert done.stdout
