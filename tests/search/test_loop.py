"""The search: trials are shared, run once, resumed when interrupted, and never see a slice of the test part."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from lungcli.core import run_trash, runs
from lungcli.core.errors import InterruptedRunError, LungcliError, UsageError
from lungcli.core.events import Event
from lungcli.core.recipe import Recipe
from lungcli.core.runs import Run
from lungcli.datasets import manifest
from lungcli.evaluation import compare, evaluate
from lungcli.modelfile import model_file, model_paths
from lungcli.pipeline import jobs, stages
from lungcli.pipeline.stages import RunData
from lungcli.search import loop, space, studies, trials
from lungcli.search.space import StudyPlan, TrialOutcome
from tests.search import trying

REAL = {
    "data": "phantom",
    "teacher": ["ownmodel"],
    "epochs": 1,
    "batch": 16,
    "size": 64,
    "device": "cpu",
    "threads": 1,
    "precision": "float32",
}


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of a home with the phantoms."""
    home = tmp_path_factory.mktemp("phantoms")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LUNGCLI_HOME", str(home))
        trying.plan()
    return home / "data"


@pytest.fixture(autouse=True)
def _data(phantoms: Path, home: Path) -> None:
    shutil.copytree(phantoms, home / "data")


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> StudyPlan:
    """Trials without training, and a plan for them."""
    for owner, names in ((loop, ("_start_run", "trial_events", "evaluate_run")), (stages, ("load_run_data",))):
        for name in names:
            monkeypatch.setattr(owner, name, getattr(owner, name))
    trying.shorten()
    return trying.plan()


def go(
    plan: StudyPlan, most: int = 6, name: str = "s", seconds: float = 0
) -> tuple[list[TrialOutcome], tuple[TrialOutcome, ...]]:
    """What this call did, and all that is known."""
    done: list[TrialOutcome] = []
    storage = studies.storage_of(name, "")
    study = studies.create_or_open(name, storage, plan)
    with studies.storage_errors(storage):
        loop.run_study(study, plan, most, seconds, trying.watch(done))
        return done, trials.outcomes(study, plan)


class Guarded(np.ndarray[Any, Any]):
    """Pixels whose test rows cannot be read."""

    forbidden: frozenset[int] = frozenset()

    def __getitem__(self, index: Any) -> Any:
        rows = np.arange(len(self))[index if not isinstance(index, tuple) else index[0]]
        if self.ndim == 3 and self.forbidden.intersection(np.atleast_1d(rows).tolist()):
            raise AssertionError("a slice of the test part was read")
        return np.asarray(self)[index]


def guarded(found: RunData) -> RunData:
    """The material without its test slices: whoever reads their pixels fails, and their files are gone."""
    pixels = np.array(found.pixels).view(Guarded)
    pixels.forbidden = frozenset(found.split.test)
    for index in found.split.test:
        (manifest.folder("phantom") / found.manifest.slices[index].path).unlink(missing_ok=True)
    return RunData(manifest=found.manifest, split=found.split, pixels=pixels)


@pytest.mark.long
def test_trials_share_a_teacher_and_read_no_slice_of_the_test_part(monkeypatch: pytest.MonkeyPatch) -> None:
    axes = {"model": ("ownmodel",), "bits": (8, 32)}
    plan = trying.plan(axes=axes, settings=REAL)
    real = stages.load_run_data

    def without_test(recipe: Recipe, advance: object = None) -> RunData:
        return guarded(real(recipe))

    monkeypatch.setattr(stages, "load_run_data", without_test)

    _, found = go(loop.checked_plan(plan))

    assert [each.state for each in found] == ["complete", "complete"], [each.problem for each in found]
    split = stages.load_with_split(runs.load("train-ownmodel-phantom").recipe)[1]
    assert {(each.n, each.groups) for each in found} == {(len(split.val), found[0].groups)}
    for run in runs.readable()[0]:
        assert not list(run.folder.rglob(stages.EVALUATION))
        for path in run.folder.rglob(model_paths.MODEL):
            assert model_file.read_card(path).figures is None
        assert run_trash.tags(run.folder) == ("s",)
    judged = evaluate.load(runs.load(found[0].run).stage(_last(found[0])) / compare.VALIDATION)
    assert judged.part == "val"
    assert len(judged.slices) == len(split.val)
    student = runs.load(next(each.run for each in found if each.drawn["bits"] == 32))
    # Twenty trials would keep twenty copies of a teacher that may be a hundred times as large as they are.
    assert student.info.teacher_run == "train-ownmodel-phantom"
    for name in ("best.safetensors", model_paths.MODEL):
        teacher = runs.load("train-ownmodel-phantom").stage("train") / name
        assert (student.stage("teacher") / name).samefile(teacher)
    assert model_file.read_card(student.stage("student") / model_paths.MODEL).teacher == "ownmodel"
    # The guard guards: what a run does beyond a trial is to judge the test part.
    with pytest.raises(AssertionError, match="a slice of the test part was read"):
        list(jobs.execute(student, guarded(real(student.recipe))))


def _last(outcome: TrialOutcome) -> str:
    return "int8" if outcome.drawn["bits"] == 8 else "student"


def test_every_combination_is_tried_once_and_the_search_is_over(cheap: StudyPlan) -> None:
    done, found = go(cheap, most=20)

    assert sorted(each.drawn["learning_rate"] for each in done) == [1e-3, 2e-3, 3e-3, 4e-3, 5e-3, 6e-3]
    assert found == tuple(done)
    assert go(cheap, most=20)[0] == []


def test_a_trial_that_failed_before_it_drew_anything_ends_no_search(cheap: StudyPlan) -> None:
    """As of a worker that was killed at once, or that a clock set forward makes look abandoned."""
    study = studies.create_or_open("s", studies.storage_of("s", ""), cheap)
    study.tell(study.ask().number, state=studies.import_optuna().trial.TrialState.FAIL)
    done, found = go(cheap, most=20)
    assert sorted(each.drawn["learning_rate"] for each in done) == [1e-3, 2e-3, 3e-3, 4e-3, 5e-3, 6e-3]
    assert found == tuple(done)


def test_the_same_seed_draws_the_same_trials_also_when_the_study_goes_on(cheap: StudyPlan) -> None:
    ranged = msgspec.structs.replace(
        cheap, axes={**cheap.axes, "learning_rate": space.Range(low=1e-4, high=9e-3, log=True)}
    )
    whole = [each.drawn for each in go(ranged, most=6, name="whole")[1]]
    go(ranged, most=2, name="parts")
    parts = [each.drawn for each in go(ranged, most=6, name="parts")[1]]
    other = [each.drawn for each in go(msgspec.structs.replace(ranged, seed=1), most=6, name="other")[1]]

    assert whole == parts
    assert len({each["learning_rate"] for each in whole}) == 6
    assert whole != other


def test_any_database_of_optuna_keeps_a_study(cheap: StudyPlan, tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path}/study.db"
    for most in (2, 6):
        study, done = studies.create_or_open("s", storage, cheap), list[TrialOutcome]()
        with studies.storage_errors(storage):
            loop.run_study(study, cheap, most, 0, trying.watch(done))
        assert len(done) == (2 if most == 2 else 4)
    assert {each.state for each in finished("s", storage)} == {"complete"}


def test_the_front_has_what_no_other_trial_beats(cheap: StudyPlan) -> None:
    """Here the righter is the larger and the slower, so that none beats another."""
    front = space.pareto_front(go(cheap)[1])
    assert [each.drawn["learning_rate"] for each in front] == [1e-3, 2e-3, 3e-3, 4e-3, 5e-3, 6e-3]
    assert [each.bytes for each in front] == [100_000, 200_000, 300_000, 400_000, 500_000, 600_000]


def test_an_interrupted_trial_resumes_its_run(cheap: StudyPlan) -> None:
    def stop(run: Run, found: RunData, events: Generator[Event, None, None]) -> None:
        for number, _ in enumerate(events):
            if number == 2:
                events.close()
                raise InterruptedRunError("stopped")

    storage = studies.storage_of("s", "")
    study = studies.create_or_open("s", storage, cheap)
    stopping = loop.SearchCallbacks(follow=stop, tell=list[TrialOutcome]().append, say=trying.ignore)
    with studies.storage_errors(storage), pytest.raises(InterruptedRunError):
        loop.run_study(study, cheap, 6, 0, stopping)
    with studies.storage_errors(storage):
        (waiting,) = trials.outcomes(study, cheap)
    assert (waiting.trial, waiting.state, waiting.run) == (1, "waiting", "run-0")

    done, found = go(cheap)

    assert (done[0].trial, done[0].run, done[0].drawn) == (1, "run-0", waiting.drawn)
    assert len(found) == 6
    assert {runs.state(run) for run in runs.readable()[0]} == {"done"}


def test_failed_trials_are_reported_and_three_in_a_row_end_the_search(
    cheap: StudyPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(run: Run, found: RunData) -> object:
        raise LungcliError("the disk is full")

    monkeypatch.setattr(loop, "evaluate_run", fail)
    with pytest.raises(LungcliError, match="3 trials in a row failed, the last because the disk is full"):
        go(cheap)
    storage = studies.storage_of("s", "")
    with studies.storage_errors(storage):
        found = trials.outcomes(*studies.find("s", storage))
    assert [(each.state, each.problem) for each in found] == [("failed", "the disk is full")] * 3


def test_with_a_limit_trials_behind_the_median_are_pruned(cheap: StudyPlan) -> None:
    """Optuna prunes trials of one objective only."""
    limited = msgspec.structs.replace(
        cheap, axes={**cheap.axes, "learning_rate": space.Range(low=1e-4, high=9e-3)}, max_bytes=10**9
    )
    _, found = go(limited, most=24)

    given_up = [each for each in found if each.state == "pruned"]
    assert len(given_up) >= 2
    assert all("behind the median of other trials after epoch" in each.problem for each in given_up)
    best = max(float(each.drawn["learning_rate"]) for each in found if each.state == "complete")
    assert all(float(each.drawn["learning_rate"]) < best for each in given_up)
    assert {runs.state(runs.load(each.run)) for each in given_up} == {"stopped"}
    assert not [each for each in go(trying.planned(), most=6, name="several")[1] if each.state == "pruned"]


def test_a_net_beyond_the_limits_is_begun_once_and_is_not_on_the_front(cheap: StudyPlan) -> None:
    """All six trials have one net, size and precision."""
    limited = msgspec.structs.replace(cheap, max_p50=0.01)
    _, found = go(limited)

    first, *others = found
    assert (first.state, first.within_limits) == ("complete", False)
    assert {(each.state, each.problem, each.run) for each in others} == {
        ("pruned", "the same net was beyond the limits in trial 0", "")
    }
    assert space.pareto_front(found) == ()


def test_a_study_keeps_its_plan(cheap: StudyPlan) -> None:
    go(cheap, most=1)
    other = msgspec.structs.replace(cheap, settings={**cheap.settings, "epochs": 5}, max_p50=3.0)
    with pytest.raises(UsageError, match="another plan: it differs in epochs, the largest p50"):
        studies.create_or_open("s", studies.storage_of("s", ""), other)
    assert studies.find("s", studies.storage_of("s", ""))[1] == msgspec.json.decode(
        msgspec.json.encode(cheap), type=StudyPlan
    )


def test_other_data_of_the_same_name_is_refused(cheap: StudyPlan) -> None:
    with pytest.raises(UsageError, match="is not the one the study is about"):
        go(msgspec.structs.replace(cheap, split="another"))


def test_invalid_plans_are_refused_before_there_is_a_study() -> None:
    for axes, why in (
        ({"model": ("ownmodel",), "bits": (32,), "temperature": (0.0, 4.0)}, "temperature is 0.0"),
        ({"model": ("ownmodel",), "bits": (32,), "size": (16,)}, "size is 16"),
    ):
        with pytest.raises(UsageError, match=why):
            loop.checked_plan(trying.plan(axes=axes))
    with pytest.raises(UsageError, match="a random split leaks training patients"):
        loop.checked_plan(trying.planned(settings={**trying.SETTINGS, "protocol": "random"}))
    with pytest.raises(UsageError, match="unknown teacher 'nobody'"):
        loop.checked_plan(trying.planned(settings={**trying.SETTINGS, "teacher": ["nobody"]}))


def test_storages_that_cannot_be_reached_are_named_without_their_password() -> None:
    plan = StudyPlan(axes={"model": ("ownmodel",)}, settings={}, split="")
    with pytest.raises(LungcliError, match=r"cannot use the storage postgresql://me@127.0.0.1:1/x: .*refused"):
        studies.create_or_open("s", "postgresql://me:secret@127.0.0.1:1/x", plan)
    with pytest.raises(LungcliError, match="cannot use the storage nonsense://x"):
        studies.create_or_open("s", "nonsense://x", plan)
    assert "secret" not in studies.redacted_storage("postgresql://me:secret@h/x")


@pytest.fixture(scope="module")
def cluster() -> Generator[str]:
    """A PostgreSQL server of its own, as an unprivileged user, that listens on a socket in its folder only."""
    found = shutil.which("initdb") or next(map(str, Path("/usr/lib/postgresql").glob("*/bin/initdb")), None)
    if found is None:
        pytest.skip("PostgreSQL's server programs are not installed (Debian: apt install postgresql)")
    programs = Path(found).resolve().parent
    # The server refuses to run as root, whose temporary folders are closed to others.
    who = "nobody" if os.geteuid() == 0 else None
    made = subprocess.run(["mktemp", "-d"], capture_output=True, text=True, check=True, cwd="/", user=who)
    folder = Path(made.stdout.strip())
    settings = f"-k {folder} -c listen_addresses= -c fsync=off"

    def call(program: str, *arguments: str) -> None:
        command = [str(programs / program), "-D", str(folder / "data"), *arguments]
        with (folder / "said").open("ab") as said:
            subprocess.run(command, stdout=said, stderr=said, check=True, cwd="/", user=who, timeout=60)

    call("initdb", "--auth=trust", "--username=lung", "--no-sync")
    call("pg_ctl", "-o", settings, "-l", str(folder / "log"), "-w", "start")
    yield f"postgresql://lung@/postgres?host={folder}"
    call("pg_ctl", "-m", "immediate", "stop")
    shutil.rmtree(folder)


def start(home: Path, name: str, storage: str, most: int, seconds: float) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "tests.search.trying", name, storage, str(most), str(seconds)]
    environment = os.environ | {"LUNGCLI_HOME": str(home), "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def ended(process: "subprocess.Popen[str]") -> list[str]:
    """What the process did, as TRIAL:RUN."""
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return said.split("done", 1)[1].split()


def finished(name: str, storage: str) -> tuple[TrialOutcome, ...]:
    with studies.storage_errors(storage):
        return trials.outcomes(*studies.find(name, storage))


def test_two_processes_share_a_study_in_a_journal_file(home: Path) -> None:
    trying.plan()
    storage = studies.storage_of("s", "")
    two = [start(home, "s", storage, 6, 0.8) for _ in range(2)]
    done = [ended(process) for process in two]

    assert all(done)
    found = finished("s", storage)
    assert sorted(done[0] + done[1]) == sorted(f"{each.trial}:{each.run}" for each in found)
    assert sorted(each.drawn["learning_rate"] for each in found) == [1e-3, 2e-3, 3e-3, 4e-3, 5e-3, 6e-3]
    assert {each.state for each in found} == {"complete"}
    assert not list((home / "searches" / "workers").iterdir())


@pytest.mark.long
def test_two_machines_share_a_study_in_postgresql_and_one_goes_on_where_the_other_was_killed(
    cluster: str, home: Path, tmp_path: Path
) -> None:
    """The machines have nothing in common but the database: each has its own home, with the same data."""
    trying.plan()
    shutil.copytree(home / "data", tmp_path / "data")
    doomed = start(tmp_path, "s", cluster, 6, 40)
    deadline = time.monotonic() + 30
    while not list(tmp_path.glob("runs/*/events.jsonl")):
        assert time.monotonic() < deadline
        assert doomed.poll() is None
        time.sleep(0.05)
    two = [start(home, "s", cluster, 6, 0.8) for _ in range(2)]
    time.sleep(2)
    doomed.kill()
    doomed.communicate()
    done = [ended(process) for process in two]
    # By now the heartbeat is stale: whoever asks next takes over.
    time.sleep(7)
    last = ended(start(home, "s", cluster, 6, 0))

    found = finished("s", cluster)
    assert sorted(done[0] + done[1] + last) == sorted(f"{each.trial}:{each.run}" for each in found)
    assert sorted(each.drawn["learning_rate"] for each in found) == [1e-3, 2e-3, 3e-3, 4e-3, 5e-3, 6e-3]
    assert {each.state for each in found} == {"complete"}
    assert all(done)
    taken_over = next(each for each in found if each.run == "run-0")
    assert taken_over.trial > 0
