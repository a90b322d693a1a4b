"""Pages of help: examples first, panels, short lines of what commands do, no word cut in a narrow terminal."""

from collections.abc import Iterator
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

from lungcli.cli import help_pages, help_topics
from lungcli.cli.app import program
from lungcli.core import registry
from lungcli.core.errors import UsageError

# A screen and a half of 45 lines.
MOST_LINES = 67


def every_command() -> Iterator[tuple[str, Any]]:
    """All commands with their names, groups of commands and the program itself among them."""
    every = typer.main.get_command(program())
    yield "", every
    for name, command in vars(every)["commands"].items():
        yield name, command
        for below, subcommand in getattr(command, "commands", {}).items():
            yield f"{name} {below}", subcommand


EVERY = dict(every_command())


def page(name: str, width: int, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("COLUMNS", str(width))
    done = CliRunner().invoke(program(), [*name.split(), "--help"], prog_name="lungcli")
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("width", [80, 60])
def test_no_line_is_too_long_and_no_word_is_cut(name: str, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    text, widest = page(name, width, monkeypatch), page(name, help_pages.WIDEST, monkeypatch)
    assert max(map(len, text.splitlines())) <= width
    words, all_words = (sorted(word for word in shown.split() if word != "\\") for shown in (text, widest))
    assert words == all_words


@pytest.mark.parametrize("name", EVERY)
def test_a_page_is_a_screen_and_a_half(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(page(name, 80, monkeypatch).splitlines()) <= MOST_LINES


@pytest.mark.parametrize("name", EVERY)
def test_a_command_is_described_in_sixty_characters_and_its_examples_come_first(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = page(name, 80, monkeypatch)
    usage, about, third, *_ = text.split("\n\n")
    assert usage.startswith(f"Usage: {' '.join(['lungcli', *name.split()])}".rstrip())
    assert len(about.strip()) <= (70 if name == "" else 61), about
    if "Example" in text:
        assert third.startswith("Examples:\n  ")


def test_commands_stand_in_panels(monkeypatch: pytest.MonkeyPatch) -> None:
    text = page("", 80, monkeypatch)
    titles = [line.rstrip(":") for line in text.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert titles == ["Examples", *help_pages.COMMAND_PANELS, "Options"]
    assert "\n  compress  Train teacher and student, distil, quantize, compare\n" in text
    assert "\n  runs       Runs: " in text


def test_examples_are_wrapped_as_a_shell_reads_them() -> None:
    line = "lungcli train --model resnet18 --data phantom --folds 5  # cross-validation"
    assert help_pages.example(line, 80) == f"  {line}"
    assert help_pages.example(line, 50) == (
        "  # cross-validation\n  lungcli train --model resnet18 --data \\\n      phantom --folds 5"
    )


def test_a_long_name_has_its_own_line() -> None:
    assert help_pages.definitions([("--a", "first"), ("--name long|longer|the-longest", "second")], 40) == (
        "  --a  first\n  --name long|longer|the-longest\n       second"
    )


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["runs", "rm"], "`lungcli runs` has no command 'rm'", "did you mean 'remove'?"),
        (["data", "ls"], "`lungcli data` has no command 'ls'", "did you mean 'list'?"),
        (["models", "rm"], "`lungcli models` has no command 'rm'", "did you mean 'remove'?"),
        (["pridict"], "`lungcli` has no command 'pridict'", "did you mean 'predict'?"),
    ],
)
def test_an_unknown_command_is_answered_with_the_nearest(arguments: list[str], message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        CliRunner().invoke(program(), arguments, prog_name="lungcli", catch_exceptions=False)
    assert caught.value.message == message
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["predict", "--topp"], "no such option: --topp", "see `lungcli predict --help`"),
        (["predict", "--top"], "option '--top' requires an argument", "see `lungcli predict --help`"),
        (["train", "--size", "30"], "missing option '--model' / '-m'", "see `lungcli train --help`"),
        (["runs", "show"], "missing argument 'RUN'", "see `lungcli runs show --help`"),
        (["--nope"], "no such option: --nope", "see `lungcli --help`"),
    ],
)
def test_arguments_that_are_wrong_or_missing_are_one_line(arguments: list[str], message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        CliRunner().invoke(program(), arguments, prog_name="lungcli", catch_exceptions=False)
    assert caught.value.message.partition(" (")[0] == message
    assert caught.value.hint == hint


def test_a_command_without_its_subcommand_shows_its_page() -> None:
    done = CliRunner().invoke(program(), ["data"], prog_name="lungcli")
    assert done.output.startswith("Usage: lungcli data [OPTIONS] COMMAND")


def helped(*topic: str) -> str:
    done = CliRunner().invoke(program(), ["help", *topic], prog_name="lungcli", catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


def test_help_lists_its_topics_and_explains_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    listed = helped()
    for topic, (about, _) in help_topics.TOPICS.items():
        assert f"\n  {topic} " in listed
        text = helped(topic)
        assert text.startswith(f"{about}:\n")
        assert max(map(len, text.splitlines())) <= 60
    assert "".join(registry.METHODS["patient"].about.split()) in "".join(helped("methods").split())
    assert "patience 0)" in helped("methods")


def test_help_of_a_command_is_its_page(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("quantize", "runs"):
        assert helped(name) == CliRunner().invoke(program(), [name, "--help"], prog_name="lungcli").stdout


def test_an_unknown_topic_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="unknown topic 'exitcode'") as caught:
        CliRunner().invoke(program(), ["help", "exitcode"], catch_exceptions=False)
    assert "did you mean 'exit-codes'?" in caught.value.hint
    assert "quantize" in caught.value.hint
