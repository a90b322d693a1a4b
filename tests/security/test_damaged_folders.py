"""One damaged run or data set: every command names it and passes it over, within bounds, and it can be removed."""

import os
import resource
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from lungcli.core import runs
from lungcli.datasets import manifest
from tests.cli.conftest import LUNGCLI, environment
from tests.imaging import pictures
from tests.security.test_models import a_run

pytestmark = pytest.mark.long

Harm = Callable[[Path], object]
MOST_SECONDS, MOST_MEMORY = 20, 1 << 30


def deep(name: str, before: str = "", after: str = "") -> Harm:
    """Lists in lists, 100,000 deep."""
    return lambda run: (run / name).write_text(f"{before}{'[' * 100_000}{']' * 100_000}{after}\n")


def pipe(name: str) -> Harm:
    def harm(run: Path) -> None:
        (run / name).unlink(missing_ok=True)
        os.mkfifo(run / name)

    return harm


def folder(name: str) -> Harm:
    def harm(run: Path) -> None:
        (run / name).unlink(missing_ok=True)
        (run / name).mkdir()

    return harm


def nested(run: Path) -> None:
    """Folders in folders."""
    here = os.open(run, os.O_RDONLY)
    for _ in range(300):
        os.mkdir("d", dir_fd=here)
        inner = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)


RUNS: dict[str, Harm] = {
    "run.json nested deep": deep("run.json", '{"kind":"train","x":', "}"),
    "run.json as a pipe": pipe("run.json"),
    "run.json as a folder": folder("run.json"),
    "run.json without end": lambda run: os.truncate(run / "run.json", 1 << 40),
    "a recipe nested deep": deep("recipe.toml", "x = "),
    "a recipe of one dotted key": lambda run: (run / "recipe.toml").write_text("a" + ".a" * 100_000 + " = 1"),
    "a recipe of many dotted keys": lambda run: (run / "recipe.toml").write_text(("a." * 60 + "a = 1\n") * 2_000),
    "a recipe of a number without end": lambda run: (run / "recipe.toml").write_text("epochs = " + "9" * 100_000),
    "a recipe as a pipe": pipe("recipe.toml"),
    "events as a pipe": pipe("events.jsonl"),
    "a lock as a pipe": pipe(".lock"),
    "a model file as a pipe": pipe("train/model.onnx"),
}
"""Damage for which a run cannot be opened."""

LATER: dict[str, Harm] = {
    "events nested deep": deep("events.jsonl", '{"type":"run-failed","x":', "}"),
    "a line of events without end": lambda run: (run / "events.jsonl").write_text("x" * 30_000_000),
    "events as a folder": folder("events.jsonl"),
    "tags nested deep": deep("tags.json"),
    "an evaluation nested deep": deep("train/evaluation.json", '{"x":', "}"),
    "folders nested deep": nested,
    "a lock as a folder": folder(".lock"),
}
"""Damage to what is read later, or never."""


def bounded() -> None:
    """Limit what this process may take, once it is forked."""
    resource.setrlimit(resource.RLIMIT_DATA, (MOST_MEMORY, MOST_MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (MOST_SECONDS, MOST_SECONDS))


def called(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command with bounded memory and time. Fails where it needs more, or does not say what is wrong."""
    done = subprocess.run(
        [LUNGCLI, *arguments],
        env=environment(home) | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=6 * MOST_SECONDS,
        preexec_fn=bounded,
        check=False,
    )
    assert "unforeseen" not in done.stderr, done
    assert "Traceback" not in done.stderr, done
    assert done.returncode >= 0, done
    return done


@pytest.mark.parametrize("name", [*RUNS, *LATER])
def test_a_damaged_run_is_named_passed_over_and_removed(name: str, home: Path) -> None:
    whole, harmed = a_run("whole"), a_run("harmed")
    {**RUNS, **LATER}[name](harmed)
    opened, problems = runs.readable()
    if name in RUNS:
        assert [run.name for run in opened] == ["whole"]
        assert len(problems) == 1
        assert "harmed" in problems[0].message
    listed = called(home, "runs", "list")
    assert listed.returncode == 0
    assert "whole" in listed.stdout
    assert "harmed" in listed.stdout + listed.stderr
    for asked in (("runs", "show", "harmed"), ("compare", "--seconds", "0"), ("runs", "resume", "harmed")):
        done = called(home, *asked)
        assert done.stderr.count("error: ") <= 1
    removed = called(home, "runs", "remove", "harmed", "--yes")
    assert removed.returncode == 0, removed
    assert not harmed.exists()
    assert whole.exists()


@pytest.mark.parametrize(
    "harm",
    [deep(manifest.FILE, '{"x":', "}"), pipe(manifest.FILE), folder(manifest.FILE)],
    ids=["nested deep", "a pipe", "a folder"],
)
def test_a_damaged_data_set_is_named_passed_over_and_removed(harm: Harm, home: Path) -> None:
    for name in ("whole", "harmed"):
        (home / "data" / name).mkdir(parents=True)
        manifest.save(pictures.described([("benign", 2), ("normal", 2)]), home / "data" / name)
    harm(home / "data" / "harmed")
    listed = called(home, "data", "list")
    assert listed.stdout.count("some ") == 1
    assert "harmed" in listed.stdout + listed.stderr
    for command in ("verify", "check", "show", "split"):
        done = called(home, "data", command, "harmed")
        assert done.returncode in (2, 4), done
        assert done.stderr.count("error: ") == 1
        assert "harmed" in done.stderr
    assert called(home, "data", "remove", "harmed", "--yes").returncode == 0
    assert not (home / "data" / "harmed").exists()
    shutil.rmtree(home / "data" / "whole")
