"""Options made from their declarations: in the help, on the command line, and when a number is out of range."""

from pathlib import Path
from typing import get_args

import pytest
import typer
from typer.testing import CliRunner

from lungcli.cli import options
from lungcli.cli.app import program
from lungcli.core import commands
from lungcli.core.errors import UsageError
from lungcli.core.options import Group
from tests.cli.conftest import call, draw_phantoms


def shown(command: str) -> str:
    done = CliRunner().invoke(program(), [command, "--help"])
    assert done.exit_code == 0
    return done.stdout


def squeezed(text: str) -> str:
    """Lines of the help end where the terminal does."""
    return "".join(text.split())


@pytest.mark.parametrize("command", ["train", "distill", "compress", "search", "quantize"])
def test_the_help_has_every_option_with_its_default_and_range_in_its_group(command: str) -> None:
    text = shown(command)
    sections = {part.partition(":\n")[0]: squeezed(part.partition(":\n")[2]) for part in text.split("\n\n")}
    for option in commands.options(command):
        facts = [f"default {option.default_text}"] * bool(option.default_text) + [option.range] * bool(option.range)
        output = f"{option.help} [{', '.join(facts)}]" if facts else option.help
        section = sections[option.group or ""]
        assert squeezed(output) in section, option.field
        assert all(name in section for name in option.names), option.field
    titles = [title for title in sections if title in get_args(Group)]
    assert titles[: len(titles) - (command != "quantize")] == [
        title for title in get_args(Group) if title in {option.group for option in commands.options(command)}
    ]


def test_the_help_reads_well() -> None:
    text = squeezed(shown("compress"))
    for line in (
        "--size PIXELS  Side of the slice in pixels [default 224, 32 to 1024]",
        "-t, --teacher RUN|NET  Run or net; repeat for a mean [default resnet18]",
        "--devices N  GPUs, or processes, to share a batch [default 1, 1 to 1024]",
        "--keep best|last  Epoch to keep, best by validation [default best]",
    ):
        assert squeezed(line) in text


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["train", "-m", "resnet18", "--size", "30"], "--size is 30, outside 32 to 1024"),
        (["distill", "-s", "mnasnet", "-t", "resnet18", "--lr", "11"], "--learning-rate is 11.0, outside 1e-07 to 10"),
        (["compress", "-s", "mnasnet", "--max-drop", "2"], "--max-drop is 2.0, outside 0 to 1"),
        (["compress", "--recipe", "fast", "--batch", "1"], "--batch is 1, outside 2 to 4096"),
        (
            ["train", "-m", "resnet18", "-d", "phantom", "--folds", "3", "--fold", "4"],
            "--fold is 4, outside 1 to 3: a run trains on one",
        ),
        (["quantize", "run", "--min-agreement", "1.1"], "--min-agreement is 1.1, outside 0 to 1"),
    ],
)
def test_a_number_out_of_range_is_one_line(home: Path, arguments: list[str], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        CliRunner().invoke(program(), arguments, catch_exceptions=False)


def test_a_number_out_of_range_exits_with_2(home: Path) -> None:
    done = call(home, "train", "--model", "resnet18", "--size", 30, check=2)
    assert done.stderr == "error: --size is 30, outside 32 to 1024\n"


def test_a_search_refuses_a_number_out_of_range_before_it_starts(workshop: Path) -> None:
    done = call(workshop, "search", "--student", "ownmodel", "--size", 64, "--size", 30, check=2)
    assert "--size is 30, outside 32 to 1024" in done.stderr


def settings(*arguments: str) -> options.Settings:
    """What a command would be given."""
    found: list[options.Settings] = []
    program = typer.Typer()

    @program.command()
    @options.with_options_of("compress", several=("size",))
    def work(settings: options.Settings, name: options.Name = "") -> None:
        found.append(settings)
        assert name == ("x" if "--name" in arguments else "")

    done = CliRunner().invoke(program, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return found[0]


def test_typed_options_are_distinguished_from_defaults(home: Path) -> None:
    draw_phantoms(home, "--slices", 72)
    usual = settings()
    assert (usual.typed, usual.chosen) == (frozenset(), {})
    assert usual.given == {"data": "phantom", "teacher": ["resnet18"]}
    assert usual.values["epochs"] == 30

    typed = settings("--epochs", "30", "-t", "a", "-t", "b", "--pretrained", "--name", "x")
    assert typed.typed == {"epochs", "teacher", "pretrained", "name"}
    assert typed.given == {"data": "phantom", "teacher": ["a", "b"], "epochs": 30, "pretrained": True}


def test_a_repeatable_option_is_a_list_of_texts() -> None:
    assert settings("--size", "128", "--size", "30").chosen == {"size": ["128", "30"]}
    assert settings().values["size"] == []
