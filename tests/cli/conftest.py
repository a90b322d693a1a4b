"""A home with phantoms and one finished compression, made once through the command."""

import atexit
import functools
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lungcli.cli import console
from tests import forked
from tests.forked import LUNGCLI, Done

__all__ = ["LUNGCLI", "Done"]

# Small enough for seconds, large enough that every class is in every part.
SMALL = ["--size", "64", "--epochs", "2", "--batch", "16", "--precision", "float32", "--device", "cpu"]
# Another net than the student, which the exporter is done with in a few seconds.
TEACHER = "squeezenet"
COMPRESS = ["compress", "--student", "ownmodel", "--teacher", TEACHER, *SMALL, "--max-drop", "1"]
RUN = "compress-ownmodel-phantom"
# Slices that the models of that run have not seen, drawn once for all tests.
OTHERS = ("--slices", 45, "--seed", 9, "--name", "others")


def environment(home: Path) -> dict[str, str]:
    """The environment of a process with its own home."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("LUNGCLI", "NO_COLOR"))}
    return kept | {
        "LUNGCLI_HOME": str(home),
        "LUNGCLI_CONFIG": str(home / "config.toml"),
        "COLUMNS": "120",
        "PYTHONWARNINGS": "error::DeprecationWarning:lungcli",
    }


def call(home: Path, *arguments: object, check: int | None = 0, timeout: float = 300) -> Done:
    """Run the command in `home`; its exit code must be `check`."""
    done = forked.run(arguments, environment(home), timeout)
    if check is not None:
        assert done.returncode == check, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def draw_phantoms(home: Path, *options: object) -> None:
    """Give a home what `lungcli data phantom` draws, and what all such homes have found out of nets.

    To draw takes seconds, and so does trying whether a net can be exported: once a process for the same options.
    """
    shutil.copytree(_drawn(*options) / "data", home / "data", dirs_exist_ok=True)
    if not (home / "exportable").exists():
        (home / "exportable").symlink_to(_folder(), target_is_directory=True)


@functools.cache
def _drawn(*options: object) -> Path:
    home = _folder(*options)
    call(home, "data", "phantom", *options)
    return home


@functools.cache
def _folder(*options: object) -> Path:
    """A folder for what is made with these options, which lasts as long as this process."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    return folder


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Done]:
    """The home, and what the compression said. Tests must not change it: see `workshop`."""
    home = tmp_path_factory.mktemp("made")
    draw_phantoms(home, "--slices", 72)
    return home, call(home, *COMPRESS)


@pytest.fixture
def workshop(made: tuple[Path, Done]) -> Path:
    """The home that all tests of the command share, for reading and for adding to."""
    return made[0]


@pytest.fixture
def own_workshop(made: tuple[Path, Done], tmp_path: Path) -> Path:
    """A copy of that home, to change at will."""
    copy = tmp_path / "home"
    shutil.copytree(made[0], copy)
    return copy


@pytest.fixture
def slices(workshop: Path) -> list[Path]:
    """Pictures of the phantom set, a few of each class."""
    folder = workshop / "data" / "phantom" / "slices"
    return [path for label in ("benign", "malignant", "normal") for path in sorted((folder / label).iterdir())[:3]]


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Consoles of 80 columns, which go with the test."""
    monkeypatch.setenv("COLUMNS", "80")
    console.out.cache_clear()
    console.err.cache_clear()
    yield
    console.out.cache_clear()
    console.err.cache_clear()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests of the command on one worker, so that the home is made once."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("command"))
