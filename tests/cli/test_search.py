"""`lungcli search` as typed: killed on the way, shared by two processes, shown again, and refused in one line."""

import json
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from lungcli.cli import console
from lungcli.cli.app import program
from lungcli.core.errors import UsageError
from lungcli.datasets.phantom import dataset
from lungcli.tui.models import pareto, table
from lungcli.tui.runs.run_watcher import RunWatcher
from tests.cli.conftest import LUNGCLI, SMALL, call, draw_phantoms, environment

pytestmark = pytest.mark.long

SEARCH = ["search", "--student", "ownmodel", "--teacher", "ownmodel", *SMALL, "--epochs", "2", "--bits", "32"]
SEARCH += ["--lr", "1e-3", "--lr", "2e-3", "--lr", "3e-3", "--lr", "4e-3", "--study", "rates", "--trials", "4"]


def started(home: Path, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [LUNGCLI, *arguments], env=environment(home), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


Searched = tuple[Path, str, str]


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Searched:
    """A home in which a search was killed in its first trial and then finished by two processes, and what these said.

    The second is told nothing but the study's name.
    """
    home = tmp_path_factory.mktemp("searched")
    draw_phantoms(home, "--slices", 72)
    doomed = started(home, *SEARCH)
    events = home / "runs" / "rates-0000" / "events.jsonl"
    deadline = time.monotonic() + 240
    while not (events.exists() and "checkpoint-written" in events.read_text()):
        assert time.monotonic() < deadline
        assert doomed.poll() is None, doomed.communicate()
        time.sleep(0.01)
    doomed.kill()
    doomed.communicate()
    assert doomed.returncode == -signal.SIGKILL
    two = [started(home, *SEARCH), started(home, "search", "--study", "rates", "--trials", "4")]
    output = [process.communicate(timeout=280) for process in two]
    assert [process.returncode for process in two] == [0, 0], output
    return home, output[0][1], output[1][1]


def typed(home: Path, *arguments: str) -> Result:
    """The outcome of a command in `home`, in this process, on consoles as wide as it is told."""
    console.out.cache_clear()
    console.err.cache_clear()
    done = CliRunner(env={"LUNGCLI_HOME": str(home), "COLUMNS": "120"}).invoke(program(), arguments)
    assert done.exit_code == 0, done.exception
    return done


def facts(home: Path) -> dict[str, object]:
    document: dict[str, object] = json.loads(typed(home, "search", "--study", "rates", "--show", "--json").stdout)
    return document


def test_two_processes_share_the_trials_without_repeating_any(
    searched: Searched,
) -> None:
    home, *said = searched
    output = [set(re.findall(r"^trial (\d+) \(.*\): .* kB, .* on validation$", err, re.MULTILINE)) for err in said]
    trials = facts(home)["trials"]
    assert isinstance(trials, list)

    assert output[0].isdisjoint(output[1])
    assert output[0] | output[1] == {str(each["trial"]) for each in trials}
    assert sorted(each["drawn"]["learning_rate"] for each in trials) == [0.001, 0.002, 0.003, 0.004]
    assert {each["state"] for each in trials} == {"complete"}
    assert len({each["run"] for each in trials}) == 4
    # The run of the killed trial was gone on with, under another number, from its first epoch on.
    (again,) = [each for each in trials if each["run"] == "rates-0000"]
    assert again["trial"] > 0
    stages = [event for event in events(home, "rates-0000") if event["type"] == "run-started"]
    assert [event["resumed"] for event in stages] == [False, True]
    assert [e["epoch"] for e in events(home, "rates-0000") if e["type"] == "epoch-done"] == [1, 2]


def events(home: Path, run: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in (home / "runs" / run / "events.jsonl").read_text().splitlines()]


def test_trials_are_runs_like_any_other_and_none_has_figures_of_the_test_part(
    searched: Searched,
) -> None:
    home = searched[0]
    listed = json.loads(typed(home, "runs", "list", "--json").stdout)["runs"]
    assert {(run["name"].rpartition("-")[0], run["state"]) for run in listed} == {
        ("rates", "done"),
        ("train-ownmodel", "done"),
    }
    assert {json.loads((home / "runs" / run["name"] / "tags.json").read_text())[0] for run in listed} == {"rates"}
    rows = json.loads(typed(home, "compare", "--seconds", "0", "--json").stdout)["rows"]
    assert {row["name"].rpartition("/")[2] for row in rows} == {"train", "teacher", "student"}
    assert [row["figures"] for row in rows] == [None] * 9


def test_comparing_trials_never_evaluates_them_on_the_test_part(searched: Searched) -> None:
    home = searched[0]
    trials = facts(home)["trials"]
    assert isinstance(trials, list)
    first, second = (f"{each['run']}" for each in trials[:2])
    stages = [f"{first}/{path.parent.name}" for path in (home / "runs" / first).glob("*/model.onnx")]
    assert len(stages) > 1
    named = (second, *stages)
    rows = json.loads(typed(home, "compare", *named, "--seconds", "0", "--json").stdout)["rows"]
    assert [(row["figures"], row["difference"]) for row in rows] == [(None, None)] * len(named)
    assert "lungcli evaluate RUN" in call(home, "compare", first, second, "--flips", check=2).stderr


def test_the_dashboard_lists_trials_and_how_they_did_on_validation(
    searched: Searched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LUNGCLI_HOME", str(searched[0]))
    watcher = RunWatcher()
    watcher.scan()
    while watcher.behind and watcher.read(60):
        pass
    trials = facts(searched[0])["trials"]
    assert isinstance(trials, list)
    tried = {each["run"] for each in trials}
    rows = [row for row in watcher.rows() if row.name in tried]
    assert len(rows) == len(tried) == 4
    assert {row.state for row in rows} == {"done"}
    assert all(row.best and row.best.balanced_accuracy is not None for row in rows)


def test_the_dashboard_sets_trials_side_by_side_on_validation(
    searched: Searched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LUNGCLI_HOME", str(searched[0]))
    trials = facts(searched[0])["trials"]
    assert isinstance(trials, list)
    entries = table.read_all("", trials=True)
    scores = {entry.name.partition("/")[0]: entry.row.figures for entry in entries if entry.row}
    assert {name: found and found.estimates["balanced_accuracy"].value for name, found in scores.items()} == {
        each["run"]: each["balanced_accuracy"]["value"] for each in trials
    }
    assert {found and found.part for found in scores.values()} == {"val"}
    points = table.points(entries, entries[0].row, {}, speed=False, on="")
    assert all(point.fair for point in points)
    assert pareto.front(points)


def test_the_front_is_printed_at_the_end_and_again(searched: Searched) -> None:
    home = searched[0]
    shown = typed(home, "search", "--study", "rates", "--show")

    head, *rows = shown.stdout.splitlines()[-len(facts(home)["front"]) - 1 :]  # type: ignore[arg-type]
    assert re.split(r"\s{2,}", head.strip()) == [
        "trial",
        "run",
        "student and settings",
        "size",
        "p50 ms",
        "on validation",
    ]
    for row in rows:
        settings = r"ownmodel, size 64, bits 32, learning rate 0.00[1-4]"
        assert re.fullmatch(rf" +\d +rates-000\d +{settings} +\d+ kB +\d\.\d\d +[01]\.\d{{3}} \[.*\] *", row), row
    assert "study rates: 4 trials, 4 complete" in shown.stderr
    assert "validation slices of" in shown.stderr
    assert "the figures of the best of 4 trials are too high" in shown.stderr
    assert "the test part was not used: the best of these need not be the best there" in shown.stderr
    command = re.search(r"evaluate it once on the test part: lungcli (evaluate) '(rates-\d+)'", shown.stderr)
    assert command
    assert "test part of the model's own grouped split" in typed(home, *command.groups()).stdout


def test_json_has_the_plan_the_trials_and_the_front(
    searched: Searched,
) -> None:
    output = facts(searched[0])
    assert list(output) == ["schema_version", "disclaimer", "study", "storage", "plan", "part", "trials", "front"]
    assert output["part"] == "val"
    trial = output["trials"][0]  # type: ignore[index]
    assert list(trial) == [
        *("trial", "state", "run", "host", "cpu", "drawn", "bytes", "p50", "balanced_accuracy", "n", "groups"),
        *("within_limits", "problem"),
    ]
    assert set(trial["balanced_accuracy"]) == {"value", "low", "high"}


REFUSED: list[tuple[list[str], str]] = [
    ([], "no student is named"),
    (["--student", "mobilenet9"], "unknown model 'mobilenet9'"),
    (["--student", "ownmodel", "--method", "magic"], "unknown method 'magic'"),
    (["--student", "ownmodel", "--bits", "4"], "--bits 4 is not possible"),
    (["--student", "ownmodel", "--size", "64:128"], "--size 64:128 is neither values nor a range"),
    (["--student", "ownmodel", "--lr", "1e-2:1e-4"], "--learning-rate 1e-2:1e-4 is no range"),
    (["--student", "ownmodel", "--temperature", "warm"], "--temperature 'warm' is no number"),
    (["--student", "ownmodel", "--split", "random"], "a search selects models on the validation part"),
    (["--student", "ownmodel", "--max-size", "1 apple"], "--max-size '1 apple' is not a size"),
    (["--student", "ownmodel", "--study", "my study"], "'my study' cannot be the name of a study"),
    (["--student", "ownmodel", "--data", "nothing"], "unknown data set 'nothing'"),
    (["--study", "other", "--show"], "there is no study 'other' in "),
]


def test_impossible_settings_are_one_line_and_start_no_study(home: Path) -> None:
    dataset.make_dataset(slices=45, side=64)
    for arguments, message in REFUSED:
        done = CliRunner().invoke(program(), ["search", *arguments])
        assert isinstance(done.exception, UsageError), done.exception
        assert message in done.exception.message
    assert not (home / "searches").exists()


def test_several_data_sets_are_searched_as_one(workshop: Path, home: Path) -> None:
    slices = workshop / "data" / "phantom" / "slices"
    for name in ("north", "south"):
        (home / name).mkdir()
        for label in ("malignant", "normal"):
            shutil.copytree(slices / label, home / name / label)
        call(home, "data", "import", home / name)
    # One trial begins at most within so short a time.
    command = ["search", "--student", "ownmodel", *SMALL, "-d", "south", "-d", "north", "--timeout", 0.001]

    done = call(home, *command, "--json")

    document = json.loads(done.stdout)
    assert "south, north are combined as 'north+south'" in done.stderr
    assert (document["study"], document["plan"]["settings"]["data"]) == ("search-north+south", "north+south")
    # The same command goes on with the same study.
    assert json.loads(call(home, *command, "--json").stdout)["plan"] == document["plan"]


@pytest.mark.parametrize(
    ("typed", "meant"), [("800kB", 800_000), ("1.5 MB", 1_500_000), ("1500000", 1_500_000), ("2MB", 2_000_000)]
)
def test_sizes_are_read_as_people_write_them(typed: str, meant: int) -> None:
    from lungcli.cli import search

    assert search.parse_size(typed) == meant


def test_a_trial_is_reproduced_without_the_test_part(searched: Searched, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(searched[0], home)
    trial = min(path.name for path in (home / "runs").glob("rates-*"))
    done = call(home, "runs", "reproduce", trial)
    assert f"{trial}-again repeats {trial}" in done.stderr
    assert not list((home / "runs" / f"{trial}-again").glob("*/evaluation.json"))
