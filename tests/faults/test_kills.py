"""`kill -9` at any moment: the next call goes on or says what to do, and nothing half is ever found under its name.

A few kills an operation here; 50 of each with `pytest -m long tests/faults`. The moments are drawn from a seed.
"""

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Collection
from pathlib import Path

import pytest

from lungcli.core import runs
from lungcli.core.events import BatchDone, EpochDone, Event, StageStarted, StrategyDone, StrategyStarted, decode
from tests.datasets.servers import Answer, Served
from tests.faults.commands import (
    TINY,
    Begun,
    Call,
    appears,
    events_of,
    figures,
    finished,
    grows,
    kill,
    kills,
    names_in,
    require_whole,
    results,
)
from tests.faults.conftest import RUN
from tests.imaging.pictures import zipped

pytestmark = pytest.mark.long

MANY = 50


def both(few: int) -> pytest.MarkDecorator:
    """A few kills in every run of the tests (none where it would last too long), many in the long one."""
    many = pytest.param(MANY, marks=pytest.mark.long, id="many")
    return pytest.mark.parametrize("count", [pytest.param(few, id="few"), many] if few else [many])


@both(2)
def test_download_goes_on(served: Served, slices: Path, tmp_path: Path, count: int) -> None:
    """From a source on loopback that sends slowly: what had arrived is not asked for again."""
    content = archive(slices, tmp_path)
    url = served.give(Answer(body=content, pause=0.2))
    home = tmp_path / "home"
    call = Call(home=home, arguments=("data", "download", "chest-ctscan", "--url", url))
    folder = home / "data" / ".chest-ctscan.download"
    for rng in draws(count):
        kill(call, lambda: any(part.stat().st_size for part in folder.glob("*.part")), 0.9, rng)
        require_whole(home)
        # It was over, or had nothing left to do but to say so.
        if "chest-ctscan" in names_in(home, "data"):
            shutil.rmtree(home)
    finished(call)
    require_whole(home)
    assert names_in(home, "data") == {".locks", "chest-ctscan"}
    if count < MANY:
        assert any(served.ranges())


@both(3)
def test_import_leaves_nothing_behind(slices: Path, tmp_path: Path, count: int) -> None:
    source, home = tmp_path / "set.zip", tmp_path / "home"
    source.write_bytes(archive(slices, tmp_path))
    call = Call(home=home, arguments=("data", "import", source, "--name", "mine"))
    for rng in draws(count):
        kill(call, appears(home / "data", ".mine.partial-*"), 0.5, rng)
        require_whole(home)
        # It was over, or had nothing left to do but to say so.
        if "mine" in names_in(home, "data"):
            shutil.rmtree(home / "data" / "mine")
    # Whatever data set comes next clears what is left.
    finished(Call(home=home, arguments=("data", "import", source, "--name", "other")))
    assert names_in(home, "data") <= {".locks", "mine", "other"}
    if "mine" not in names_in(home, "data"):
        finished(call)
    require_whole(home)
    assert names_in(home, "data") == {".locks", "mine", "other"}


@both(3)
def test_the_cache_is_whole_or_not_there(phantoms: Path, count: int) -> None:
    call = Call(home=phantoms, arguments=("evaluate", "bundled", "--data", "phantom", "--json"))
    folder = phantoms / "cache"
    for rng in draws(count):
        if not kill(call, appears(folder, ".*.partial"), 0.5, rng):
            shutil.rmtree(folder)
        require_whole(phantoms)
    finished(call)
    require_whole(phantoms)
    assert {item.suffix for item in folder.iterdir()} == {".npy", ".lock"}
    kept = next(folder.glob("*.npy")).read_bytes()
    shutil.rmtree(folder)
    finished(call)
    assert next(folder.glob("*.npy")).read_bytes() == kept


@both(2)
def test_a_training_that_was_killed_ends_as_an_unbroken_one(made: Path, phantoms: Path, count: int) -> None:
    """From the first event to the export of the net: weights, graph and the figures of every event, bit for bit."""
    call = Call(home=phantoms, arguments=("train", "--model", "ownmodel", "--name", RUN, *TINY))
    broken(call, RUN, work_of(made, RUN), count)
    same(made, phantoms, RUN)


@both(0)
def test_an_export_that_was_killed_is_done_again(made: Path, phantoms: Path, count: int) -> None:
    call = Call(home=phantoms, arguments=("train", "--model", "ownmodel", "--name", RUN, *TINY))
    trained = phantoms / "runs" / RUN / "train"
    for rng in draws(count):
        # The last epoch is over, and there is no model file yet.
        kill(call, lambda: last_epoch(phantoms) == 2, 1.0, rng)
        require_whole(phantoms)
        if (trained / "model.onnx").exists():
            shutil.rmtree(phantoms / "runs")
    finished(call)
    same(made, phantoms, RUN)
    assert names_in(phantoms, f"runs/{RUN}/train") == {"best.safetensors", "model.onnx", "evaluation.json"}


@both(0)
def test_a_distillation_that_was_killed_ends_as_an_unbroken_one(made: Path, count: int) -> None:
    arguments = ("distill", "-t", RUN, "-s", "ownmodel", "--name", "distilled", *TINY)
    whole = made.with_name("whole")
    shutil.copytree(made, whole)
    finished(Call(home=whole, arguments=arguments))
    broken(Call(home=made, arguments=arguments), "distilled", work_of(whole, "distilled"), count)
    same(whole, made, "distilled")


@both(0)
def test_a_compression_killed_in_every_stage_ends_as_an_unbroken_one(made: Path, count: int) -> None:
    """Each stage at one of its events at least, and when its last file has just been written."""
    limits = ("--max-drop", 1, "--max-int8-drop", 1)
    arguments = ("compress", "-s", "ownmodel", "-t", "ownmodel", "--name", "small", "--prune", 0.3, *limits, *TINY)
    whole = made.with_name("whole")
    shutil.copytree(made, whole)
    finished(Call(home=whole, arguments=arguments))
    moments = moments_of(whole, "small")
    assert list(moments) == ["teacher", "base", "pruned", "student", "int8", "evaluate"]
    call, folder, rng = Call(home=made, arguments=arguments), made / "runs" / "small", random.Random(0)
    for stage, events in moments.items():
        drawn = rng.sample(range(len(events)), min(max(kills(count) // len(moments), 1), len(events)))
        for moment in sorted(drawn):
            # A kill that came late may have passed the next moment too.
            if not comes_to(folder, {events[moment]}, 0)():
                assert kill(call, comes_to(folder, set(events[moment:])), 0, rng)
            require_whole(made)
        last = folder / ("int8/evaluation.json" if stage == "evaluate" else f"{stage}/model.onnx")
        assert not last.exists()
        # When the last file of all is there, little is left to do.
        assert kill(call, last.exists, 0, rng) or stage == "evaluate"
        require_whole(made)
    finished(call)
    same(whole, made, "small")
    assert evaluations(whole, "small") == evaluations(made, "small")
    assert not [path for name in ("*.partial", "checkpoint*") for path in folder.rglob(name)]


@both(1)
def test_a_quantization_that_was_killed_leaves_no_half_file(made: Path, tmp_path: Path, count: int) -> None:
    to = tmp_path / "out" / "int8.onnx"
    to.parent.mkdir()
    arguments = ("quantize", RUN, "--output", to, "--max-drop", 1, "--min-agreement", 0)
    call = Call(home=made, arguments=arguments, extra=(("TMPDIR", str(tmp_path / "scratch")),))
    (tmp_path / "scratch").mkdir()
    for rng in draws(count):
        kill(call, appears(tmp_path / "scratch", "lungcli-scratch-quantization-*"), 1.5, rng)
        require_whole(to.parent)
        require_whole(made)
        # It was over, or had nothing left to do but to say so.
        to.unlink(missing_ok=True)
    for left in (tmp_path / "scratch").iterdir():
        os.utime(left, (0, 0))
    finished(call)
    require_whole(to.parent)
    assert names_in(tmp_path, "out") == {"int8.onnx"}
    assert names_in(tmp_path, "scratch") == set()


@both(1)
def test_an_export_to_files_that_was_killed_says_what_is_there(made: Path, tmp_path: Path, count: int) -> None:
    """Its files, each whole, are written within a moment, one after another."""
    to = tmp_path / "out" / "lung.onnx"
    arguments = ("export", RUN, "--with-examples", "--output", to)
    call, anew = (Call(home=made, arguments=(*arguments, *more)) for more in ((), ("--overwrite",)))
    finished(call)
    whole = contents(to.parent)
    for rng in draws(count):
        shutil.rmtree(to.parent)
        kill(call, to.parent.exists, 0.03, rng)
        found = {name: content for name, content in contents(to.parent).items() if name in whole}
        assert found.items() <= whole.items()
        if found:
            said = finished(call, 2)[1]
            assert "exists already" in said
            assert "add --overwrite" in said
            finished(anew)
        else:
            finished(call)
        assert contents(to.parent) == whole


@both(2)
def test_a_benchmark_that_was_killed_changes_nothing(made: Path, count: int) -> None:
    """But for the latency that it keeps, which is of its own time."""

    def others() -> dict[str, bytes]:
        return {name: content for name, content in contents(made).items() if not name.startswith("latencies/")}

    call = Call(home=made, arguments=("benchmark", RUN, "--seconds", 0.3))
    before = others()
    for rng in draws(count):
        kill(call, lambda: True, 0.8, rng)
        assert others() == before
    finished(call)
    assert others() == before


@both(3)
def test_predictions_to_files_are_whole_and_done_again(slices: Path, tmp_path: Path, count: int) -> None:
    home, to = tmp_path / "home", tmp_path / "verdicts"
    call = Call(home=home, arguments=("predict", "--output", to, slices))
    for rng in draws(count):
        begun = appears(to, "*.json") if not to.exists() else lambda: True
        if not kill(call, begun, 0.6, rng):
            shutil.rmtree(to)
        require_whole(to.parent)
    finished(call)
    assert len(list(to.glob("*.json"))) == 36
    assert not list(to.glob(".*"))
    kinds = {json.loads(path.read_bytes())["kind"] for path in to.glob("*.json")}
    assert kinds == {"prediction"}


# Renames a run, puts it away and takes it back, over and over, as the dashboard does when asked.
SHELVING = """
from lungcli.core import run_trash, runs
name = next((name for name in ("made", "other") if name in runs.known()), "")
if not name:
    name = run_trash.restore_from_trash(next(iter(run_trash.trash_home().iterdir())))
print("begun", flush=True)
while True:
    other = "other" if name == "made" else "made"
    run_trash.rename(runs.load(name), other)
    run_trash.restore_from_trash(run_trash.move_to_trash(runs.load(other)))
    name = other
"""


@both(5)
def test_a_run_that_is_renamed_or_put_away_is_in_one_place_whole(made: Path, count: int) -> None:
    pupil(made)
    before = contents(made / "runs" / RUN)
    for rng in draws(count):
        shelve(made, rng)
        require_whole(made)
        places = [*(made / "runs").glob("[mo]*"), *(made / "trash").glob("*")]
        assert len(places) == 1
        assert contents(places[0]) == before
        teacher_run = json.loads((made / "runs" / "pupil" / "run.json").read_bytes())["teacher_run"]
        assert teacher_run in ("made/train", "other/train")
    finished(Call(home=made, arguments=("runs", "list")))


def shelve(home: Path, rng: random.Random) -> None:
    env = Call(home=home, arguments=()).env()
    command = [sys.executable, "-c", SHELVING]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        time.sleep(rng.uniform(0, 0.05))
        assert process.poll() is None
        process.kill()


def pupil(home: Path) -> None:
    """A run that takes its teacher from the one that is renamed."""
    folder = home / "runs" / "pupil"
    folder.mkdir()
    shutil.copy(home / "runs" / RUN / "recipe.toml", folder)
    info = json.loads((home / "runs" / RUN / "run.json").read_bytes())
    info |= {"kind": "distill", "state": "new", "teacher_run": f"{RUN}/train"}
    (folder / "run.json").write_text(json.dumps(info))


def draws(count: int) -> list[random.Random]:
    """A source of moments for each kill."""
    return [random.Random(seed) for seed in range(kills(count))]


def archive(slices: Path, tmp_path: Path) -> bytes:
    """A .zip file laid out as the published set that has no known hashes."""
    folders = {"malignant": "adenocarcinoma", "normal": "normal"}
    files = {
        f"{folder}/{path.name}": path.read_bytes()
        for label, folder in folders.items()
        for path in sorted((slices / label).iterdir())
    }
    return zipped(tmp_path / "set of slices.zip", files).read_bytes()


def work_of(home: Path, name: str) -> float:
    """Seconds that an unbroken run took from its first event to its last."""
    times = [event.time for event in runs.events(runs.read(home / "runs" / name))]
    return (times[-1] - times[0]).total_seconds()


Moment = tuple[str, ...]
"""An event, without what it measured."""


def moment_of(event: Event) -> Moment:
    return tuple(str(getattr(event, name, "")) for name in ("__class__", "stage", "epoch", "batch", "strategy"))


def moments_of(home: Path, name: str) -> dict[str, list[Moment]]:
    """The moments of each stage of an unbroken run while it works, in their order.

    Not those of checkpoints: killed between a checkpoint and its event, a run does not come to that event again.
    """
    moments: dict[str, list[Moment]] = {}
    for event in events_of(home, name):
        if isinstance(event, StageStarted | BatchDone | EpochDone | StrategyStarted | StrategyDone):
            moments.setdefault(event.stage, []).append(moment_of(event))
    return moments


def comes_to(folder: Path, moments: Collection[Moment], after: int | None = None) -> Begun:
    """Whether a run has come to one of these moments after its first `after` events, or else after now."""
    path = folder / "events.jsonl"

    def lines() -> list[bytes]:
        return path.read_bytes().split(b"\n")[:-1] if path.exists() else []

    since = len(lines()) if after is None else after
    return lambda: any(moment_of(decode(line)) in moments for line in lines()[since:])


def evaluations(home: Path, name: str) -> dict[str, bytes]:
    """The evaluation of each model of a run on the test part."""
    return {file: content for file, content in contents(home / "runs" / name).items() if "evaluation" in file}


def last_epoch(home: Path) -> int:
    """The last epoch that the run has told of."""
    path = home / "runs" / RUN / "events.jsonl"
    lines = path.read_bytes().splitlines() if path.exists() else []
    return max((json.loads(line)["epoch"] for line in lines if b'"epoch-done"' in line), default=0)


def broken(call: Call, name: str, seconds: float, count: int) -> None:
    """Kill a run again and again while it works, a little less time each, and then let it end."""
    for rng in draws(count):
        if not kill(call, grows(call.home / "runs" / name / "events.jsonl"), seconds / 2, rng):
            shutil.rmtree(call.home / "runs" / name)
        require_whole(call.home)
        stopped = finished(Call(home=call.home, arguments=("runs", "list", "--json")))[0]
        assert "running" not in {run["state"] for run in json.loads(stopped)["runs"]}
    finished(call)
    require_whole(call.home)
    assert not list((call.home / "runs" / name).rglob("*.partial"))


def same(one: Path, other: Path, name: str) -> None:
    """Both homes have the same run, to the last bit of its weights and the last digit of its events."""
    assert results(one, name) == results(other, name)
    assert figures(events_of(one, name)) == figures(events_of(other, name))


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }
