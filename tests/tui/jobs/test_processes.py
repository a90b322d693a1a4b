"""Jobs as processes of their own, and stopping what another process works on."""

import platform
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from lungcli.core import runs
from lungcli.core.errors import UsageError
from lungcli.core.runs import Worker
from lungcli.tui.jobs import processes
from tests.tui import fakes

WORKER = """
import sys, time
from pathlib import Path
from lungcli.core import runs
def slowly():
    from tests.tui import fakes
    for number in range(1, 1000):
        for event in fakes.epoch("train", number, 1000, 0.5):
            yield event
            time.sleep(0.02)
for event in runs.record(runs.read(Path(sys.argv[1])), slowly()):
    print("event", flush=True)
"""


def until(what: object, *, seconds: float = 120.0) -> None:
    """Wait until `what()` holds."""
    end = time.monotonic() + seconds
    while not what():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_job_says_why_it_failed() -> None:
    job = processes.start(["train", "--model", "nonsense"])
    until(lambda: processes.state(job) != "running")
    assert processes.state(job) == "failed (exit 2)"
    assert "failed (exit 2): error: no data set is named with --data" in processes.failure(job)


def test_a_job_that_is_done_says_so() -> None:
    job = processes.start(["--version"])
    until(lambda: processes.state(job) == "done")
    assert processes.last_lines(job.log)[0].startswith("lungcli ")
    assert processes.failure(job) == ""


def test_a_job_is_in_a_session_of_its_own() -> None:
    import os

    job = processes.start(["data", "phantom"])
    assert os.getsid(job.process.pid) == job.process.pid
    processes.interrupt(job, hard=True)
    until(lambda: processes.state(job) != "running")
    processes.interrupt(job, hard=True)


def test_a_run_that_another_process_works_on_is_stopped_by_asking() -> None:
    run = fakes.run("live", end="stopped")
    with subprocess.Popen([sys.executable, "-c", WORKER, str(run.folder)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert runs.worker(run) == Worker(pid=process.pid, host=platform.node())
        assert processes.signal_worker(run, signal.SIGINT) == process.pid
        process.stdout.read()
    assert runs.state(runs.read(run.folder)) == "stopped"
    assert runs.worker(run) is None
    assert not (run.folder / "worker.json").exists()


def test_a_process_that_does_not_listen_is_ended_and_leaves_nothing_held() -> None:
    run = fakes.run("live", end="stopped")
    with subprocess.Popen([sys.executable, "-c", WORKER, str(run.folder)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        processes.signal_worker(run, processes.KILL)
        process.stdout.read()
    assert runs.worker(run) is None
    assert runs.state(runs.read(run.folder)) == "stopped"


def test_what_cannot_be_stopped_says_why() -> None:
    run = fakes.run("live", end="stopped")
    with pytest.raises(UsageError, match="no process works on the run 'live'"):
        processes.signal_worker(run, signal.SIGINT)
    with runs._working_alone(run):
        (run.folder / "worker.json").write_bytes(msgspec.json.encode(Worker(pid=1, host="elsewhere")))
        with pytest.raises(UsageError, match="is worked on by elsewhere"):
            processes.signal_worker(run, signal.SIGINT)


@pytest.mark.parametrize(
    ("code", "state"),
    [(0, "done"), (5, "gate not met"), (130, "stopped"), (1, "failed (exit 1)"), (-9, "failed (exit -9)")],
)
def test_a_state_is_what_the_exit_code_says(tmp_path: Path, code: int, state: str) -> None:
    command = f"import os, signal; os.kill(os.getpid(), {-code})" if code < 0 else f"raise SystemExit({code})"
    process = subprocess.Popen([sys.executable, "-c", command])
    job = processes.Job(command=("x",), log=tmp_path / "log", process=process)
    process.wait()
    assert processes.state(job) == state
