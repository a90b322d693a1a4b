"""The README and the pages beside it: short enough to read, and every command, path and link in them is real."""

import importlib.util
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main

import lungcli
from lungcli.cli.app import program

ROOT = Path(lungcli.__file__).parent.parent
README = ROOT / "README.md"
PAGES = sorted(
    [
        README,
        *(ROOT / ".github").glob("*.md"),
        *(ROOT / "lungcli").rglob("*.md"),
        *(ROOT / "tests").rglob("*.md"),
    ]
)

pytestmark = pytest.mark.skipif(not (ROOT / ".github").is_dir(), reason="pages lie in a clone, not in an installation")


def commands(page: Path) -> Iterator[str]:
    """The lines of a page's fenced blocks and inline code that call lungcli."""
    text = page.read_text()
    for block in re.findall(r"^```(?:sh|console)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        yield from (line for line in block.splitlines() if re.search(r"(^|[ /])lungcli [a-z]", line))
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    yield from (code for code in re.findall(r"`(lungcli [^`]+)`", prose))


def arguments(line: str) -> list[str]:
    """What follows the word lungcli in a line of shell, up to a comment, a pipe or a redirection."""
    words = shlex.split(re.sub(r"\s+#.*", "", line))
    words = words[next(at for at, word in enumerate(words) if word.split("/")[-1] == "lungcli") + 1 :]
    ends = (at for at, word in enumerate(words) if word in {"|", ">", "<", "&&"})
    return words[: next(ends, len(words))]


@pytest.mark.parametrize(
    ("page", "line"),
    [
        pytest.param(page, line, id=f"{page.parent.name}-{line}")
        for page in PAGES
        for line in dict.fromkeys(commands(page))
    ],
)
def test_commands_of_the_pages_parse(page: Path, line: str) -> None:
    command = typer.main.get_command(program())
    words = arguments(line)
    names = ["lungcli"]
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        assert words[0] in command.commands, f"no such command: {line}"
        names.append(words.pop(0))
        command = command.commands[names[-1]]
    context = command.context_class(command, info_name=" ".join(names))
    command.make_parser(context).parse_args(words)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text())
    for link in links:
        assert link.startswith("https://") or (page.parent / link).exists(), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_named_modules_and_files_exist(page: Path) -> None:
    text = page.read_text()
    for module in re.findall(r"python -m ((?:tests|lungcli)[.\w]*)", text):
        assert importlib.util.find_spec(module), module
    for path in re.findall(r"`((?:tests|lungcli)/[\w./-]+)`", text):
        assert (ROOT / path).exists(), path


def test_the_readme_is_a_page_that_begins_with_a_prediction() -> None:
    text = README.read_text()
    assert len(text.encode()) <= 10_000
    first_lines = text.splitlines()[:20]
    assert any(line.startswith("lungcli predict ") for line in first_lines)


def test_the_tree_in_the_readme_is_that_of_the_folders() -> None:
    package = ROOT / "lungcli"
    named = {line.split("/")[1] for line in README.read_text().splitlines() if line.startswith("lungcli/")}
    assert named == {path.name for path in package.iterdir() if path.is_dir() and path.name != "__pycache__"}
